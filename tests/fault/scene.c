#include "torture.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "formats/image.h"
#include "formats/output.h"
#include "formats/source.h"

#define TRAIN "--batch", "../user/profile.ini", "--run-dir", "run"

#define FULL TRAIN, "--set", "train.mode=full", "--set", "train.ema_decay=0.5"
#define LORA TRAIN, "--set", "train.mode=lora", "--set", "train.text_encoder=true", "--set", "prior.latents=true"
#define SMALL "--steps", "1", "--size", "16x16", "--device", "ref"

/* Training uses everything that writes: class images, PDM targets, samples, checkpoints, the averaged weights. The cpu engine turns to its own
   loops where oneDNN has no memory, which gives other last digits. */
const struct scenario scenarios[] = {
    {"full", {FULL}, .resumes = true},
    {"lora", {LORA}, .resumes = true},
    {"lora on cpu", {LORA, "--device", "cpu"}, .digits = true},
    {"sample", {"sample", "../user/model", "--prompt", "a dog", SMALL, "--sheet", "s.png", "--dump", "d"}, .resumes = false},
    {"sample a LoRA",
     {"sample", "run/checkpoints/final", "--base", "../user/model", "--prompt", "x", SMALL, "--out", "p"},
     .after = "lora"},
    {"sheet", {"sheet", "s.png", "--label", "row", "--column-label", "a", "../user/photographs/0.png", "-"}, .resumes = false},
    {.name = NULL},
};

static const char profile[] =
    "[model]\npath = model\n[subject]\nname = dog\nclass = dog\nimages = photographs\nhold_out = 1.png\n"
    "[prompts]\ntest = a {token} {class}\n"
    "[train]\nsteps = 2\nresolution = 16\nrank = 1\ntarget = to_q\ntarget = q_proj\nlr = 1e-3\n"
    "[losses]\nprior = true\npdm_steps = 2\n[prior]\nimages = 1\nsteps = 1\nbatch = 1\nsampler = ddim\n"
    "[samples]\ncount = 1\nsteps = 1\nevery = 1\nsampler = ddim\n[checkpoints]\nevery = 1\nkeep = 1\n[engine]\nthreads = 1\ndevice = ref\non_full = stop\n";

const struct scenario *scenario_named(const char *name) {
  for (const struct scenario *s = scenarios; s->name != NULL; s++)
    if (strcmp(s->name, name) == 0) return s;
  return NULL;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *f) {
  (void)st, (void)kind, (void)f;
  return remove(path);
}

void remove_all(const char *path) {
  nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

bool copy_all(const char *from, const char *to) {
  char command[2 * PATHS + 32];
  snprintf(command, sizeof command, "cp -r '%s' '%s'", from, to);
  return system(command) == 0;
}

/* A picture whose middle is the subject, and its mask. */
static bool make_photograph(const char *dir, int number, struct err *e) {
  char path[PATHS + 64];
  struct image im, mask;
  if (!image_new(&im, 20, 18, 3) || !image_new(&mask, 20, 18, 1)) return false;
  for (int y = 0; y < im.h; y++)
    for (int x = 0; x < im.w; x++) {
      bool in = x > 4 && x < 15 && y > 3 && y < 14;
      mask.px[y * im.w + x] = in ? 255 : 0;
      for (int k = 0; k < 3; k++)
        im.px[(y * im.w + x) * 3 + k] = (unsigned char)(in ? 200 - 30 * k - 20 * number : (x * 7 + y * 13 * k) % 90);
    }
  snprintf(path, sizeof path, "%s/%d.png", dir, number);
  bool ok = image_write_png(path, &im, NULL, 0, e);
  snprintf(path, sizeof path, "%s/masks/%d.png", dir, number);
  ok = ok && image_write_png(path, &mask, NULL, 0, e);
  image_release(&im);
  image_release(&mask);
  return ok;
}

bool scene_make(const char *scratch) {
  char user[PATHS], path[PATHS + 64], model[PATHS];
  const char *top = getenv("TEST_SRCDIR");
  struct err e = {0};
  snprintf(user, sizeof user, "%s/user", scratch);
  snprintf(path, sizeof path, "%s/photographs/masks", user);
  bool ok = make_dirs(path, &e);
  snprintf(path, sizeof path, "%s/photographs", user);
  for (int i = 0; ok && i < 2; i++) ok = make_photograph(path, i, &e);
  snprintf(path, sizeof path, "%s/profile.ini", user);
  ok = ok && write_file(path, profile, strlen(profile), &e);
  snprintf(model, sizeof model, "%s/tests/data/sd1", top != NULL ? top : ".");
  snprintf(path, sizeof path, "%s/model", user);
  if (ok && copy_all(model, path)) return true;
  fprintf(stderr, "cannot make the scene: %s\n", e.text);
  return false;
}
