/* Pictures on a real terminal's screen beside what they show: usage: shot LOG BEFORE.png AFTER.png COLUMNS ROWS LEAST SOURCE...
   LOG is what the program wrote (of script(1)); behind the last time that it cleared the screen its sixels tell where pictures stand. AFTER shows the window
   then, BEFORE as it was until it was drawn anew. Prints one line for each picture; succeeds where each differs by less than 0.01 (root of the mean
   square, of the full range) from itself in BEFORE, and at least LEAST by less than 0.01 from one of the sources, scaled to its place: the others may be
   pictures that 256 colours do not suffice for (0.013). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "terminal/sixel_decode.h"
#include "ui/picture.h"

enum { MOST = 64 };
static const double allowed = 0.01, worst = 0.013;

struct place {
  int x, y, w, h; /* pixels */
};

static char *read_all(const char *path, size_t *n) {
  enum { LIMIT = 64 << 20 };
  FILE *f = fopen(path, "re");
  char *text = f ? malloc(LIMIT) : NULL;
  *n = text ? fread(text, 1, LIMIT, f) : 0;
  if (f) fclose(f);
  return text;
}

/* Behind the last time that the screen was cleared. */
static const char *last_clear(const char *text, const char *end) {
  static const char clear[] = "\033[H\033[2J";
  const char *at = text, *next;
  while ((next = memmem(at, (size_t)(end - at), clear, sizeof clear - 1))) at = next + 1;
  return at;
}

/* "\033[Y;XH\033P...q"1;1;W;H"; a later one in the same place counts once. */
static int find_places(const char *at, const char *end, int cell_w, int cell_h, struct place place[MOST]) {
  int n = 0, x, y, w, h;
  for (const char *dcs; n < MOST && (dcs = memmem(at, (size_t)(end - at), "\033P", 2)); at = dcs + 2) {
    const char *move = dcs, *size = memmem(dcs, (size_t)(end - dcs), "\"", 1);
    while (move > at && *--move != '\033') continue;
    if (!size || sscanf(move, "\033[%d;%dH", &y, &x) != 2 || sscanf(size, "\"%*d;%*d;%d;%d", &w, &h) != 2) continue;
    struct place found = {(x - 1) * cell_w, (y - 1) * cell_h, w, h};
    int k = 0;
    while (k < n && (place[k].x != found.x || place[k].y != found.y)) k++;
    place[k] = found;
    if (k == n) n++;
  }
  return n;
}

static bool crop(const struct image *in, struct place p, struct image *out) {
  *out = (struct image){0};
  if (p.x + p.w > in->w || p.y + p.h > in->h || in->channels != 3 || !image_new(out, p.w, p.h, 3)) return false;
  for (int y = 0; y < p.h; y++)
    memcpy(out->px + 3 * (size_t)y * (size_t)p.w, in->px + 3 * ((size_t)(p.y + y) * (size_t)in->w + (size_t)p.x), 3 * (size_t)p.w);
  return true;
}

/* The least difference from one of the sources, and which; rows of cells are whole, sixels perhaps a few rows of pixels less. */
static double nearest(const struct image *shown, char **source, int n, int cell_h, int *which) {
  double best = 1;
  for (int i = 0; i < n; i++) {
    struct image im, scaled;
    struct err e = {0};
    if (!image_read(source[i], &im, &e)) continue;
    struct picture *p = picture_new(&im);
    if (p && picture_scale(&p->full, shown->w, (shown->h + cell_h - 1) / cell_h * cell_h, false, &scaled)) {
      scaled.h = shown->h;
      double rmse = picture_rmse(&scaled, shown);
      if (rmse < best) best = rmse, *which = i;
      image_release(&scaled);
    }
    picture_unref(p);
  }
  return best;
}

/* *good grows by one where it is true to its source. */
static bool look(struct place p, const struct image shots[2], char **source, int n, int cell_h, int *good) {
  struct image before, after;
  int which = 0;
  bool there = crop(&shots[0], p, &before);
  there = crop(&shots[1], p, &after) && there;
  double redrawn = there ? picture_rmse(&before, &after) : 1, true_to = there ? nearest(&after, source, n, cell_h, &which) : 1;
  double held = there ? nearest(&before, source, n, cell_h, &which) : 1;
  const char *slash = strrchr(source[which], '/');
  printf("# %3d x %3d at %3d, %3d: RMSE to %s %.4f, fresh %.4f, to a fresh one %.4f\n", p.w, p.h, p.x, p.y,
         slash ? slash + 1 : source[which], held, true_to, redrawn);
  image_release(&before);
  image_release(&after);
  *good += held < allowed && true_to < allowed;
  return held < worst && true_to < worst && redrawn < allowed;
}

int main(int argc, char **argv) {
  struct image shots[2] = {0};
  struct place place[MOST];
  struct err e = {0};
  size_t n;
  if (argc < 8) return fprintf(stderr, "usage: %s LOG BEFORE.png AFTER.png COLUMNS ROWS LEAST SOURCE...\n", argv[0]), 2;
  char *log = read_all(argv[1], &n);
  if (!log || !image_read(argv[2], &shots[0], &e) || !image_read(argv[3], &shots[1], &e)) return printf("# %s\n", e.text), 2;
  int cell_w = shots[1].w / atoi(argv[4]), cell_h = shots[1].h / atoi(argv[5]);
  int places = find_places(last_clear(log, log + n), log + n, cell_w, cell_h, place), bad = 0, good = 0;
  for (int i = 0; i < places; i++) bad += !look(place[i], shots, argv + 7, argc - 7, cell_h, &good);
  bad += good < atoi(argv[6]);
  if (bad) printf("# %d pictures, %d of them true to their sources; cells of %d x %d\n", places, good, cell_w, cell_h);
  image_release(&shots[0]);
  image_release(&shots[1]);
  free(log);
  return bad > 0;
}
