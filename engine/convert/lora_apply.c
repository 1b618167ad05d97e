#include "convert/lora_apply.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool other_model(const struct lora_list *l, const struct lora_item *i, const char *what, struct err *e) {
  return err_set(e, ERR_INPUT, "%s: the tensor \"%s\" %s; the file was made for another model", l->path, i->name, what);
}

/* Equal but for 1s at the end, from dim "from" on. */
static bool same_dims(const struct lora_matrix *m, const struct param *p, int from) {
  for (int k = from; k < 4; k++) {
    int64_t a = k < m->rank ? m->dim[k] : 1, b = k < p->rank ? p->dim[k] : 1;
    if (a != b) return false;
  }
  return true;
}

const struct param *lora_target(const struct model *m, const struct lora_list *l, const struct lora_item *i, struct err *e) {
  char name[LORA_NAME + 16], want[128], text[256];
  snprintf(name, sizeof name, "%s.weight", i->module);
  const struct param *p = param_find(i->text ? clip_params(m->text) : unet_params(m->unet), name);
  if (!p || p->rank < 2) {
    other_model(l, i, "belongs to no layer of the model", e);
    return NULL;
  }
  if (i->up.dim[0] == p->dim[0] && same_dims(&i->down, p, 1)) return p;
  snprintf(text, sizeof text, "does not fit the model's layer of shape %s", st_shape(p->rank, p->dim, want));
  other_model(l, i, text, e);
  return NULL;
}

bool lora_check(const struct model *m, const struct lora_list *l, struct err *e) {
  for (int i = 0; i < l->n; i++)
    if (!lora_target(m, l, &l->item[i], e)) return false;
  return true;
}

static struct lora_set *set_of(struct model *m, bool text) {
  return text ? clip_lora(m->text) : unet_lora(m->unet);
}

/* Whether the layer carries adapters; it has one then. */
static bool attach(struct model *m, const struct lora_item *i) {
  struct lora_spec spec = {.rank = i->rank, .alpha = (float)i->alpha, .n_targets = 1, .target = {i->module}};
  struct err none = {0};
  struct lora_set *s = set_of(m, i->text);
  int before = s ? s->n : 0;
  if (i->text)
    clip_attach_lora(m->text, &spec, &none);
  else
    unet_attach_lora(m->unet, &spec, &none);
  s = set_of(m, i->text);
  return s && s->n == before + 1;
}

/* w += scale up down, on the host. */
static bool add_to_weights(struct model *m, const struct lora_list *l, const struct lora_item *i, double strength, struct err *e) {
  struct param *p = (struct param *)lora_target(m, l, i, e);
  size_t bytes = p ? (size_t)p->count * sizeof(float) : 0;
  float *w = p ? malloc(bytes) : NULL;
  if (!w) return err_set(e, ERR_FIT, "out of memory for the adapters");
  m->b->op->download(m->b, w, p->w, bytes);
  bool ok = lora_item_add(i, lora_item_scale(i) * strength, 0, p->count, w) || other_model(l, i, "cannot be read", e);
  if (ok) m->b->op->upload(m->b, p->w, w, bytes);
  p->version++;
  free(w);
  return ok;
}

static bool fill_one(const struct lora_list *l, const struct lora_item *i, const struct lora_set *s, float *host, struct err *e) {
  for (int k = 0; k < s->n; k++) {
    const struct lora_module *d = &s->module[k];
    if (strcmp(d->name, i->module) != 0) continue;
    return (lora_matrix_floats(&i->down, 0, i->down.count, host + d->a->offset) &&
            lora_matrix_floats(&i->up, 0, i->up.count, host + d->b->offset)) ||
           other_model(l, i, "cannot be read", e);
  }
  return true; /* it was added to the weights */
}

static bool fill_set(struct model *m, const struct lora_list *l, bool text, struct err *e) {
  struct lora_set *s = set_of(m, text);
  if (!s || s->n == 0) return true;
  size_t bytes = (size_t)s->params->count * sizeof(float);
  float *host = malloc(bytes);
  bool ok = host || err_set(e, ERR_FIT, "out of memory for the adapters");
  if (ok) m->b->op->download(m->b, host, s->params->w, bytes);
  for (int i = 0; ok && i < l->n; i++) ok = l->item[i].text != text || fill_one(l, &l->item[i], s, host, e);
  if (ok) m->b->op->upload(m->b, s->params->w, host, bytes);
  param_set_changed(s->params);
  free(host);
  return ok;
}

bool lora_fill(struct model *m, const struct lora_list *l, struct err *e) {
  return fill_set(m, l, false, e) && fill_set(m, l, true, e);
}

bool lora_attach(struct model *m, const struct lora_list *l, bool text, struct err *e) {
  if (!lora_check(m, l, e)) return false;
  for (int i = 0; i < l->n; i++) {
    const struct lora_item *item = &l->item[i];
    if (item->text && !text)
      return err_set(e, ERR_USAGE,
                     "%s holds adapters of the text encoder (\"%s\"): set text_encoder = true in [train], or they would be lost", l->path,
                     item->name);
    if (!attach(m, item))
      return err_set(
          e, ERR_INPUT,
          "%s: the tensor \"%s\" belongs to a layer whose adapters cannot be trained; put it into the base model first (export --merge)",
          l->path, item->name);
  }
  return true;
}

/* Sets bound with frozen weights of zero, for lora_fill. */
static bool bind_frozen(struct model *m, bool text, struct err *e) {
  struct lora_set *s = set_of(m, text);
  if (!s || s->n == 0) return true;
  param_set_freeze(s->params, true);
  if (!model_bind(m->b, s->params, e)) return false;
  float *zero = calloc((size_t)s->params->count, sizeof *zero);
  if (!zero) return err_set(e, ERR_FIT, "out of memory for the adapters");
  m->b->op->upload(m->b, s->params->w, zero, (size_t)s->params->count * sizeof *zero);
  free(zero);
  return true;
}

bool lora_load(struct model *m, const char *path, double strength, struct err *e) {
  struct lora_list l;
  if (unet_lora(m->unet) || clip_lora(m->text)) return err_set(e, ERR_USAGE, "%s: the model has adapters already", path);
  if (!lora_list_open(&l, path, e)) return false;
  bool ok = lora_check(m, &l, e);
  for (int i = 0; ok && i < l.n; i++) ok = attach(m, &l.item[i]) || add_to_weights(m, &l, &l.item[i], strength, e);
  ok = ok && bind_frozen(m, false, e) && bind_frozen(m, true, e) && lora_fill(m, &l, e);
  for (int k = 0; ok && k < 2; k++)
    if (set_of(m, k == 1)) set_of(m, k == 1)->strength = (float)strength;
  lora_list_close(&l);
  return ok;
}
