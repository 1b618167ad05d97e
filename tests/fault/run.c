#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "torture.h"

enum { PATIENCE = 120 }; /* seconds: a sanitized program on a busy machine */

static void set(const char *name, const char *value) {
  if (setenv(name, value, 1) != 0) _exit(127);
}

static void set_fault(const char *library, const struct fault *f, const char *report) {
  char number[32];
  if (f->kind == NULL) return;
  snprintf(number, sizeof number, "%ld", f->at);
  set("LD_PRELOAD", library);
  set("FAULT_KIND", f->kind);
  set("FAULT_AT", number);
  set("FAULT_STAYS", f->stays ? "1" : "0");
  set("FAULT_HALF", f->half ? "1" : "0");
  set("FAULT_REPORT", report);
}

/* The library comes before the sanitizer's: its allocations go there. */
static void set_environment(const char *work) {
  char cache[PATHS + 16];
  snprintf(cache, sizeof cache, "%s/cache", work);
  set("XDG_CACHE_HOME", cache);
  set("HOME", work);
  set("OMP_WAIT_POLICY", "passive");
  set("LC_ALL", "C");
  set("ASAN_OPTIONS", "verify_asan_link_order=0:allocator_may_return_null=1:detect_leaks=1");
}

static void become(const char *program, const char *work, const struct scenario *s, bool resume) {
  char *argument[ARGUMENTS + 2] = {(char *)(uintptr_t)program};
  int n = 1;
  for (; s->argument[n - 1] != NULL; n++) argument[n] = (char *)(uintptr_t)s->argument[n - 1];
  if (resume) argument[n] = (char *)(uintptr_t) "--resume";
  int out = open("stdout", O_WRONLY | O_CREAT | O_TRUNC, 0666), err = open("stderr", O_WRONLY | O_CREAT | O_TRUNC, 0666);
  int in = open("/dev/null", O_RDONLY);
  if (chdir(work) != 0 || dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0) _exit(127);
  close(in);
  close(out);
  close(err);
  execv(program, argument);
  _exit(127);
}

static int wait_for(pid_t child) {
  int status;
  const struct timespec pause = {0, 2000000};
  for (double waited = 0; waited < PATIENCE; waited += 0.002) {
    pid_t got = waitpid(child, &status, WNOHANG);
    if (got == child) return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    nanosleep(&pause, NULL);
  }
  kill(child, SIGKILL);
  waitpid(child, &status, 0);
  return -1;
}

/* The last part of a file, as text. */
static void read_text(const char *dir, const char *name, char *out, size_t size) {
  char path[PATHS + 32];
  snprintf(path, sizeof path, "%s/%s", dir, name);
  FILE *f = fopen(path, "rb");
  size_t n = 0;
  if (f != NULL) {
    if (fseek(f, -(long)(size - 1), SEEK_END) != 0) rewind(f);
    n = fread(out, 1, size - 1, f);
    fclose(f);
  }
  out[n] = 0;
}

static void read_report(const char *dir, struct outcome *o) {
  char text[1024];
  read_text(dir, "report", text, sizeof text);
  o->site[0] = 0;
  o->points = 0;
  for (char *line = text; *line != 0; line += strcspn(line, "\n"), line += *line == '\n') {
    if (strncmp(line, "hit ", 4) == 0) snprintf(o->site, sizeof o->site, "%.*s", (int)strcspn(line + 4, "\n"), line + 4);
    if (strncmp(line, "points ", 7) == 0) o->points = strtol(line + 7, NULL, 10);
  }
}

/* What the program says goes to files beside its working directory: BESIDE is WORK.said */
bool run_once(const char *program, const char *library, const char *work, const struct scenario *s, bool resume, const struct fault *f,
              struct outcome *o) {
  char beside[PATHS], report[PATHS + 16];
  snprintf(beside, sizeof beside, "%s.said", work);
  snprintf(report, sizeof report, "%s/report", beside);
  unlink(report);
  snprintf(report, sizeof report, "%s/report.places", beside);
  unlink(report);
  snprintf(report, sizeof report, "%s/report", beside);
  fflush(NULL);
  pid_t child = fork();
  if (child < 0) return false;
  if (child == 0) {
    if (chdir(beside) != 0) _exit(127);
    set_environment(work);
    set_fault(library, f, report);
    become(program, work, s, resume);
  }
  o->status = wait_for(child);
  read_text(beside, "stdout", o->output, sizeof o->output);
  read_text(beside, "stderr", o->error, sizeof o->error);
  read_report(beside, o);
  return true;
}

uint32_t *places_read(const char *work, long *n) {
  char path[PATHS + 32];
  struct stat st;
  snprintf(path, sizeof path, "%s.said/report.places", work);
  FILE *f = stat(path, &st) == 0 ? fopen(path, "rb") : NULL;
  uint32_t *place = f != NULL ? malloc((size_t)st.st_size + 1) : NULL;
  *n = place != NULL ? (long)fread(place, sizeof *place, (size_t)st.st_size / sizeof *place, f) : 0;
  if (f != NULL) fclose(f);
  return place;
}
