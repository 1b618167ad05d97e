/* One picture while segment.c works on it: its features, where the attention is, its edges, and the mask as it stands. */
#ifndef PDMBOOTH_TRAIN_SEGMENT_VIEW_H
#define PDMBOOTH_TRAIN_SEGMENT_VIEW_H

#include <math.h>

#include "train/palette.h"
#include "train/segment.h"

enum { VIEW_CHANNELS = 4 };

/* Pixels are those of the working size: at most 256 x 256 of them. */
struct view {
  const struct segment_item *item;
  int w, h;
  float *feature;             /* [h, w, VIEW_CHANNELS] */
  struct palette_row *colour; /* [h, w] */
  struct palette_row *query;  /* [gaze.h, gaze.w] */
  float *place;               /* [h, w] log odds of where the attention is */
  float *edge[4];             /* [h, w] weights to the neighbours right, below, below right, below left */
  float *target, *trust;      /* [h, w] */
  float *x;                   /* [h, w] 0..1: inside */
  float *coarse;              /* [gaze.h, gaze.w]: x there */
};

bool view_init(struct view *v, const struct segment_item *item, struct err *e);
void view_release(struct view *v);

/* Neighbours that edge[0 .. 3] lead to. */
static const int step_x[4] = {1, 0, 1, -1}, step_y[4] = {0, 1, 1, 1};

static inline bool view_inside(const struct view *v, int x, int y) {
  return x >= 0 && y >= 0 && x < v->w && y < v->h;
}

static inline float sigmoid(float x) {
  return 1 / (1 + expf(-x));
}

/* Value of a map [mh, mw] at the pixel (x, y) of a picture of w x h, bilinear. */
float map_at(const float *map, int mw, int mh, int w, int h, int x, int y);

#endif
