/* Samplers on a real network, and PDM targets, against tests/reference/dump_samplers.py and dump_pdm.py. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "parity.h"
#include "train/dataset.h"
#include "train/pdm.h"
#include "train/picture.h"

enum { NAME = 256, STEPS = 20 };

static void timesteps(struct report *r, const char *model, const char *key, struct sampler *s, const struct st_file *f) {
  int64_t n;
  float *want = dump_floats(f, &n, "%s.timesteps%d", key, STEPS), *have = malloc((size_t)(n + 1) * sizeof *have);
  char name[NAME];
  snprintf(name, sizeof name, "%s %s timesteps at %d steps", model, key, STEPS);
  if (sampler_evaluations(s) == (int)n) {
    for (int i = 0; i < n; i++) have[i] = sampler_timestep(s, i);
    row_compare(r, name, have, want, n, 0, 1e-6);
  } else {
    row(r, name, fabs((double)(sampler_evaluations(s) - n)), NAN, 0);
  }
  free(want);
  free(have);
}

/* The picture's levels: at most one grey level off, anywhere. */
static void picture(struct report *r, const char *model, const char *key, const struct image *im, const struct st_file *f) {
  int64_t n;
  float *want = dump_floats(f, &n, "%s.picture", key);
  double max = 0;
  for (int64_t i = 0; i < n; i++) max = fmax(max, fabs(want[i] - im->px[i]));
  char name[NAME];
  snprintf(name, sizeof name, "%s %s picture, grey levels", model, key);
  row(r, name, max, max, 1);
  free(want);
}

static void sampler_rows(struct report *r, struct rig *g, const char *model, enum sampler_kind kind, const char *key,
                         const struct st_file *f) {
  int64_t n, n_ids;
  const int64_t *d = dump_shape(f, "noise");
  int factor = vae_factor(g->m->vae);
  float *noise = dump_floats(f, &n, "noise"), *want = dump_floats(f, NULL, "%s.latents", key);
  float *nhwc = malloc((size_t)n * sizeof *nhwc), *latents = malloc((size_t)n * sizeof *latents), *nchw = malloc((size_t)n * sizeof *nchw);
  int32_t *ids = dump_ints(f, &n_ids, "ids");
  const char *prompt = "a photo of sks dog";
  struct picture_job job = {
      .sampler = kind, .steps = STEPS, .guidance = 7.5, .negative = "", .width = (int)d[3] * factor, .height = (int)d[2] * factor};
  struct image im = {0};
  char name[NAME];
  snprintf(name, sizeof name, "%s %s final latents, %d steps, guidance 7.5", model, key, STEPS);
  to_nhwc(nhwc, noise, d[0], d[1], d[2], d[3]);
  struct sampler *s = sampler_new(kind, &g->m->schedule, STEPS, &g->err);
  if (s) timesteps(r, model, key, s, f);
  sampler_delete(s, &g->c);
  if (pictures_make(g->m, r->act, &job, &prompt, &(uint64_t){0}, 1, nhwc, &im, latents, NULL, NULL, &g->err)) {
    to_nchw(nchw, latents, d[0], d[1], d[2], d[3]);
    row_compare(r, name, nchw, want, n, 0, 1e-4);
    picture(r, model, key, &im, f);
  } else {
    row_error(r, name, &g->err);
  }
  image_release(&im);
  free(noise);
  free(want);
  free(nhwc);
  free(latents);
  free(nchw);
  free(ids);
}

void parity_samplers(struct report *r, const char *model) {
  static const struct {
    enum sampler_kind kind;
    const char *key[2]; /* by the spacing that this program takes for the config at hand */
  } k[] = {{SAMPLER_PNDM, {"pndm.leading", NULL}},
           {SAMPLER_DDIM, {"ddim.leading", NULL}},
           {SAMPLER_DPMPP_2M, {"dpmpp.leading", "dpmpp.linspace"}},
           {SAMPLER_EULER, {"euler.leading", "euler.linspace"}}};
  char file[NAME];
  struct rig g;
  snprintf(file, sizeof file, "samplers_%s.safetensors", model);
  struct st_file *f = dump_open(file);
  if (rig_open(&g, r, model, NULL)) {
    char spacing[16];
    snprintf(spacing, sizeof spacing, "%s", g.m->schedule.spacing);
    for (size_t i = 0; i < sizeof k / sizeof *k; i++)
      for (int s = 0; s < 2; s++) {
        if (!k[i].key[s]) continue;
        snprintf(g.m->schedule.spacing, sizeof g.m->schedule.spacing, "%s", k[i].key[1] ? strchr(k[i].key[s], '.') + 1 : spacing);
        sampler_rows(r, &g, model, k[i].kind, k[i].key[s], f);
      }
  } else {
    row_error(r, model, &g.err);
  }
  rig_close(&g);
  st_close(f);
}

/* --- PDM targets --------------------------------------------------------------------------------------------------------------- */

static bool copy(const char *from, const char *to) {
  struct blob b;
  struct err e = {0};
  bool ok = blob_map(from, &b, &e) && write_file(to, b.data, b.size, &e);
  if (ok) blob_close(&b);
  return ok;
}

/* A directory with the photographs of the dump, in its order. */
static bool photographs(const char *dir, const char *model) {
  static const char *const files[2][2] = {{"mantel_clock/1.jpg", "poodle/2.jpg"}, {"poodle/1.jpg", NULL}};
  char from[4096], to[4096];
  int k = strcmp(model, "sd1") != 0;
  for (int i = 0; i < 2 && files[k][i]; i++) {
    snprintf(from, sizeof from, "%s/../../assets/demo-subject/%s", data_path("."), files[k][i]);
    snprintf(to, sizeof to, "%s/%d.jpg", dir, i);
    if (!copy(from, to)) return false;
  }
  return true;
}

static void remove_dir(const char *dir) {
  char command[4200];
  snprintf(command, sizeof command, "rm -rf '%s'", dir);
  if (system(command) != 0) fprintf(stderr, "parity: cannot remove %s\n", dir);
}

struct pdm_case {
  struct rig g;
  struct st_file *f;
  struct dataset d;
  struct pdm_job job;
  struct draw_pair *pair;
  struct pdm_targets *targets;
  char dir[64], cache[96], layer[NAME];
};

static bool pdm_prepare(struct pdm_case *q, const struct report *r, const char *model) {
  struct dataset_want want = {.images = q->dir, .mask_dir = "", .hold_out = ""};
  if (!rig_open(&q->g, r, model, NULL) || !photographs(q->dir, model)) return false;
  want.width = want.height = 8 * vae_factor(q->g.m->vae);
  if (!dataset_open(&q->d, NULL, &want, &q->g.err)) return false;
  q->pair = calloc((size_t)q->d.photographs * 1000, sizeof *q->pair);
  for (int i = 0; i < q->d.photographs * 1000; i++) q->pair[i] = (struct draw_pair){i / 1000, i % 1000};
  q->job = (struct pdm_job){.m = q->g.m,
                            .d = &q->d,
                            .class_prompt = "a photo of clock",
                            .layer = q->layer,
                            .act = r->act,
                            .steps = 999,
                            .cache_dir = q->cache,
                            .state_dir = q->cache,
                            .pair = q->pair,
                            .pairs = q->d.photographs * 1000};
  return unet_pdm_layer(q->g.m->unet, NULL, q->layer, sizeof q->layer, &q->job.handle, &q->g.err) &&
         (q->targets = pdm_make(&q->job, &q->g.err)) != NULL;
}

static void pdm_pixels(struct report *r, struct pdm_case *q, const char *model) {
  int64_t n;
  float *want = dump_floats(q->f, &n, "pixels");
  int side = q->d.width;
  float *have = malloc((size_t)n * sizeof *have), *one = malloc((size_t)(3 * side * side) * sizeof *one);
  for (int i = 0; i < q->d.photographs; i++) {
    int x, y;
    photograph_center(&q->d, &q->d.photograph[i], &x, &y);
    crop_pixels(&q->d.photograph[i].rgb, x, y, side, side, false, one);
    to_nchw(have + (int64_t)i * 3 * side * side, one, 1, 3, side, side);
  }
  for (int64_t i = 0; i < n; i++) have[i] = roundf((have[i] + 1) * 127.5f);
  char name[NAME];
  snprintf(name, sizeof name, "%s photographs, resized and cropped", model);
  row_compare(r, name, have, want, n, 0, 0);
  free(want);
  free(have);
  free(one);
}

/* Q* of all levels at the rows that the dump keeps, and whole maps at some: stored in half precision, hence the tolerance. */
static void pdm_rows(struct report *r, struct pdm_case *q, const char *model) {
  int64_t n_rows, n_full;
  int tokens = pdm_tokens(q->targets), ch = pdm_channels(q->targets), n = q->d.photographs;
  int32_t *rows = dump_ints(q->f, &n_rows, "rows"), *full = dump_ints(q->f, &n_full, "full_t");
  float *want = dump_floats(q->f, NULL, "q_rows"), *maps = dump_floats(q->f, NULL, "q_full");
  float *have = malloc((size_t)(n * 1000 * n_rows * ch) * sizeof *have),
        *have_maps = malloc((size_t)(n * n_full * tokens * ch) * sizeof *have_maps);
  float *map = malloc((size_t)(tokens * ch) * sizeof *map);
  bool found = true;
  for (int i = 0; i < n; i++)
    for (int t = 0; t < 1000; t++) {
      found = pdm_read(q->targets, i, t, map) && found;
      for (int64_t k = 0; k < n_rows; k++) memcpy(have + ((i * 1000 + t) * n_rows + k) * ch, map + rows[k] * ch, (size_t)ch * sizeof *map);
      for (int64_t k = 0; k < n_full; k++)
        if (full[k] == t) memcpy(have_maps + (i * n_full + k) * tokens * ch, map, (size_t)(tokens * ch) * sizeof *map);
    }
  char name[NAME];
  snprintf(name, sizeof name, "%s Q* at all 1000 levels, some rows", model);
  row_compare(r, name, have, want, found ? n * 1000 * n_rows * ch : -1, 0, 1e-3);
  snprintf(name, sizeof name, "%s Q* whole maps at %d levels", model, (int)n_full);
  row_compare(r, name, have_maps, maps, n * n_full * tokens * ch, 0, 1e-3);
  free(rows);
  free(full);
  free(want);
  free(maps);
  free(have);
  free(have_maps);
  free(map);
}

void parity_pdm(struct report *r, const char *model) {
  struct pdm_case q = {0};
  char file[NAME];
  snprintf(file, sizeof file, "pdm_%s.safetensors", model);
  q.f = dump_open(file);
  snprintf(q.dir, sizeof q.dir, "/tmp/pdmbooth-parity-XXXXXX");
  if (!mkdtemp(q.dir)) return;
  snprintf(q.cache, sizeof q.cache, "%s/cache", q.dir);
  if (pdm_prepare(&q, r, model)) {
    pdm_pixels(r, &q, model);
    pdm_rows(r, &q, model);
  } else {
    row_error(r, "PDM targets", &q.g.err);
  }
  pdm_close(q.targets);
  dataset_close(&q.d);
  free(q.pair);
  rig_close(&q.g);
  st_close(q.f);
  remove_dir(q.dir);
}
