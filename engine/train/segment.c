#include "train/segment.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "train/mask.h"
#include "train/segment_view.h"

/* Found by trying on drawn subjects (tests/reference/make_mask_subjects.py, numbers 0 to 23); 100 and up were kept for measuring. */
enum { COLOURS = 64, QUERIES = 20, ROUNDS = 6, SWEEPS = 20 };
static const float weight_colour = 1.5f, weight_query = 0.3f, weight_place = 0.5f; /* of the three log odds */
static const float smoothness = 4;
static const double own_inside = 0.05, own_outside = 0.8; /* what a picture's own mask counts beside those of the others */
static const double given_weight = 6;                     /* of a given mask beside a found one */
static const double lost = 0.15; /* a mask that covers less of the attention's place than this has lost the subject */

/* Counts of kinds inside and outside; each of them adds up to 1. */
struct counts {
  double in[PALETTE_MAX], out[PALETTE_MAX];
};

struct joint {
  int n;
  struct view *view;
  struct counts *colour, *query; /* [n] of the pictures */
  struct palette colours, queries;
};

/* --- statistics -------------------------------------------------------------------------------------------------------------- */

/* power: of x for what counts as inside: above 1 where a mask may still hold much that does not belong to it. */
static void count_rows(const struct palette_row *row, const float *x, int64_t n, int power, struct counts *c) {
  double in = 1e-9, out = 1e-9;
  *c = (struct counts){0};
  for (int64_t i = 0; i < n; i++) {
    float inside = power == 3 ? x[i] * x[i] * x[i] : x[i];
    for (int k = 0; k < PALETTE_NEAR; k++) {
      c->in[row[i].kind[k]] += (double)(row[i].share[k] * inside);
      c->out[row[i].kind[k]] += (double)(row[i].share[k] * (1 - x[i]));
    }
  }
  for (int k = 0; k < PALETTE_MAX; k++) {
    in += c->in[k];
    out += c->out[k];
  }
  for (int k = 0; k < PALETTE_MAX; k++) {
    c->in[k] /= in;
    c->out[k] /= out;
  }
}

/* What the other pictures say of kind m: the geometric mean of its share inside, as what is the subject's is there in all of them, and the
   mean of its share outside. */
static void ask_others(const struct joint *j, const struct counts *c, int m, int i, double floor, double *in, double *out) {
  double weight = 0, logs = 0;
  *out = 0;
  for (int k = 0; k < j->n; k++) {
    if (k == i) continue;
    double w = j->view[k].item->given ? given_weight : 1;
    weight += w;
    logs += w * log(c[k].in[m] + floor / 4);
    *out += w * c[k].out[m];
  }
  *in = exp(logs / weight);
  *out /= weight;
}

/* Log odds of each kind in picture i: inside what the pictures have in common against outside this one. */
static void odds_of(const struct joint *j, const struct counts *c, int kinds, int i, float *odds) {
  double floor = 0.2 / kinds;
  for (int m = 0; m < kinds; m++) {
    double in = c[i].in[m], out = c[i].out[m], others_in, others_out;
    if (j->n > 1) {
      ask_others(j, c, m, i, floor, &others_in, &others_out);
      in = own_inside * in + (1 - own_inside) * others_in;
      out = own_outside * out + (1 - own_outside) * others_out;
    }
    odds[m] = (float)log((in + floor) / (out + floor));
  }
}

static float odds_at(const float *odds, const struct palette_row *r) {
  float sum = 0;
  for (int k = 0; k < PALETTE_NEAR; k++) sum += r->share[k] * odds[r->kind[k]];
  return sum;
}

/* x on the grid of the gaze: means of the pixels of each cell. */
static void make_coarse(struct view *v) {
  const struct gaze *k = v->item->gaze;
  for (int gy = 0; gy < k->h; gy++)
    for (int gx = 0; gx < k->w; gx++) {
      int x0 = gx * v->w / k->w, x1 = (gx + 1) * v->w / k->w, y0 = gy * v->h / k->h, y1 = (gy + 1) * v->h / k->h;
      double sum = 0;
      int n = 0;
      for (int y = y0; y < y1 || y == y0; y++)
        for (int x = x0; x < x1 || x == x0; x++) sum += v->x[(y < v->h ? y : v->h - 1) * v->w + (x < v->w ? x : v->w - 1)], n++;
      v->coarse[gy * k->w + gx] = (float)(sum / n);
    }
}

/* --- one picture's turn -------------------------------------------------------------------------------------------------------- */

/* What all evidence says of each pixel. */
static void make_target(const struct joint *j, int i) {
  struct view *v = j->view + i;
  const struct gaze *k = v->item->gaze;
  float colour[PALETTE_MAX], query[PALETTE_MAX];
  odds_of(j, j->colour, j->colours.kinds, i, colour);
  odds_of(j, j->query, j->queries.kinds, i, query);
  float *map = v->coarse;
  for (int g = 0; g < k->w * k->h; g++) map[g] = odds_at(query, v->query + g);
  for (int y = 0; y < v->h; y++)
    for (int x = 0; x < v->w; x++) {
      int64_t p = (int64_t)y * v->w + x;
      float o = weight_colour * odds_at(colour, v->colour + p) + weight_query * map_at(map, k->w, k->h, v->w, v->h, x, y) +
                weight_place * v->place[p];
      v->target[p] = sigmoid(o);
      v->trust[p] = 0.05f + fabsf(2 * v->target[p] - 1);
    }
}

/* Minimises sum trust (x - target)^2 + smooth sum edge (x - x')^2: Gauss-Seidel with over-relaxation. */
static void smooth(struct view *v) {
  float relax = 1.6f;
  for (int s = 0; s < SWEEPS; s++)
    for (int y = 0; y < v->h; y++)
      for (int x = 0; x < v->w; x++) {
        int64_t p = (int64_t)y * v->w + x;
        float sum = v->trust[p] * v->target[p], weight = v->trust[p];
        for (int k = 0; k < 4; k++) {
          int64_t d = step_x[k] + (int64_t)step_y[k] * v->w;
          if (view_inside(v, x + step_x[k], y + step_y[k])) {
            float e = smoothness * v->edge[k][p];
            sum += e * v->x[p + d];
            weight += e;
          }
          if (view_inside(v, x - step_x[k], y - step_y[k])) {
            float e = smoothness * v->edge[k][p - d];
            sum += e * v->x[p - d];
            weight += e;
          }
        }
        v->x[p] += relax * (sum / weight - v->x[p]);
      }
  for (int64_t p = 0; p < (int64_t)v->w * v->h; p++) v->x[p] = fminf(fmaxf(v->x[p], 0), 1);
}

/* --- all together -------------------------------------------------------------------------------------------------------------- */

/* The rows of all pictures one after the other; which: 0 colours, 1 queries. */
static bool make_palette(struct joint *j, int which) {
  int channels = which ? j->view[0].item->gaze->channels : VIEW_CHANNELS;
  int64_t n = 0, at = 0;
  for (int i = 0; i < j->n; i++) {
    const struct view *v = j->view + i;
    n += which ? (int64_t)v->item->gaze->w * v->item->gaze->h : (int64_t)v->w * v->h;
  }
  float *rows = calloc((size_t)(n * channels), sizeof *rows);
  if (!rows) return false;
  for (int i = 0; i < j->n; i++) {
    const struct view *v = j->view + i;
    int64_t own = which ? (int64_t)v->item->gaze->w * v->item->gaze->h : (int64_t)v->w * v->h;
    memcpy(rows + at * channels, which ? v->item->gaze->q : v->feature, (size_t)(own * channels) * sizeof *rows);
    at += own;
  }
  struct palette *p = which ? &j->queries : &j->colours;
  bool ok = palette_make(p, rows, n, channels, which ? QUERIES : COLOURS);
  for (int i = 0; ok && i < j->n; i++) {
    struct view *v = j->view + i;
    if (which)
      palette_read(p, v->item->gaze->q, (int64_t)v->item->gaze->w * v->item->gaze->h, v->query);
    else
      palette_read(p, v->feature, (int64_t)v->w * v->h, v->colour);
  }
  free(rows);
  return ok;
}

static void count_view(struct joint *j, int i) {
  struct view *v = j->view + i;
  int power = j->n == 1 ? 3 : 1;
  make_coarse(v);
  count_rows(v->colour, v->x, (int64_t)v->w * v->h, power, j->colour + i);
  count_rows(v->query, v->coarse, (int64_t)v->item->gaze->w * v->item->gaze->h, power, j->query + i);
}

static void take_turns(struct joint *j) {
  for (int r = 0; r < ROUNDS; r++) {
    for (int i = 0; i < j->n; i++) count_view(j, i);
    for (int i = 0; i < j->n; i++) {
      if (j->view[i].item->given) continue;
      make_target(j, i);
      smooth(j->view + i);
    }
  }
}

/* Share of the attention's place that the mask covers. */
static double covered(const struct view *v) {
  int64_t both = 0, place = 1;
  for (int64_t p = 0; p < (int64_t)v->w * v->h; p++) {
    place += v->place[p] > 0;
    both += v->place[p] > 0 && v->x[p] > 0.5f;
  }
  return (double)both / (double)place;
}

/* A subject that was lost: the attention's place alone, along the edges. */
static void fall_back(struct view *v) {
  for (int64_t p = 0; p < (int64_t)v->w * v->h; p++) {
    v->x[p] = v->target[p] = sigmoid(3 * v->place[p]);
    v->trust[p] = 0.05f + fabsf(2 * v->target[p] - 1);
  }
  smooth(v);
}

/* How much of the mask's outline lies on edges of the picture: 1 all of it. */
static double outline(const struct view *v) {
  double on = 0, all = 1e-9;
  for (int y = 0; y < v->h; y++)
    for (int x = 0; x < v->w; x++)
      for (int k = 0; k < 2; k++) {
        int64_t p = (int64_t)y * v->w + x, q = p + step_x[k] + (int64_t)step_y[k] * v->w;
        if (!view_inside(v, x + step_x[k], y + step_y[k]) || (v->x[p] > 0.5f) == (v->x[q] > 0.5f)) continue;
        on += 1 - (double)fminf(v->edge[k][p], 1);
        all++;
      }
  return on / all;
}

static void judge(struct view *v, struct segment_item *item) {
  bool failed = covered(v) < lost;
  if (failed) fall_back(v);
  item->confidence = (failed ? 0.3 : 1.0) * outline(v) * fmin(1, covered(v) / 0.4);
}

/* Tidies the mask: x goes to 0 or 1 where a pixel changes sides. */
static bool tidy(struct view *v) {
  struct image mask = {0};
  bool ok = image_new(&mask, v->w, v->h, 1);
  for (int64_t p = 0; ok && p < (int64_t)v->w * v->h; p++) mask.px[p] = v->x[p] > 0.5f ? 255 : 0;
  ok = ok && mask_tidy(&mask);
  for (int64_t p = 0; ok && p < (int64_t)v->w * v->h; p++)
    if ((v->x[p] > 0.5f) != (mask.px[p] > 0)) v->x[p] = mask.px[p] > 0 ? 1 : 0;
  image_release(&mask);
  return ok;
}

static bool write_mask(const struct view *v, struct segment_item *item, struct err *e) {
  const struct image *rgb = item->rgb;
  int64_t in = 0;
  if (!image_new(&item->mask, rgb->w, rgb->h, 1)) return err_set(e, ERR_FIT, "out of memory for a mask");
  for (int y = 0; y < rgb->h; y++)
    for (int x = 0; x < rgb->w; x++) {
      bool on = map_at(v->x, v->w, v->h, rgb->w, rgb->h, x, y) > 0.5f;
      item->mask.px[(int64_t)y * rgb->w + x] = on ? 255 : 0;
      in += on;
    }
  item->share = (double)in / ((double)rgb->w * rgb->h);
  return true;
}

bool segment(struct segment_item *item, int n, struct err *e) {
  struct joint j = {.n = n};
  j.view = calloc((size_t)n, sizeof *j.view);
  j.colour = calloc((size_t)n, sizeof *j.colour);
  j.query = calloc((size_t)n, sizeof *j.query);
  bool ok = (j.view && j.colour && j.query) || err_set(e, ERR_FIT, "out of memory for masks");
  for (int i = 0; ok && i < n; i++) ok = view_init(j.view + i, item + i, e);
  ok = ok && ((make_palette(&j, 0) && make_palette(&j, 1)) || err_set(e, ERR_FIT, "out of memory for masks"));
  if (ok) take_turns(&j);
  for (int i = 0; ok && i < n; i++)
    if (!item[i].given) {
      judge(j.view + i, item + i);
      ok = tidy(j.view + i) ? write_mask(j.view + i, item + i, e) : err_set(e, ERR_FIT, "out of memory for a mask");
    }
  for (int i = 0; j.view && i < n; i++) view_release(j.view + i);
  palette_release(&j.colours);
  palette_release(&j.queries);
  free(j.view);
  free(j.colour);
  free(j.query);
  return ok;
}
