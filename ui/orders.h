/* Pictures that are asked for beyond the samples that a run drew itself: other checkpoints, prompts, seeds, strengths of the LoRA. They are drawn by `pdmbooth-tui
 * sample`, one process after the other at the lowest priority, with the run's own settings, and kept in the run's directory:
 *
 *   RUN/compare/step-000200/WORDS-OF-THE-PROMPT-NUMBER-SEED.png        a full fine-tune
 *   RUN/compare/step-000200/scale-0.75/...                             a LoRA
 *   RUN/compare/base/...                                               the base model */
#ifndef PDMBOOTH_UI_ORDERS_H
#define PDMBOOTH_UI_ORDERS_H

#include "ui/jobs.h"
#include "ui/run_view.h"

enum { MAX_ORDERS = 48, ORDER_PROMPTS = 64 };

/* What all pictures of one process have in common. */
struct order_key {
  const struct run_view *run;
  const struct run_checkpoint *checkpoint; /* NULL: the base model */
  double scale;                            /* of a LoRA; 0 is the base model, whatever the checkpoint */
  uint64_t seed;
};
struct order {
  char run[3500], checkpoint[3700], folder[3800]; /* checkpoint: path, "" the base model */
  double scale;
  uint64_t seed;
  char *prompt[ORDER_PROMPTS]; /* owned */
  int prompts;
};
struct orders {
  struct order *order[MAX_ORDERS]; /* owned; the first one is under way while pid is not 0 */
  int n;
  pid_t pid;
};
enum order_state { ORDER_NONE, ORDER_WAITS, ORDER_DRAWN };

/* The file of that picture. Returns buf. */
const char *order_picture(const struct order_key *k, const char *prompt, char *buf, size_t n);
enum order_state order_state(const struct orders *o, const struct order_key *k, const char *prompt);
/* False: too many wait, or memory ends. One that is asked for already is not asked for again. */
bool order_add(struct orders *o, const struct order_key *k, const char *prompt);
/* Starts the first order where none is under way; one that cannot be started is dropped and *e says why. ended: job's. */
bool orders_start(struct orders *o, struct jobs *j, void (*ended)(struct app *, const struct job_end *), struct err *e);
void orders_end(struct orders *o); /* the process under way has ended */
/* Nothing waits any more, and the process under way is asked to stop. */
void orders_cancel(struct orders *o, const struct jobs *j);
int orders_pictures(const struct orders *o); /* that are drawn or wait */
void orders_release(struct orders *o);

#endif
