/* The UNet as a list of units in the order of execution. A unit takes the running picture, perhaps joins the skip on top of the stack to
 * it, computes, and perhaps leaves its result on the stack; backward walks the same list from its end. */
#include "nets/unet.h"

#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nets/resnet.h"
#include "nets/transformer.h"

enum unit_kind { UNIT_CONV_IN, UNIT_RESNET, UNIT_TRANSFORMER, UNIT_DOWN, UNIT_UP, UNIT_OUT };
enum { PATH = 200, MAX_SKIPS = 256 };

struct unit {
  enum unit_kind kind;
  bool pop, push; /* joins a skip before, leaves one after */
  int level;      /* halvings of the latent at its input */
  char path[PATH];
  int block;     /* of the parameters */
  int rank;      /* place among those recomputed, from 0; -1: its inside is not worth it */
  size_t inside; /* bytes that its tape holds beside input and output, and FLOPs to get them again: of the last counted pass */
  double work;
  union {
    struct resnet resnet;
    struct transformer transformer;
    struct conv conv;
  } u;
};

struct unit_tape {
  struct tensor x; /* input, after joining */
  int64_t own_ch;  /* channels of x that came from below, the rest is the skip's */
  bool kept;       /* the fields below are filled (not when recomputing) */
  struct resnet_tape resnet;
  struct transformer_tape transformer;
  struct tensor stats; /* UNIT_OUT */
  int64_t in_h, in_w;  /* UNIT_UP: size before */
};

struct unet_tape {
  struct unet_options o;
  struct tensor sinusoid, hidden, temb, emb; /* time embedding on its way: input, before and after silu, result; emb = silu(temb) */
  struct tensor own_sinusoid;                /* empty where the input is the caller's */
  struct unit_tape *unit;                    /* [units] */
  struct tensor text_view;
};

struct unet {
  struct unet_config config;
  struct param_set *params;
  struct lora_set *lora;
  struct linear time1, time2;
  int time_block; /* of their parameters */
  struct norm norm_out;
  struct conv conv_out;
  struct unit *unit;
  int units, cap;
  int blocks;            /* units whose inside can be computed again */
  struct unet_tape tape; /* one forward with a tape may be open at a time: no malloc in a step */
};

/* --- building ---------------------------------------------------------------------------------------------------------- */

static struct unit *add_unit(struct unet *u, enum unit_kind kind, int level, const char *fmt, ...) __attribute__((format(printf, 4, 5)));

static struct unit *add_unit(struct unet *u, enum unit_kind kind, int level, const char *fmt, ...) {
  if (u->units == u->cap) {
    int cap = u->cap ? 2 * u->cap : 64;
    struct unit *more = realloc(u->unit, (size_t)cap * sizeof *more);
    if (!more) return NULL;
    u->unit = more;
    u->cap = cap;
  }
  struct unit *n = &u->unit[u->units++];
  memset(n, 0, sizeof *n);
  n->kind = kind;
  n->level = level;
  n->block = param_set_block(u->params); /* the unit's parameters are registered next */
  n->rank = kind == UNIT_RESNET || kind == UNIT_TRANSFORMER ? u->blocks++ : -1;
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(n->path, sizeof n->path, fmt, ap);
  va_end(ap);
  return n;
}

static struct transformer_spec spec_of(const struct unet_config *c, int level) {
  return (struct transformer_spec){.channels = c->channels[level],
                                   .cross_dim = c->cross_dim,
                                   .heads = c->heads[level],
                                   .blocks = c->transformer_layers[level],
                                   .groups = c->groups,
                                   .linear_projection = c->linear_projection};
}

static bool add_resnet(struct unet *u, int level, bool pop, int64_t in, int64_t out, const char *path) {
  const struct unet_config *c = &u->config;
  struct unit *n = add_unit(u, UNIT_RESNET, level, "%s", path);
  if (!n) return false;
  n->pop = pop;
  return resnet_init(&n->u.resnet, u->params, path, in, out, 4 * (int64_t)c->channels[0], c->groups, c->norm_eps);
}

static bool add_transformer(struct unet *u, int grid_level, int config_level, const char *path) {
  struct transformer_spec s = spec_of(&u->config, config_level);
  struct unit *n = add_unit(u, UNIT_TRANSFORMER, grid_level, "%s", path);
  return n && transformer_init(&n->u.transformer, u->params, path, &s);
}

static bool add_conv(struct unet *u, enum unit_kind kind, int level, int64_t channels, int stride, const char *path) {
  struct unit *n = add_unit(u, kind, level, "%s", path);
  return n && conv_init(&n->u.conv, u->params, path, channels, channels, 3, stride, 1);
}

/* skips[]: channels of what lies on the stack. */
static bool add_down(struct unet *u, int i, int64_t *skips, int *n_skips) {
  const struct unet_config *c = &u->config;
  char p[PATH];
  int64_t in = c->channels[i > 0 ? i - 1 : 0], out = c->channels[i];
  for (int k = 0; k < c->layers[i]; k++) {
    snprintf(p, sizeof p, "down_blocks.%d.resnets.%d", i, k);
    if (!add_resnet(u, i, false, k == 0 ? in : out, out, p)) return false;
    snprintf(p, sizeof p, "down_blocks.%d.attentions.%d", i, k);
    if (c->down_attention[i] && !add_transformer(u, i, i, p)) return false;
    u->unit[u->units - 1].push = true;
    skips[(*n_skips)++] = out;
  }
  if (i == c->levels - 1) return true;
  snprintf(p, sizeof p, "down_blocks.%d.downsamplers.0.conv", i);
  if (!add_conv(u, UNIT_DOWN, i, out, 2, p)) return false;
  u->unit[u->units - 1].push = true;
  skips[(*n_skips)++] = out;
  return true;
}

static bool add_mid(struct unet *u) {
  int last = u->config.levels - 1;
  int64_t ch = u->config.channels[last];
  return add_resnet(u, last, false, ch, ch, "mid_block.resnets.0") && add_transformer(u, last, last, "mid_block.attentions.0") &&
         add_resnet(u, last, false, ch, ch, "mid_block.resnets.1");
}

static bool add_up(struct unet *u, int i, const int64_t *skips, int *n_skips, int64_t *running) {
  const struct unet_config *c = &u->config;
  int level = c->levels - 1 - i;
  int64_t out = c->channels[level];
  char p[PATH];
  for (int k = 0; k <= c->layers[level]; k++) {
    snprintf(p, sizeof p, "up_blocks.%d.resnets.%d", i, k);
    if (*n_skips == 0 || !add_resnet(u, level, true, *running + skips[--*n_skips], out, p)) return false;
    *running = out;
    snprintf(p, sizeof p, "up_blocks.%d.attentions.%d", i, k);
    if (c->up_attention[i] && !add_transformer(u, level, level, p)) return false;
  }
  snprintf(p, sizeof p, "up_blocks.%d.upsamplers.0.conv", i);
  return level == 0 || add_conv(u, UNIT_UP, level, out, 1, p);
}

static bool build(struct unet *u) {
  const struct unet_config *c = &u->config;
  int64_t ch0 = c->channels[0], skips[MAX_SKIPS], running = c->channels[c->levels - 1];
  int n_skips = 0;
  struct unit *in = add_unit(u, UNIT_CONV_IN, 0, "conv_in");
  if (!in || !conv_init(&in->u.conv, u->params, "conv_in", c->in_channels, ch0, 3, 1, 1)) return false;
  in->push = true;
  skips[n_skips++] = ch0;
  u->time_block = param_set_block(u->params);
  if (!linear_init(&u->time1, u->params, "time_embedding.linear_1", ch0, 4 * ch0, true)) return false;
  if (!linear_init(&u->time2, u->params, "time_embedding.linear_2", 4 * ch0, 4 * ch0, true)) return false;
  for (int i = 0; i < c->levels; i++)
    if (!add_down(u, i, skips, &n_skips)) return false;
  if (!add_mid(u)) return false;
  for (int i = 0; i < c->levels; i++)
    if (!add_up(u, i, skips, &n_skips, &running)) return false;
  if (!add_unit(u, UNIT_OUT, 0, "conv_out")) return false;
  if (!norm_init(&u->norm_out, u->params, "conv_norm_out", ch0, c->groups, c->norm_eps)) return false;
  if (!conv_init(&u->conv_out, u->params, "conv_out", ch0, c->out_channels, 3, 1, 1)) return false;
  u->tape.unit = calloc((size_t)u->units, sizeof *u->tape.unit);
  return u->tape.unit != NULL;
}

struct unet *unet_new(const struct unet_config *c, struct err *e) {
  struct unet *u = calloc(1, sizeof *u);
  if (u) {
    u->config = *c;
    u->params = param_set_new();
    if (u->params && build(u)) return u;
  }
  err_set(e, ERR_FIT, "out of memory while building the UNet");
  unet_delete(u, NULL);
  return NULL;
}

void unet_delete(struct unet *u, struct backend *b) {
  if (!u) return;
  backend_drop_packs(b, u->params);
  if (u->lora) backend_drop_packs(b, u->lora->params);
  lora_set_delete(u->lora);
  param_set_delete(u->params);
  free(u->tape.unit);
  free(u->unit);
  free(u);
}

const struct unet_config *unet_config(const struct unet *u) {
  return &u->config;
}
struct param_set *unet_params(struct unet *u) {
  return u->params;
}
struct lora_set *unet_lora(struct unet *u) {
  return u->lora;
}

/* --- what to compute again ------------------------------------------------------------------------------------------------ */

int unet_blocks(const struct unet *u) {
  return u->blocks;
}

/* More bytes for a FLOP first; equal ones in the order of execution. */
static bool better(const struct unit *a, const struct unit *b) {
  double x = (double)a->inside * b->work, y = (double)b->inside * a->work;
  return x > y || (!(x < y) && a < b);
}

void unet_rank_blocks(struct unet *u) {
  for (int i = 0; i < u->units; i++) {
    if (u->unit[i].rank < 0) continue;
    int rank = 0;
    for (int k = 0; k < u->units; k++) rank += k != i && u->unit[k].rank >= 0 && better(&u->unit[k], &u->unit[i]);
    u->unit[i].rank = rank;
  }
}

static bool adapt_unit(struct unet *u, struct unit *n, const struct lora_spec *spec) {
  if (n->kind == UNIT_RESNET) return resnet_adapt(&n->u.resnet, u->lora, spec, n->path);
  if (n->kind == UNIT_TRANSFORMER) return transformer_adapt(&n->u.transformer, u->lora, spec, n->path);
  return true;
}

bool unet_attach_lora(struct unet *u, const struct lora_spec *spec, struct err *e) {
  if (!u->lora) u->lora = lora_set_new();
  bool ok = u->lora && linear_adapt(&u->time1, u->lora, spec, "time_embedding.linear_1") &&
            linear_adapt(&u->time2, u->lora, spec, "time_embedding.linear_2");
  for (int i = 0; ok && i < u->units; i++) ok = adapt_unit(u, &u->unit[i], spec);
  if (!ok) return err_set(e, ERR_FIT, "out of memory while attaching the adapters");
  if (u->lora->n == 0)
    return err_set(e, ERR_USAGE, "no layer of the UNet matches the adapter targets (first of them: \"%s\"); try to_q, to_k, to_v, to_out.0",
                   spec->target[0]);
  return true;
}

/* --- the PDM layer -------------------------------------------------------------------------------------------------------- */

static void pdm_name(const struct unit *n, int block, char *out, size_t size) {
  snprintf(out, size, "%s.transformer_blocks.%d.attn1", n->path, block);
}

bool unet_pdm_layer(const struct unet *u, const char *name, char *out, size_t n, int *handle, struct err *e) {
  char list[700] = "";
  for (int i = u->units - 1; i >= 0; i--) {
    if (u->unit[i].kind != UNIT_TRANSFORMER) continue;
    for (int k = u->unit[i].u.transformer.blocks - 1; k >= 0; k--) {
      char here[PATH + 40];
      pdm_name(&u->unit[i], k, here, sizeof here);
      if (!name || !*name || strcmp(name, here) == 0) {
        snprintf(out, n, "%s", here);
        *handle = i * TRANSFORMER_MAX_BLOCKS + k;
        return true;
      }
      size_t used = strlen(list);
      if (used + strlen(here) + 3 < sizeof list) snprintf(list + used, sizeof list - used, "%s%s", used ? ", " : "", here);
    }
  }
  return err_set(e, ERR_USAGE, "[losses] pdm_layer: the UNet has no self-attention \"%s\"; it has %s", name ? name : "", list);
}

int64_t unet_pdm_channels(const struct unet *u, int handle) {
  return u->unit[handle / TRANSFORMER_MAX_BLOCKS].u.transformer.in.out;
}

void unet_pdm_grid(const struct unet *u, int handle, int h, int w, int *gh, int *gw) {
  for (int i = 0; i < u->unit[handle / TRANSFORMER_MAX_BLOCKS].level; i++) {
    h = (h + 1) / 2;
    w = (w + 1) / 2;
  }
  *gh = h;
  *gw = w;
}

/* --- time embedding --------------------------------------------------------------------------------------------------------- */

/* diffusers' get_timestep_embedding, float arithmetic as there. */
struct tensor unet_time_input(struct ctx *c, const struct unet *u, const float *t, int64_t n) {
  const struct unet_config *k = &u->config;
  int dim = k->channels[0], half = dim / 2;
  float *v = calloc((size_t)(n * dim), sizeof *v);
  struct tensor y = {0};
  if (!v) {
    c->failed = !err_set(c->err, ERR_FIT, "out of memory");
    return y;
  }
  for (int64_t i = 0; i < n; i++)
    for (int m = 0; m < half; m++) {
      float exponent = -logf(10000.0f) * (float)m / ((float)half - k->freq_shift);
      float angle = t[i] * expf(exponent);
      v[i * dim + m] = k->flip_sin_to_cos ? cosf(angle) : sinf(angle);
      v[i * dim + half + m] = k->flip_sin_to_cos ? sinf(angle) : cosf(angle);
    }
  y = ctx_upload(c, c->act, 2, (int64_t[]){n, dim}, v);
  free(v);
  return y;
}

static struct tensor silu(struct ctx *c, const struct tensor *x) {
  struct tensor y = ctx_like(c, x);
  if (!c->failed) c->b->op->act(c->b, &y, x, ACT_SILU);
  return y;
}

static void time_forward(struct ctx *c, struct unet *u, struct unet_tape *tape) {
  ctx_weights(c, u->params, u->time_block);
  tape->hidden = linear_forward(c, &u->time1, &tape->sinusoid);
  struct tensor a = silu(c, &tape->hidden);
  tape->temb = linear_forward(c, &u->time2, &a);
  ctx_free(c, &a);
  tape->emb = silu(c, &tape->temb);
}

static void time_drop(struct ctx *c, struct unet_tape *t) {
  ctx_free(c, &t->own_sinusoid);
  ctx_free(c, &t->hidden);
  ctx_free(c, &t->temb);
  ctx_free(c, &t->emb);
}

static bool time_trained(const struct unet *u) {
  return linear_trained(&u->time1) || linear_trained(&u->time2);
}

static void time_backward(struct ctx *c, struct unet *u, struct unet_tape *t, struct tensor *demb) {
  if (c->failed) return;
  ctx_gradients(c, u->params, u->time_block);
  c->b->op->act_bwd(c->b, demb, demb, &t->temb, ACT_SILU);
  struct tensor a = silu(c, &t->hidden), da = ctx_like(c, &t->hidden);
  linear_backward(c, &u->time2, &a, demb, &da, 0);
  ctx_free(c, &a);
  if (!c->failed) c->b->op->act_bwd(c->b, &da, &da, &t->hidden, ACT_SILU);
  linear_backward(c, &u->time1, &t->sinusoid, &da, NULL, 0);
  ctx_final(c, u->params, u->time_block);
  ctx_free(c, &da);
}

/* --- forward ---------------------------------------------------------------------------------------------------------------- */

struct skip {
  struct tensor t;
  bool owned; /* nobody else gives it back */
};

struct pass {
  struct unet *u;
  struct unet_tape *tape; /* of this pass, also without backward: it holds the time embedding */
  bool keep;              /* a backward follows */
  struct tensor text;
  struct unet_tap *tap;
  struct skip skip[MAX_SKIPS];
  int skips;
};

static bool taps_q(const struct unet_tap *tap, int i) {
  return tap && tap->handle >= 0 && tap->handle / TRANSFORMER_MAX_BLOCKS == i;
}

/* tap handed down to the transformer unit i, or NULL. */
static struct q_tap *tap_at(const struct unet_tap *tap, int i, struct q_tap *out) {
  if (!taps_q(tap, i)) return NULL;
  *out = (struct q_tap){.block = tap->handle % TRANSFORMER_MAX_BLOCKS, .dq = tap->dq, .stop = tap->stop};
  return out;
}

/* Where the watched attention is: what unet_watch wants to know beside its values. */
struct watch_place {
  const struct unet_watch *watch;
  const struct unit *unit;
  const struct tensor *x;
};

static void watch_seen(void *user, const float *share, int64_t n, int64_t positions) {
  const struct watch_place *p = user;
  (void)positions;
  p->watch->seen(p->watch->user, strncmp(p->unit->path, "up_", 3) == 0, p->unit->level, (int)p->x->dim[1], (int)p->x->dim[2], n, share);
}

/* The same for forward, where the cross-attentions may be watched too. place lives as long as *out. */
static struct q_tap *forward_tap_at(const struct pass *p, int i, const struct tensor *x, struct watch_place *place, struct q_tap *out) {
  struct q_tap *tap = tap_at(p->tap, i, out);
  const struct unet_watch *watch = p->tap ? p->tap->watch : NULL;
  if (!watch || p->u->unit[i].kind != UNIT_TRANSFORMER) return tap;
  if (!tap) *out = (struct q_tap){.block = -1};
  *place = (struct watch_place){watch, p->u->unit + i, x};
  out->watch_first = watch->first;
  out->watched = watch->count;
  out->watch = watch_seen;
  out->watch_user = place;
  return out;
}

static struct tensor up_forward(struct ctx *c, struct pass *p, struct conv *conv, const struct tensor *x) {
  struct tensor big = {0};
  if (!c->failed) {
    const struct tensor *like = &p->skip[p->skips - 1].t; /* the next skip has the size wanted, also where it is odd */
    big = ctx_new_4d(c, x->type, x->dim[0], like->dim[1], like->dim[2], x->dim[3]);
  }
  if (!c->failed) c->b->op->upsample(c->b, &big, x);
  struct tensor y = conv_forward(c, conv, &big);
  ctx_free(c, &big);
  return y;
}

static struct tensor out_forward(struct ctx *c, struct unet *u, const struct tensor *x, struct tensor *stats) {
  struct tensor a = norm_forward(c, &u->norm_out, x, stats, true), y = conv_forward(c, &u->conv_out, &a);
  ctx_free(c, &a);
  return y;
}

/* inside: NULL, or receives what the unit's backward wants. */
static struct tensor unit_forward(struct ctx *c, struct pass *p, int i, const struct tensor *x, struct q_tap *tap,
                                  struct unit_tape *inside) {
  struct unit *n = &p->u->unit[i];
  switch (n->kind) {
    case UNIT_CONV_IN:
    case UNIT_DOWN:
      return conv_forward(c, &n->u.conv, x);
    case UNIT_UP:
      return up_forward(c, p, &n->u.conv, x);
    case UNIT_OUT:
      return out_forward(c, p->u, x, inside ? &inside->stats : NULL);
    case UNIT_RESNET:
      return resnet_forward(c, &n->u.resnet, x, &p->tape->emb, inside ? &inside->resnet : NULL);
    case UNIT_TRANSFORMER:
      return transformer_forward(c, &n->u.transformer, x, &p->text, tap, inside ? &inside->transformer : NULL);
  }
  return (struct tensor){0};
}

/* Joins the skip on top of the stack to x; x is given back unless it is on the stack itself. */
static struct tensor join(struct ctx *c, struct pass *p, struct tensor *x, struct unit_tape *t) {
  struct skip s = p->skip[--p->skips];
  t->own_ch = x->dim[3];
  struct tensor y = ctx_new_4d(c, x->type, x->dim[0], x->dim[1], x->dim[2], x->dim[3] + s.t.dim[3]);
  if (!c->failed) c->b->op->concat(c->b, &y, x, &s.t);
  ctx_free(c, x);
  if (s.owned) ctx_free(c, &s.t);
  return y;
}

static bool keeps_inside(const struct unet_options *o, const struct unit *n) {
  return !o->recompute && (n->rank < 0 || n->rank >= o->recompute_blocks);
}

/* Only the counting backend knows FLOPs. */
static void note_inside(struct ctx *c, struct unit *n, size_t before, double flops, const struct tensor *y) {
  if (c->failed || c->b->flops <= flops) return;
  n->inside = pool_used(c->pool) - before - tensor_bytes(y);
  n->work = c->b->flops - flops;
}

static struct tensor run_units(struct ctx *c, struct pass *p, struct tensor x) {
  struct unet *u = p->u;
  bool x_is_skip = false; /* x lies on the stack, which gives it back */
  for (int i = 0; i < u->units && !c->failed; i++) {
    struct unit *n = &u->unit[i];
    struct unit_tape *t = &p->tape->unit[i];
    struct watch_place place;
    struct q_tap tap;
    if (n->pop) x = join(c, p, &x, t);
    struct q_tap *here = forward_tap_at(p, i, &x, &place, &tap);
    t->in_h = x.dim[1];
    t->in_w = x.dim[2];
    t->kept = p->keep && keeps_inside(&p->tape->o, n);
    size_t before = pool_used(c->pool);
    double flops = c->b->flops;
    ctx_weights(c, u->params, n->block);
    struct tensor y = unit_forward(c, p, i, &x, here, t->kept ? t : NULL);
    if (t->kept) note_inside(c, n, before, flops, &y);
    if (taps_q(p->tap, i)) p->tap->q = here->q;
    if (p->keep)
      t->x = x;
    else if (!x_is_skip || n->pop)
      ctx_free(c, &x);
    x = y;
    x_is_skip = n->push && !p->keep;
    if (n->push) p->skip[p->skips++] = (struct skip){y, !p->keep};
    if (here && here->stop) break;
  }
  while (p->skips > 0) { /* only a tap that stopped the pass leaves some */
    struct skip *s = &p->skip[--p->skips];
    if (s->owned) ctx_free(c, &s->t);
  }
  return x;
}

struct tensor unet_forward_at(struct ctx *c, struct unet *u, const struct tensor *x, const struct tensor *time, const struct tensor *text,
                              struct unet_tap *tap, const struct unet_options *o, struct unet_tape **tape) {
  struct pass p = {.u = u, .tape = &u->tape, .keep = tape != NULL, .text = *text, .tap = tap};
  u->tape.o = o ? *o : (struct unet_options){0};
  u->tape.text_view = *text;
  u->tape.sinusoid = *time;
  time_forward(c, u, &u->tape);
  struct tensor in = cast_to(c, x, c->act);
  struct tensor y = run_units(c, &p, in);
  if (tape)
    *tape = &u->tape;
  else
    time_drop(c, &u->tape);
  return y;
}

struct tensor unet_forward(struct ctx *c, struct unet *u, const struct tensor *x, const float *t, const struct tensor *text,
                           struct unet_tap *tap, const struct unet_options *o, struct unet_tape **tape) {
  struct tensor own = unet_time_input(c, u, t, x->dim[0]);
  u->tape.own_sinusoid = own;
  return unet_forward_at(c, u, x, &own, text, tap, o, tape);
}

/* --- backward ---------------------------------------------------------------------------------------------------------------- */

static void unit_tape_drop(struct ctx *c, struct unit *n, struct unit_tape *t) {
  ctx_free(c, &t->x);
  ctx_free(c, &t->stats);
  if (n->kind == UNIT_RESNET) resnet_tape_drop(c, &t->resnet);
  if (n->kind == UNIT_TRANSFORMER) transformer_tape_drop(c, &n->u.transformer, &t->transformer);
}

void unet_tape_drop(struct ctx *c, struct unet_tape *tape) {
  struct unet *u = (struct unet *)((char *)tape - offsetof(struct unet, tape));
  for (int i = 0; i < u->units; i++) unit_tape_drop(c, &u->unit[i], &tape->unit[i]);
  time_drop(c, tape);
}

static bool unit_trained(const struct unet *u, const struct unit *n) {
  switch (n->kind) {
    case UNIT_CONV_IN:
    case UNIT_DOWN:
    case UNIT_UP:
      return conv_trained(&n->u.conv);
    case UNIT_OUT:
      return conv_trained(&u->conv_out) || norm_trained(&u->norm_out);
    case UNIT_RESNET:
      return resnet_trained(&n->u.resnet);
    case UNIT_TRANSFORMER:
      return transformer_trained(&n->u.transformer);
  }
  return true;
}

/* The first unit whose backward anybody wants: below it no gradient is needed. */
static int first_wanted(const struct unet *u, bool text, bool time) {
  if (time) return 0;
  for (int i = 0; i < u->units; i++)
    if (unit_trained(u, &u->unit[i]) || (text && u->unit[i].kind == UNIT_TRANSFORMER)) return i;
  return u->units;
}

static struct tensor conv_unit_backward(struct ctx *c, struct conv *conv, const struct tensor *x, const struct tensor *dy, bool want_dx) {
  struct tensor dx = {0};
  if (want_dx) dx = ctx_like(c, x);
  conv_backward(c, conv, x, dy, want_dx ? &dx : NULL);
  return dx;
}

static struct tensor up_backward(struct ctx *c, struct conv *conv, const struct tensor *x, const struct tensor *dy) {
  struct tensor big = {0};
  struct tensor dbig = ctx_new_4d(c, dy->type, dy->dim[0], dy->dim[1], dy->dim[2], x->dim[3]);
  if (conv_trained(conv)) {
    big = ctx_like(c, &dbig);
    if (!c->failed) c->b->op->upsample(c->b, &big, x);
  }
  conv_backward(c, conv, &big, dy, &dbig);
  ctx_free(c, &big);
  struct tensor dx = ctx_like(c, x);
  if (!c->failed) c->b->op->upsample_bwd(c->b, &dx, &dbig);
  ctx_free(c, &dbig);
  return dx;
}

static struct tensor out_backward(struct ctx *c, struct unet *u, struct unit_tape *t, const struct tensor *dy) {
  struct tensor a = {0};
  if (conv_trained(&u->conv_out)) a = norm_forward(c, &u->norm_out, &t->x, NULL, true);
  struct tensor da = ctx_like(c, &t->x);
  conv_backward(c, &u->conv_out, &a, dy, &da);
  ctx_free(c, &a);
  struct tensor dx = norm_backward(c, &u->norm_out, &t->x, &t->stats, &da, true);
  ctx_free(c, &da);
  return dx;
}

struct back {
  struct pass p;
  struct tensor demb, *dtext;
  bool want_time;
  int first;
  struct tensor dskip[MAX_SKIPS]; /* gradients of skips: a stack again, the other way round */
  int dskips;
};

static void recompute(struct ctx *c, struct back *k, int i, struct unit_tape *t) {
  enum unit_kind kind = k->p.u->unit[i].kind;
  if (t->kept || (kind != UNIT_RESNET && kind != UNIT_TRANSFORMER && kind != UNIT_OUT)) return;
  struct tensor y = unit_forward(c, &k->p, i, &t->x, NULL, t);
  ctx_free(c, &y);
}

static struct tensor unit_backward(struct ctx *c, struct back *k, int i, const struct tensor *dy) {
  struct unet *u = k->p.u;
  struct unit *n = &u->unit[i];
  struct unit_tape *t = &k->p.tape->unit[i];
  struct q_tap tap, *here = tap_at(k->p.tap, i, &tap);
  recompute(c, k, i, t);
  switch (n->kind) {
    case UNIT_CONV_IN:
    case UNIT_DOWN:
      return conv_unit_backward(c, &n->u.conv, &t->x, dy, n->kind == UNIT_DOWN);
    case UNIT_UP:
      return up_backward(c, &n->u.conv, &t->x, dy);
    case UNIT_OUT:
      return out_backward(c, u, t, dy);
    case UNIT_RESNET:
      return resnet_backward(c, &n->u.resnet, &t->resnet, &t->x, &k->p.tape->emb, dy, k->want_time ? &k->demb : NULL);
    case UNIT_TRANSFORMER:
      return transformer_backward(c, &n->u.transformer, &t->transformer, &t->x, &k->p.text, here, dy, k->dtext);
  }
  return (struct tensor){0};
}

/* Parts the gradient of a joined input: the skip's part goes on the stack. */
static struct tensor part(struct ctx *c, struct back *k, struct tensor *dx, int64_t own_ch) {
  struct tensor own = ctx_new_4d(c, dx->type, dx->dim[0], dx->dim[1], dx->dim[2], own_ch);
  struct tensor skip = ctx_new_4d(c, dx->type, dx->dim[0], dx->dim[1], dx->dim[2], dx->dim[3] - own_ch);
  if (!c->failed) c->b->op->split(c->b, &own, &skip, dx);
  ctx_free(c, dx);
  k->dskip[k->dskips++] = skip;
  return own;
}

static void back_units(struct ctx *c, struct back *k, struct tensor *dy) {
  struct unet *u = k->p.u;
  for (int i = u->units - 1; i >= k->first && !c->failed; i--) {
    struct unit *n = &u->unit[i];
    struct unit_tape *t = &k->p.tape->unit[i];
    if (n->push) {
      add_to(c, dy, &k->dskip[--k->dskips]);
      ctx_free(c, &k->dskip[k->dskips]);
    }
    ctx_gradients(c, u->params, n->block);
    struct tensor dx = unit_backward(c, k, i, dy);
    ctx_final(c, u->params, n->block);
    ctx_free(c, dy);
    if (n->pop && !c->failed) dx = part(c, k, &dx, t->own_ch);
    unit_tape_drop(c, n, t);
    *dy = dx;
  }
  ctx_free(c, dy);
  while (k->dskips > 0) ctx_free(c, &k->dskip[--k->dskips]);
}

void unet_backward(struct ctx *c, struct unet *u, struct unet_tape *tape, struct tensor *dy, struct unet_tap *tap, struct tensor *dtext) {
  struct back k = {.p = {.u = u, .tape = tape, .keep = true, .text = tape->text_view, .tap = tap}, .dtext = dtext};
  k.want_time = time_trained(u);
  k.first = first_wanted(u, dtext != NULL, k.want_time);
  if (k.want_time) {
    k.demb = ctx_like(c, &tape->emb);
    if (!c->failed) c->b->op->fill(c->b, &k.demb, 0);
  }
  back_units(c, &k, dy);
  if (k.want_time) time_backward(c, u, tape, &k.demb);
  ctx_free(c, &k.demb);
  unet_tape_drop(c, tape);
}
