/* Time and peak memory of forward + backward of a whole UNet, one image, every parameter with a gradient; one line of JSON. Beside PyTorch:
 * tests/bench/beside_torch.py.
 *
 * usage: bench_unet MODEL [--mode fp32|bf16|fp16] [--latent N] [--repeat N] [--threads N] [--recompute] */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/thread.h"
#include "nets/model.h"
#include "nets/workspace.h"

enum { TOKENS = 77 };

struct job {
  struct model *m;
  int latent;
  bool recompute;
  float *x, *text, *y;
  double forward, both;
};

static struct tensor half_text(struct ctx *c, const float *text, int width) {
  return ctx_upload(c, c->act, 3, (int64_t[]){1, TOKENS, width}, text);
}

static bool pass(struct ctx *c, void *user) {
  struct job *j = user;
  const struct unet_config *k = unet_config(j->m->unet);
  struct unet_options o = {.recompute = j->recompute};
  struct unet_tape *tape;
  float t = 500;
  double start = now_seconds();
  struct tensor x = ctx_upload(c, DT_F32, 4, (int64_t[]){1, j->latent, j->latent, k->in_channels}, j->x),
                h = half_text(c, j->text, k->cross_dim);
  struct tensor y = unet_forward(c, j->m->unet, &x, &t, &h, NULL, &o, &tape);
  j->forward = now_seconds() - start;
  ctx_download(c, j->y, &y);
  unet_backward(c, j->m->unet, tape, &y, NULL, NULL); /* of sum(y^2) / 2 */
  j->both = now_seconds() - start;
  ctx_free(c, &x);
  ctx_free(c, &h);
  return ctx_ok(c);
}

static void noise(float *x, int64_t n, uint32_t index) {
  struct rng_counter c = {.seed = 1, .stream = RNG_SAMPLE, .index = index};
  rng_normal(&c, x, 0, n);
}

static bool measure(struct job *j, enum dtype act, int repeat, struct err *e) {
  double best = INFINITY, forward = 0;
  for (int i = 0; i <= repeat; i++) {           /* the first is a warm-up: memory is touched */
    param_set_changed(unet_params(j->m->unet)); /* as after an optimiser step: packs are stale */
    if (!workspace_run(&j->m->work, j->m->b, act, pass, j, NULL, e)) return false;
    if (i > 0 && j->both < best) best = j->both, forward = j->forward;
  }
  struct rusage r;
  getrusage(RUSAGE_SELF, &r);
  printf("\"seconds\": %.3f, \"forward_seconds\": %.3f, \"peak_mib\": %ld}\n", best, forward, r.ru_maxrss / 1024);
  return true;
}

static int option(int argc, char **argv, const char *name, int fallback) {
  for (int i = 2; i + 1 < argc; i++)
    if (strcmp(argv[i], name) == 0) return atoi(argv[i + 1]);
  return fallback;
}

static bool flag(int argc, char **argv, const char *text) {
  for (int i = 2; i < argc; i++)
    if (strcmp(argv[i], text) == 0) return true;
  return false;
}

static bool run(int argc, char **argv, struct err *e) {
  struct source s;
  struct model_want want = {.train_unet = true};
  struct job j = {.latent = option(argc, argv, "--latent", 64), .recompute = flag(argc, argv, "--recompute")};
  enum dtype act = flag(argc, argv, "bf16") ? DT_BF16 : flag(argc, argv, "fp16") ? DT_F16 : DT_F32;
  struct backend *b = backend_open("auto", option(argc, argv, "--threads", 0), e);
  if (!b) return false;
  source_dir(&s, argv[1]);
  double start = now_seconds();
  j.m = model_open(b, &s, &want, e);
  bool ok = j.m != NULL;
  if (ok) {
    int64_t n = (int64_t)j.latent * j.latent * unet_config(j.m->unet)->in_channels,
            nt = (int64_t)TOKENS * unet_config(j.m->unet)->cross_dim;
    printf("{\"engine\": \"%s\", \"load_seconds\": %.2f, ", backend_describe(b), now_seconds() - start);
    j.x = malloc((size_t)n * sizeof *j.x), j.y = malloc((size_t)n * sizeof *j.y), j.text = malloc((size_t)nt * sizeof *j.text);
    noise(j.x, n, 0);
    noise(j.text, nt, 1);
    ok = measure(&j, act, option(argc, argv, "--repeat", 2), e);
  }
  free(j.x);
  free(j.y);
  free(j.text);
  model_close(j.m);
  backend_close(b);
  return ok;
}

int main(int argc, char **argv) {
  struct err e = {0};
  if (argc < 2) {
    fprintf(stderr, "usage: bench_unet MODEL [--mode fp32|bf16|fp16] [--latent N] [--repeat N] [--threads N] [--recompute]\n");
    return 2;
  }
  if (run(argc, argv, &e)) return 0;
  fprintf(stderr, "bench_unet: %s\n", e.text);
  return e.code;
}
