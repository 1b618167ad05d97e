#include "convert/weights.h"

#include <stdlib.h>
#include <string.h>

#include "convert/lora_apply.h"

static bool fill_part(struct weights *w, int part, const struct param_set *p, const struct st_set *files, struct err *e) {
  w->part[part] = calloc((size_t)p->n + 1, sizeof *w->part[part]);
  if (!w->part[part]) return err_set(e, ERR_FIT, "out of memory for the list of tensors");
  w->n[part] = p->n;
  for (int i = 0; i < p->n; i++) w->part[part][i] = (struct weight){.p = p->p[i], .t = model_tensor(files, p->p[i]->name)};
  return true;
}

static bool add_lora(struct weights *w, const struct model *m, const struct lora_list *l, double strength, struct err *e) {
  for (int i = 0; i < l->n; i++) {
    const struct lora_item *item = &l->item[i];
    const struct param *p = lora_target(m, l, item, e);
    if (!p) return false;
    int part = item->text ? MODEL_TEXT : MODEL_UNET;
    for (int k = 0; k < w->n[part]; k++) {
      struct weight *x = &w->part[part][k];
      if (x->p != p) continue;
      x->item = item;
      x->strength = strength;
    }
  }
  return true;
}

bool weights_open(struct weights *w, const struct model *m, const struct lora_list *l, double strength, struct err *e) {
  const struct param_set *const set[3] = {unet_params(m->unet), clip_params(m->text), vae_params(m->vae)};
  *w = (struct weights){0};
  for (int i = 0; i < 3; i++)
    if (!fill_part(w, i, set[i], m->files[i], e)) return false;
  return !l || add_lora(w, m, l, strength, e);
}

void weights_release(struct weights *w) {
  for (int i = 0; i < 3; i++) free(w->part[i]);
  *w = (struct weights){0};
}

bool weight_fill(const void *maker, int64_t first, int64_t count, float *out) {
  const struct weight *w = maker;
  if (!st_floats(w->t, first, count, out)) return false;
  return !w->item || lora_item_add(w->item, lora_item_scale(w->item) * w->strength, first, count, out);
}

void weights_entry(void *user, enum model_part part, int i, struct st_entry *t) {
  const struct weights *w = user;
  t->fill = weight_fill;
  t->maker = &w->part[part][i];
}

enum dtype weights_dtype(const struct weights *w) {
  const struct st_tensor *t = w->n[MODEL_UNET] > 0 ? w->part[MODEL_UNET][0].t : NULL;
  return t && t->known_type && t->type <= DT_F16 ? t->type : DT_F32;
}
