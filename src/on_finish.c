#include "on_finish.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/thread.h"

extern char **environ;

static const double grace = 2; /* seconds between SIGTERM and SIGKILL */

static bool same_name(const char *a, const char *b) {
  size_t n = strcspn(a, "=");
  return !strncmp(a, b, n + 1);
}

/* environ without the names in facts, then facts; NULL: out of memory. */
static const char **environment(const char *const *facts, int n) {
  size_t have = 0, w = 0;
  while (environ[have]) have++;
  const char **out = malloc((have + (size_t)n + 1) * sizeof *out);
  for (size_t i = 0; out && i < have; i++) {
    bool replaced = false;
    for (int j = 0; j < n; j++) replaced |= same_name(facts[j], environ[i]);
    if (!replaced) out[w++] = environ[i];
  }
  for (int j = 0; out && j < n; j++) out[w++] = facts[j];
  if (out) out[w] = NULL;
  return out;
}

/* In a process group of its own, with the signals that the program handles or ignores as they are by default. 0, or errno's number. */
static int spawn(const char *command, const char **env, pid_t *pid) {
  posix_spawn_file_actions_t files;
  posix_spawnattr_t attr;
  sigset_t defaults, none;
  const char *argv[] = {"sh", "-c", command, NULL};
  sigemptyset(&none);
  sigemptyset(&defaults);
  sigaddset(&defaults, SIGPIPE);
  sigaddset(&defaults, SIGINT);
  sigaddset(&defaults, SIGTERM);
  posix_spawn_file_actions_init(&files);
  posix_spawnattr_init(&attr);
  posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&files, STDERR_FILENO, STDOUT_FILENO);
  posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
  posix_spawnattr_setsigdefault(&attr, &defaults);
  posix_spawnattr_setsigmask(&attr, &none);
  int rc = posix_spawn(pid, "/bin/sh", &files, &attr, (char **)(uintptr_t)argv, (char **)(uintptr_t)env);
  posix_spawnattr_destroy(&attr);
  posix_spawn_file_actions_destroy(&files);
  return rc;
}

/* Whether it ended within the time. */
static bool wait_for(pid_t pid, double seconds, int *status) {
  const struct timespec pause = {.tv_nsec = 20 * 1000 * 1000};
  double until = now_seconds() + seconds;
  for (;;) {
    pid_t got = waitpid(pid, status, WNOHANG);
    if (got == pid || (got < 0 && errno != EINTR)) return true;
    if (now_seconds() >= until) return false;
    nanosleep(&pause, NULL);
  }
}

static void end_group(pid_t pid, int *status) {
  kill(-pid, SIGTERM);
  bool ended = wait_for(pid, grace, status);
  kill(-pid, SIGKILL); /* what the shell started may still be there */
  if (!ended) waitpid(pid, status, 0);
}

bool on_finish_run(const char *command, double limit, const char *const *facts, int n, struct err *e) {
  const char **env = environment(facts, n);
  pid_t pid;
  int status = 0;
  if (!env) return err_set(e, ERR_FAILED, "[engine] on_finish: out of memory");
  errno = spawn(command, env, &pid);
  free(env);
  if (errno) return err_set_errno(e, ERR_FAILED, "[engine] on_finish could not be started");
  if (!wait_for(pid, limit, &status)) {
    end_group(pid, &status);
    return err_set(e, ERR_FAILED, "[engine] on_finish was ended after %g seconds (on_finish_limit)", limit);
  }
  if (WIFSIGNALED(status)) return err_set(e, ERR_FAILED, "[engine] on_finish was ended by signal %d", WTERMSIG(status));
  return !WEXITSTATUS(status) || err_set(e, ERR_FAILED, "[engine] on_finish ended with status %d", WEXITSTATUS(status));
}
