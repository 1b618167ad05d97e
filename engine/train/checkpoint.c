#include "train/checkpoint.h"

#include <math.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "convert/lora_write.h"
#include "train/offload.h"

enum { PATH = 4300 };

void checkpoint_path(const char *run_dir, int step, bool final, char *out, size_t n) {
  if (final)
    snprintf(out, n, "%s/checkpoints/final", run_dir);
  else
    snprintf(out, n, "%s/checkpoints/step-%06d", run_dir, step);
}

/* The weights of the group called name for the host to read; NULL where it is not trained (*e untouched) or memory is out. */
static const float *host_weights(const struct optimizer *o, const char *const *names, const char *name, bool averaged, float **copy,
                                 struct err *e) {
  *copy = NULL;
  for (int i = 0; i < o->groups; i++) {
    const struct opt_group *g = o->group + i;
    if (strcmp(names[i], name) == 0)
      return model_host(optimizer_backend(o, i), averaged && g->ema ? g->ema : optimizer_weights(o, i), g->set->count, copy, e);
  }
  return NULL;
}

/* dir is a temporary directory that does not exist. */
static bool write_lora(struct model *m, const char *dir, const float *unet, const float *text, const struct checkpoint_want *w,
                       struct err *e) {
  char path[PATH + 64], step[32];
  snprintf(path, sizeof path, "%s/pytorch_lora_weights.safetensors", dir);
  snprintf(step, sizeof step, "%d", w->step);
  struct st_pair meta[] = {{"pdmbooth_step", step}, {"pdmbooth_base_model_hash", m->hash}};
  return make_dirs(dir, e) &&
         lora_save(path, unet ? unet_lora(m->unet) : NULL, unet, text ? clip_lora(m->text) : NULL, text, w->dtype, meta, 2, e);
}

/* The one that stood there (of a run that was stopped before noting it) goes only when the new one is complete. */
bool checkpoint_write(struct model *m, const struct optimizer *o, const char *const *names, const char *dir,
                      const struct checkpoint_want *w, struct err *e) {
  struct err mine = {0};
  char parent[PATH], temporary[PATH + 32];
  float *copy[2];
  fs_parent(dir, parent, sizeof parent);
  fs_temporary(dir, temporary, sizeof temporary);
  const float *unet = host_weights(o, names, "unet", w->averaged, &copy[0], &mine);
  const float *text = host_weights(o, names, "text_encoder", w->averaged, &copy[1], &mine);
  bool ok = mine.code == ERR_OK ? make_dirs(parent, e) : err_set(e, mine.code, "%s", mine.text);
  if (ok) fs_remove_tree(temporary);
  ok = ok && (w->lora ? write_lora(m, temporary, unet, text, w, e) : model_save(m, temporary, unet, text, w->dtype, e)) &&
       fs_settle(temporary, dir, e);
  if (!ok) fs_remove_tree(temporary);
  free(copy[0]);
  free(copy[1]);
  return ok;
}

int64_t checkpoint_bytes(const struct model *m, const struct optimizer *o, const struct checkpoint_want *w) {
  int64_t count = 0, copied = 4 << 20; /* tokenizer and configurations */
  if (w->lora)
    for (int i = 0; i < o->groups; i++) count += o->group[i].set->count;
  else
    count = unet_params(m->unet)->count + clip_params(m->text)->count + vae_params(m->vae)->count;
  return count * (int64_t)dtype_size(w->dtype) + (w->lora ? 0 : copied) + 65536;
}

/* --- which of them stay -------------------------------------------------------------------------------------------------------------------- */

/* How many of the others are better: a lower probe loss, or the same and older. */
static int better_than(const struct run_state *s, int i) {
  int n = 0;
  for (int k = 0; k < s->kept; k++)
    n += s->checkpoint[k].probe < s->checkpoint[i].probe || (s->checkpoint[k].probe == s->checkpoint[i].probe && k < i);
  return n;
}

static bool stays(const struct run_state *s, int i, int keep, int best) {
  if (keep <= 0 || s->kept - i <= keep) return true;
  return isfinite(s->checkpoint[i].probe) && better_than(s, i) < best;
}

/* Removing one that does not stay changes nothing for those that do. */
void checkpoint_prune(const char *run_dir, struct run_state *s, int keep, int best) {
  for (int i = 0; i < s->kept;) {
    char path[PATH];
    if (stays(s, i, keep, best)) {
      i++;
      continue;
    }
    checkpoint_path(run_dir, s->checkpoint[i].step, false, path, sizeof path);
    fs_remove_tree(path);
    memmove(s->checkpoint + i, s->checkpoint + i + 1, (size_t)(--s->kept - i) * sizeof *s->checkpoint);
  }
}

int checkpoint_best(const struct run_state *s) {
  for (int i = 0; i < s->kept; i++)
    if (isfinite(s->checkpoint[i].probe) && better_than(s, i) == 0) return s->checkpoint[i].step;
  return -1;
}

void checkpoint_forget_later(const char *run_dir, const struct run_state *s) {
  char dir[PATH], path[PATH + 300];
  snprintf(dir, sizeof dir, "%s/checkpoints", run_dir);
  DIR *d = opendir(dir);
  for (struct dirent *x; d && (x = readdir(d));) {
    int step, end = 0;
    if (sscanf(x->d_name, "step-%d%n", &step, &end) != 1 || x->d_name[end] != '\0' || step <= s->step) continue;
    snprintf(path, sizeof path, "%s/%s", dir, x->d_name);
    fs_remove_tree(path);
  }
  if (d) closedir(d);
}

/* --- averaged weights ------------------------------------------------------------------------------------------------------------------------ */

void swap_averaged(struct optimizer *o) {
  for (int i = 0; i < o->groups; i++) {
    struct opt_group *g = o->group + i;
    if (!g->ema) continue;
    if (g->away) {
      offload_show(g->away, g->away->shown != g->ema);
      continue;
    }
    float *w = g->set->w;
    param_set_bind(g->set, g->ema, g->set->g);
    g->ema = w;
    param_set_changed(g->set);
  }
}
