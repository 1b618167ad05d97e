#include "signals.h"

#include <signal.h>
#include <unistd.h>

static volatile sig_atomic_t first_signal;

static void on_signal(int number) {
  if (first_signal && number == SIGINT) _exit(ERR_SIGINT);
  if (!first_signal) first_signal = number;
}

void signals_catch(void) {
  struct sigaction a = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
  sigemptyset(&a.sa_mask);
  sigaction(SIGINT, &a, NULL);
  sigaction(SIGTERM, &a, NULL);
  a.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &a, NULL);
}

enum engine_command signals_poll(void *ignored) {
  (void)ignored;
  return first_signal == SIGINT ? ENGINE_STOP_SIGINT : first_signal == SIGTERM ? ENGINE_STOP_SIGTERM : ENGINE_GO_ON;
}
