/* What the tests of training share: tiny models, photographs made up on the spot, settings of a short run. Include after cmocka.h. */
#ifndef PDMBOOTH_TESTS_TRAINING_H
#define PDMBOOTH_TESTS_TRAINING_H

#include <ftw.h>
#include <sys/stat.h>

#include "folder.h"
#include "pdmbooth.h"
#include "nets/model.h"
#include "diffusion/sampler.h"
#include "train/optimizer.h"

static inline struct model *tiny_model(struct backend *b, const char *name, const struct model_want *w) {
  struct source s;
  struct err e = {0};
  char path[4096], relative[64];
  snprintf(relative, sizeof relative, "data/%s", name);
  source_dir(&s, tests_path(relative, path, sizeof path));
  struct model *m = model_open(b, &s, w, &e);
  if (m == NULL) fail_msg("%s", e.text);
  return m;
}

/* A picture of w x h with a bright disc on noise, drawn from seed; its mask: the disc. */
static inline void made_up(struct image *im, struct image *mask, int w, int h, unsigned seed) {
  assert_true(image_new(im, w, h, 3));
  assert_true(image_new(mask, w, h, 1));
  double cx = w * (0.35 + 0.1 * (seed % 4)), cy = h * 0.55, r = (w < h ? w : h) * 0.28;
  for (int y = 0; y < h; y++)
    for (int x = 0; x < w; x++) {
      bool in = (x - cx) * (x - cx) + (y - cy) * (y - cy) < r * r;
      mask->px[y * w + x] = in ? 255 : 0;
      for (int k = 0; k < 3; k++) {
        seed = seed * 1664525u + 1013904223u;
        im->px[(y * w + x) * 3 + k] = (unsigned char)(in ? 200u - 40u * (unsigned)k : (seed >> 24) / 3);
      }
    }
}

/* n photographs photo-0.png .. and their masks in dir. */
static inline void made_up_photographs(const char *dir, int n, int w, int h) {
  struct err e = {0};
  char path[4200];
  snprintf(path, sizeof path, "%s/masks", dir);
  assert_true(make_dirs(path, &e));
  for (int i = 0; i < n; i++) {
    struct image im, mask;
    made_up(&im, &mask, w, h, (unsigned)i + 1);
    snprintf(path, sizeof path, "%s/photo-%d.png", dir, i);
    assert_true(image_write_png(path, &im, NULL, 0, &e));
    snprintf(path, sizeof path, "%s/masks/photo-%d.png", dir, i);
    assert_true(image_write_png(path, &mask, NULL, 0, &e));
    image_release(&im);
    image_release(&mask);
  }
}

static inline int training_remove(const char *path, const struct stat *s, int kind, struct FTW *f) {
  (void)s, (void)kind, (void)f;
  return remove(path);
}

static inline void folder_remove_all(const char *dir) {
  nftw(dir, training_remove, 16, FTW_DEPTH | FTW_PHYS);
}

/* A directory of its own with photographs, and the paths of a model (relative to tests/) and of a run. Removed with folder_remove_all(root). */
struct place {
  char root[256], images[300], model[4096], run[300];
};

static inline void place_make(struct place *p, const char *model, int photographs, int w, int h) {
  folder_make(p->root, sizeof p->root);
  snprintf(p->images, sizeof p->images, "%s/photos", p->root);
  snprintf(p->run, sizeof p->run, "%s/run", p->root);
  tests_path(model, p->model, sizeof p->model);
  made_up_photographs(p->images, photographs, w, h);
}

/* Settings of a short run on a tiny model; the caller changes what it wants. */
static inline struct settings short_run(const char *model, const char *images, const char *run_dir) {
  struct settings s = {.model = {.path = model},
                       .subject = {"dog", "sks", "dog", images, "", ""},
                       .prompts = {.instance = "a photo of sks dog",
                                   .class_prompt = "a photo of dog",
                                   .negative = "",
                                   .test = {"a photo of sks dog on the beach"},
                                   .tests = 1},
                       .losses = {true, true, true, true, true, false, 1.0, 0.1, 6, ""},
                       .prior = {.images = 3, .dir = "", .sampler = SAMPLER_DDIM, .steps = 2, .batch = 2, .guidance = 4},
                       .samples = {.every = 2, .count = 2, .seed = 7, .sampler = SAMPLER_DDIM, .steps = 2, .batch = 2, .guidance = 3},
                       .checkpoints = {.every = 2, .keep = 1, .save_weights = true, .dtype = DT_F32},
                       .engine = {.device = "auto", .threads = 1, .cache_dir = ""},
                       .run_dir = run_dir,
                       .dump_dir = ""};
  s.train.mode = MODE_LORA;
  s.train.steps = 5;
  s.train.batch = s.train.accumulation = 1;
  s.train.lr = 1e-3;
  s.train.lr_cycles = 0.5, s.train.lr_power = 1;
  s.train.schedule = LR_COSINE, s.train.warmup = 1;
  s.train.width = s.train.height = 64;
  s.train.rank = 2;
  s.train.beta1 = 0.9, s.train.beta2 = 0.999, s.train.epsilon = 1e-8, s.train.weight_decay = 1e-2, s.train.max_grad_norm = 1;
  s.train.seed = 3;
  s.train.flip = true;
  return s;
}

#endif
