#include "busy.h"

#include <errno.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/thread.h"
#include "plan_text.h"
#include "text.h"

/* linux/ioprio.h, which not every system's headers have */
enum { IO_BEST_EFFORT = 2, IO_IDLE = 3, IO_CLASS_SHIFT = 13, IO_LOWEST = 7, IO_PROCESS = 1, IDLE_FROM = 10 };
static const double first_wait = 1, longest_wait = 30; /* seconds between two looks */

bool busy_nice(int n, struct err *e) {
  if (setpriority(PRIO_PROCESS, 0, n) != 0) return err_set_errno(e, ERR_FAILED, "--nice %d: the priority cannot be set", n);
  int io = n >= IDLE_FROM ? IO_IDLE << IO_CLASS_SHIFT : IO_BEST_EFFORT << IO_CLASS_SHIFT | IO_LOWEST;
  if (syscall(SYS_ioprio_set, IO_PROCESS, 0, io) != 0 && errno != ENOSYS)
    return err_set_errno(e, ERR_FAILED, "--nice %d: the priority for disks cannot be set", n);
  return true;
}

/* Sleeps in short pieces, so that a signal is heeded. */
static bool rest(double seconds, const struct sink *sink, struct err *e) {
  for (double end = now_seconds() + seconds; now_seconds() < end;) {
    enum engine_command c = sink->poll ? sink->poll(sink->user) : ENGINE_GO_ON;
    if (c != ENGINE_GO_ON) return err_set(e, c == ENGINE_STOP_SIGINT ? ERR_SIGINT : ERR_SIGTERM, "stopped while waiting for memory");
    nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
  }
  return true;
}

/* Of a card and the machine, that which keeps the run waiting. */
static void tell_wait(const struct run_plan *p, const struct sink *sink) {
  char text[256], need[32], have[32], missing[32];
  bool host = p->card && p->memory <= p->available;
  int64_t needed = host ? p->host_memory : p->memory, available = host ? p->host_available : p->available;
  text_put(text, sizeof text, "waiting for memory%s: %s are needed, %s are free, %s are missing", p->card && !host ? " of the card" : "",
           bytes_text(needed, need, sizeof need), bytes_text(available, have, sizeof have),
           bytes_text(needed - available, missing, sizeof missing));
  if (sink->log) sink->log(sink->user, LOG_INFO, text);
}

bool busy_wait(const struct settings *s, const struct embedded_file *embedded, const struct sink *sink, struct err *e) {
  double pause = first_wait, told = 0, waited = 0;
  const struct sink quiet = {.user = sink->user, .poll = sink->poll};
  for (;;) {
    struct run_plan p;
    if (!engine_plan(s, embedded, &quiet, &(struct plan_options){.begins = true}, &p, e)) return false;
    if (!p.waits) return true;
    if (waited >= 2 * told) {
      tell_wait(&p, sink);
      told = waited > first_wait ? waited : first_wait;
    }
    if (!rest(pause, sink, e)) return false;
    waited += pause;
    pause = pause * 2 < longest_wait ? pause * 2 : longest_wait;
  }
}
