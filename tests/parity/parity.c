#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parity.h"

static const char *const models[] = {"sd1", "sd2"};
static const char *const training[] = {"lora", "full", "lora_text", "full_batch"};

static void run_all(struct report *r) {
  parity_tokenizer(r);
  parity_dialects(r);
  parity_losses(r);
  for (int i = 0; i < 2; i++) {
    parity_text(r, models[i]);
    parity_vae(r, models[i]);
    parity_unet(r, models[i]);
    parity_gradients(r, models[i]);
    parity_bf16(r, models[i]);
    parity_fp16(r, models[i]);
    parity_samplers(r, models[i]);
    parity_pdm(r, models[i]);
  }
  for (int i = 0; i < 4; i++) parity_training(r, training[i]);
}

/* For a planted mistake: until a row fails. */
static void run_until_failed(struct report *r) {
  void (*const groups[])(struct report *, const char *) = {parity_text, parity_vae, parity_unet, parity_gradients};
  parity_losses(r);
  for (int i = 0; i < 2; i++)
    for (size_t k = 0; k < sizeof groups / sizeof *groups && !r->failed; k++) groups[k](r, models[i]);
  for (int i = 0; i < 4 && !r->failed; i++) parity_training(r, training[i]);
}

static void heading(const char *backend) {
  printf("\nbackend %s\n%-60s %10s %10s %10s\n", backend, "", "max abs", "relative", "tolerance");
}

/* Each mistake must make at least one row fail by its numbers; a row that could not be computed proves nothing. */
static int run_mistakes(const char *backend) {
  int missed = 0;
  printf("\nplanted mistakes: each must be noticed\n");
  for (int i = 0; mistakes[i]; i++) {
    struct report r = {.backend = backend, .mistake = mistakes[i], .quiet = true};
    run_until_failed(&r);
    bool noticed = r.failed > 0 && r.errors == 0;
    printf("%-60s %d of the first %d rows fail  %s\n", mistakes[i], r.failed, r.rows,
           noticed    ? "ok"
           : r.errors ? "COULD NOT BE TRIED"
                      : "NOT NOTICED");
    missed += !noticed;
  }
  return missed;
}

int main(int argc, char **argv) {
  const char *backend = argc > 1 ? argv[1] : "cpu";
  struct report r = {.backend = backend};
  heading(backend);
  run_all(&r);
  bool plant = argc <= 2 || strcmp(argv[2], "--no-mistakes") != 0;
  int missed = plant ? run_mistakes(backend) : 0, n_mistakes = 0;
  while (plant && mistakes[n_mistakes]) n_mistakes++;
  printf("\n%d passed, %d failed\n", r.rows - r.failed + n_mistakes - missed, r.failed + missed);
  return r.failed || missed;
}
