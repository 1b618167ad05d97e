#include "convert/lora_write.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "convert/lora_meta.h"

/* How one matrix of the file comes about. */
struct maker {
  const struct lora_matrix *m;
  int rank, wide; /* rank in the source, and in the file */
  bool up;
  float factor;
};

struct writing {
  const struct lora_list *l;
  const struct lora_want *w;
  struct st_entry *t;
  char (*name)[LORA_NAME];
  struct maker *maker;
  float *alpha;
  int n, makers, alphas;
  int wide;       /* one rank for all; 0: each its own */
  bool own_alpha; /* the file carries each module's alpha; else it is folded into up */
};

/* --- values ---------------------------------------------------------------------------------------------------------------------- */

/* Row i of up in the file: the source's row, then zeros. */
static bool fill_up(const struct maker *k, int64_t first, int64_t count, float *out) {
  for (int64_t n; count > 0; first += n, out += n, count -= n) {
    int64_t row = first / k->wide, column = first % k->wide;
    n = column < k->rank ? k->rank - column : k->wide - column;
    if (n > count) n = count;
    if (column >= k->rank)
      memset(out, 0, (size_t)n * sizeof *out);
    else if (!lora_matrix_floats(k->m, row * k->rank + column, n, out))
      return false;
  }
  return true;
}

static bool fill(const void *maker, int64_t first, int64_t count, float *out) {
  const struct maker *k = maker;
  if (k->up) {
    if (!fill_up(k, first, count, out)) return false;
    for (int64_t i = 0; k->factor != 1 && i < count; i++) out[i] *= k->factor;
    return true;
  }
  int64_t have = first < k->m->count ? k->m->count - first : 0, n = have < count ? have : count;
  if (!lora_matrix_floats(k->m, n > 0 ? first : 0, n, out)) return false;
  memset(out + n, 0, (size_t)(count - n) * sizeof *out);
  return true;
}

/* --- one module -------------------------------------------------------------------------------------------------------------------- */

static bool put_name(struct writing *k, const struct lora_item *i, enum lora_part part, struct err *e) {
  struct lora_name n = {.dialect = k->w->dialect, .text = i->text, .part = part};
  snprintf(n.module, sizeof n.module, "%s", i->module);
  if (lora_name_write(&n, k->name[k->n])) return true;
  return err_set(e, ERR_USAGE,
                 "%s: the module %s has no name in the dialect %s, which knows the projections of attention only: choose lora-diffusers",
                 k->l->path, i->module, lora_dialect_word(k->w->dialect));
}

static bool add_matrix(struct writing *k, const struct lora_item *i, enum lora_part part, struct err *e) {
  const struct lora_matrix *m = part == LORA_UP ? &i->up : &i->down;
  struct maker *maker = &k->maker[k->makers++];
  int wide = k->wide ? k->wide : i->rank;
  *maker =
      (struct maker){.m = m, .rank = i->rank, .wide = wide, .up = part == LORA_UP, .factor = k->own_alpha ? 1 : (float)lora_item_scale(i)};
  if (!put_name(k, i, part, e)) return false;
  struct st_entry *t = &k->t[k->n];
  *t = (struct st_entry){.name = k->name[k->n], .type = k->w->dtype, .rank = m->rank, .data_type = DT_F32, .fill = fill, .maker = maker};
  memcpy(t->dim, m->dim, sizeof m->dim);
  t->dim[part == LORA_UP ? 1 : 0] = wide;
  k->n++;
  return true;
}

/* A scalar in the file's type. */
static bool add_alpha(struct writing *k, const struct lora_item *i, struct err *e) {
  float *alpha = &k->alpha[k->alphas++];
  *alpha = k->own_alpha ? (float)i->alpha : (float)(k->wide ? k->wide : i->rank);
  if (!put_name(k, i, LORA_ALPHA, e)) return false;
  k->t[k->n] = (struct st_entry){.name = k->name[k->n], .type = k->w->dtype, .data = alpha, .data_type = DT_F32};
  k->n++;
  return true;
}

/* --- one file ---------------------------------------------------------------------------------------------------------------------- */

/* Whether a file of that type holds the number as it is. */
static bool exact(double x, enum dtype type) {
  float f = (float)x, stored = type == DT_F16 ? f16_to_f32(f32_to_f16(f)) : type == DT_BF16 ? bf16_to_f32(f32_to_bf16(f)) : f;
  return !((double)stored > x) && !((double)stored < x);
}

/* One rank and one alpha, and in kohya's dialect a rank of at least 2: so that every reader takes the scale that is meant. */
static void choose_ranks(struct writing *k) {
  const struct lora_list *l = k->l;
  bool kohya = k->w->dialect == LORA_KOHYA, same = true;
  int least = kohya ? 2 : 1, most = least;
  for (int i = 0; i < l->n; i++) {
    const struct lora_item *a = &l->item[i], *b = &l->item[0];
    same = same && a->rank == b->rank && !(fabs(a->alpha - b->alpha) > 0);
    if (a->rank > most) most = a->rank;
  }
  if (k->w->dialect == LORA_PEFT) {
    k->own_alpha = true;
    return;
  }
  k->wide = same && l->n > 0 && l->item[0].rank >= least ? 0 : most;
  k->own_alpha = kohya && l->n > 0 && k->wide == 0 && exact(l->item[0].alpha, k->w->dtype);
}

static bool begin(struct writing *k, struct err *e) {
  size_t n = 3 * (size_t)k->l->n + 1;
  k->t = calloc(n, sizeof *k->t);
  k->name = calloc(n, sizeof *k->name);
  k->maker = calloc(n, sizeof *k->maker);
  k->alpha = calloc(n, sizeof *k->alpha);
  return (k->t && k->name && k->maker && k->alpha) || err_set(e, ERR_FIT, "%s: out of memory", k->l->path);
}

static void end(struct writing *k) {
  free(k->t);
  free(k->name);
  free(k->maker);
  free(k->alpha);
}

static bool add_items(struct writing *k, int network, struct err *e) {
  k->n = k->makers = k->alphas = 0;
  for (int i = 0; i < k->l->n; i++) {
    const struct lora_item *item = &k->l->item[i];
    if (network >= 0 && item->text != (network == 1)) continue;
    if (!add_matrix(k, item, LORA_DOWN, e) || !add_matrix(k, item, LORA_UP, e)) return false;
    if (k->w->dialect == LORA_KOHYA && !add_alpha(k, item, e)) return false;
  }
  return true;
}

static bool write_entries(const struct writing *k, const char *path, const struct st_pair *meta, int n_meta, struct err *e) {
  return st_write(path, k->t, k->n, meta, n_meta, e) && (!k->w->check || st_check_written(path, k->t, k->n, meta, n_meta, e));
}

static bool write_file_with_metadata(const struct writing *k, const char *path, struct err *e) {
  struct lora_meta meta;
  bool ok = lora_meta_make(&meta, k->l, k->w, &(struct lora_shape){k->wide, k->own_alpha}, k->t, k->n, e) &&
            write_entries(k, path, meta.pair, meta.n, e);
  lora_meta_release(&meta);
  return ok;
}

/* --- the PEFT directory ----------------------------------------------------------------------------------------------------------- */

static bool write_peft(struct writing *k, const char *path, bool text, struct err *e) {
  char dir[4400], file[4500];
  snprintf(dir, sizeof dir, "%s/%s", path, text ? "text_encoder" : "unet");
  if (!add_items(k, text, e) || k->n == 0) return k->n == 0;
  char *config = lora_meta_peft_config(k->l, text);
  bool ok = config ? make_dirs(dir, e) : err_set(e, ERR_FIT, "%s: out of memory", path);
  snprintf(file, sizeof file, "%s/adapter_config.json", dir);
  ok = ok && write_file(file, config, strlen(config), e);
  free(config);
  snprintf(file, sizeof file, "%s/adapter_model.safetensors", dir);
  return ok && write_entries(k, file, NULL, 0, e);
}

/* The 0.18 readers take an attention only with all four of its projections. */
static bool complete_attention(const struct lora_list *l, struct err *e) {
  for (int i = 0, n; i < l->n; i += n) {
    const char *leaf = strstr(l->item[i].module, l->item[i].text ? ".self_attn." : ".attn");
    size_t k = leaf ? strcspn(leaf + 1, ".") + 2 + (size_t)(leaf - l->item[i].module) : 0;
    for (n = 1;
         i + n < l->n && l->item[i].text == l->item[i + n].text && k > 0 && strncmp(l->item[i].module, l->item[i + n].module, k) == 0;)
      n++;
    if (k > 0 && n != 4)
      return err_set(e, ERR_USAGE,
                     "%s: %.*s has %d of its four projections: readers of the dialect lora-diffusers-old want all; choose lora-diffusers",
                     l->path, (int)k - 1, l->item[i].module, n);
  }
  return true;
}

bool lora_write(const char *path, const struct lora_list *l, const struct lora_want *w, struct err *e) {
  struct writing k = {.l = l, .w = w};
  if (w->dialect == LORA_OLD && !complete_attention(l, e)) return false;
  choose_ranks(&k);
  bool ok = begin(&k, e);
  if (ok && w->dialect == LORA_PEFT)
    ok = write_peft(&k, path, false, e) && write_peft(&k, path, true, e);
  else
    ok = ok && add_items(&k, -1, e) && write_file_with_metadata(&k, path, e);
  end(&k);
  return ok;
}

/* --- a run's adapters -------------------------------------------------------------------------------------------------------------- */

static struct lora_matrix matrix_of(const struct param *p, const float *w) {
  struct lora_matrix m = {.rank = p->rank, .count = p->count, .data = w + p->offset};
  memcpy(m.dim, p->dim, sizeof m.dim);
  return m;
}

static void add_set(struct lora_list *l, const struct lora_set *s, const float *w, bool text) {
  for (int i = 0; s && i < s->n; i++) {
    const struct lora_module *m = &s->module[i];
    l->item[l->n++] = (struct lora_item){.text = text,
                                         .module = m->name,
                                         .name = m->name,
                                         .rank = (int)m->a->dim[0],
                                         .alpha = (double)m->alpha,
                                         .down = matrix_of(m->a, w),
                                         .up = matrix_of(m->b, w)};
  }
}

bool lora_save(const char *path, const struct lora_set *unet, const float *unet_w, const struct lora_set *text, const float *text_w,
               enum dtype type, const struct st_pair *meta, int n_meta, struct err *e) {
  struct lora_list l = {.item = calloc((size_t)((unet ? unet->n : 0) + (text ? text->n : 0)) + 1, sizeof *l.item)};
  struct lora_want w = {.dialect = LORA_IN_DIFFUSERS, .dtype = type, .meta = meta, .n_meta = n_meta};
  if (!l.item) return err_set(e, ERR_FIT, "out of memory while writing \"%s\"", path);
  snprintf(l.path, sizeof l.path, "%s", path);
  add_set(&l, unet, unet_w, false);
  add_set(&l, text, text_w, true);
  bool ok = lora_write(path, &l, &w, e);
  free(l.item);
  return ok;
}
