#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parity.h"

static const char *const models[] = {"sd1", "sd2"};
static const char *const training[] = {"lora", "full", "lora_text", "full_batch"};

struct group {
  const char *name;
  void (*run)(struct report *r, const char *model);
};
static const struct group of_models[] = {{"text", parity_text}, {"vae", parity_vae},   {"unet", parity_unet},         {"gradients", parity_gradients},
                                         {"bf16", parity_bf16}, {"fp16", parity_fp16}, {"samplers", parity_samplers}, {"pdm", parity_pdm}};

/* Whether `only`, names with commas between them, has this one; NULL: all. */
static bool wanted(const char *only, const char *name) {
  size_t n = strlen(name);
  for (const char *p = only; p; p = strchr(p, ',')) {
    p += *p == ',';
    if (strncmp(p, name, n) == 0 && (p[n] == 0 || p[n] == ',')) return true;
  }
  return !only;
}

static void run_all(struct report *r, const char *only) {
  if (wanted(only, "tokenizer")) parity_tokenizer(r);
  if (wanted(only, "dialects")) parity_dialects(r);
  if (wanted(only, "losses")) parity_losses(r);
  for (int i = 0; i < 2; i++)
    for (size_t k = 0; k < sizeof of_models / sizeof *of_models; k++)
      if (wanted(only, of_models[k].name)) of_models[k].run(r, models[i]);
  for (int i = 0; i < 4; i++)
    if (wanted(only, "training") || wanted(only, training[i])) parity_training(r, training[i]);
}

/* For a planted mistake: until a row fails. */
static void run_until_failed(struct report *r) {
  parity_losses(r);
  for (int i = 0; i < 2; i++)
    for (size_t k = 0; k < 4 && !r->failed; k++) of_models[k].run(r, models[i]);
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

/* usage: parity [BACKEND [--no-mistakes] [GROUP,...]]: groups as in of_models, and those of run_all. */
int main(int argc, char **argv) {
  const char *backend = argc > 1 ? argv[1] : "cpu";
  bool plant = argc <= 2 || strcmp(argv[2], "--no-mistakes") != 0;
  const char *only = argc > 3 - plant ? argv[3 - plant] : NULL;
  struct report r = {.backend = backend};
  setvbuf(stdout, NULL, _IOLBF, 0); /* rows can be minutes apart */
  heading(backend);
  run_all(&r, only);
  int missed = plant ? run_mistakes(backend) : 0, n_mistakes = 0;
  while (plant && mistakes[n_mistakes]) n_mistakes++;
  printf("\n%d passed, %d failed\n", r.rows - r.failed + n_mistakes - missed, r.failed + missed);
  return r.failed || missed || !r.rows;
}
