#include "terminal/emulator_screen.h"

#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include "terminal/sixel_decode.h"
#include "ui/width.h"

static struct screen *active(const struct emulator *e) {
  return (struct screen *)&e->screens[e->active];
}

static struct emulator_cell *cell_at(const struct emulator *e, int x, int y) {
  return &active(e)->cells[y * e->o.w + x];
}

static size_t pixels_of_row(const struct emulator *e) {
  return (size_t)e->o.w * (size_t)e->o.cell.w * (size_t)e->o.cell.h;
}

/* Text that is written destroys the pixels of its cell. */
static void clear_pixels(struct emulator *e, int x, int y) {
  for (int row = y * e->o.cell.h; row < (y + 1) * e->o.cell.h; row++) {
    memset(active(e)->set + (size_t)row * (size_t)(e->o.w * e->o.cell.w) + (size_t)(x * e->o.cell.w), 0, (size_t)e->o.cell.w);
  }
}

static void blank(struct emulator *e, int x, int y) {
  *cell_at(e, x, y) = (struct emulator_cell){" ", 1, {EMU_DEFAULT, e->look.bg, 0}};
  clear_pixels(e, x, y);
}

/* The other half of a wide character goes too. */
static void break_wide(struct emulator *e, int x, int y) {
  struct emulator_cell *cell = cell_at(e, x, y);
  if (cell->width == 2 && x + 1 < e->o.w) blank(e, x + 1, y);
  if (cell->width == 0 && x > 0) blank(e, x - 1, y);
}

void screen_clear(struct emulator *e, int from_x, int from_y, int to_x, int to_y) {
  for (int at = from_y * e->o.w + from_x; at < to_y * e->o.w + to_x && at < e->o.w * e->o.h; at++) {
    break_wide(e, at % e->o.w, at / e->o.w);
    blank(e, at % e->o.w, at / e->o.w);
  }
}

static void move_row(struct emulator *e, int from, int to) {
  struct screen *s = active(e);
  size_t n = pixels_of_row(e);
  memmove(cell_at(e, 0, to), cell_at(e, 0, from), (size_t)e->o.w * sizeof *s->cells);
  memmove(s->set + n * (size_t)to, s->set + n * (size_t)from, n);
  memmove(s->px + 3 * n * (size_t)to, s->px + 3 * n * (size_t)from, 3 * n);
}

void screen_scroll(struct emulator *e, int top, int bottom, int n) {
  e->modes.scrolls += e->modes.alternate;
  int rows = bottom - top + 1, distance = n < 0 ? -n : n;
  if (distance > rows) distance = rows;
  for (int i = 0; i < rows - distance; i++) {
    if (n > 0) move_row(e, top + distance + i, top + i);
    if (n < 0) move_row(e, bottom - distance - i, bottom - i);
  }
  int first = n > 0 ? bottom - distance + 1 : top;
  for (int y = first; y < first + distance; y++) {
    for (int x = 0; x < e->o.w; x++) blank(e, x, y);
  }
}

void screen_shift(struct emulator *e, int x, int y, int n) {
  int left = e->o.w - x, distance = n < 0 ? -n : n;
  if (distance > left) distance = left;
  struct emulator_cell *row = cell_at(e, x, y);
  if (n > 0) memmove(row + distance, row, (size_t)(left - distance) * sizeof *row);
  if (n < 0) memmove(row, row + distance, (size_t)(left - distance) * sizeof *row);
  for (int i = x; i < e->o.w; i++) clear_pixels(e, i, y);
  int first = n > 0 ? x : e->o.w - distance;
  for (int i = first; i < first + distance; i++) blank(e, i, y);
}

void screen_line_feed(struct emulator *e) {
  if (e->y == e->bottom) {
    screen_scroll(e, e->top, e->bottom, 1);
  } else if (e->y < e->o.h - 1) {
    e->y++;
  }
  e->wrap_next = false;
}

static void add_mark(struct emulator *e, const char *bytes) {
  int x = e->wrap_next ? e->x : e->x - 1;
  if (x > 0 && cell_at(e, x, e->y)->width == 0) x--;
  if (x < 0) return;
  char *text = cell_at(e, x, e->y)->text;
  if (strlen(text) + strlen(bytes) < EMULATOR_TEXT) memcpy(text + strlen(text), bytes, strlen(bytes) + 1);
}

void screen_put(struct emulator *e, uint32_t code) {
  char bytes[5];
  utf8_encode(code, bytes);
  int width = code < 0x80 ? 1 : wcwidth((wchar_t)code);
  if (width < 0 || width > e->o.w) width = 1;
  if (width == 0) {
    add_mark(e, bytes);
    return;
  }
  if (e->wrap_next || e->x + width > e->o.w) {
    e->x = 0;
    screen_line_feed(e);
  }
  for (int i = 0; i < width; i++) {
    break_wide(e, e->x + i, e->y);
    clear_pixels(e, e->x + i, e->y);
    *cell_at(e, e->x + i, e->y) = (struct emulator_cell){.width = (uint8_t)(i == 0 ? width : 0), .look = e->look};
  }
  memcpy(cell_at(e, e->x, e->y)->text, bytes, strlen(bytes) + 1);
  e->last = code;
  e->x += width;
  e->wrap_next = e->x >= e->o.w;
  if (e->wrap_next) e->x = e->o.w - 1;
}

/* At the cursor; a picture that reaches below the last row scrolls the screen, as terminals do. */
void screen_sixel(struct emulator *e, const char *data, size_t n) {
  struct image im;
  unsigned char *set;
  if (!decode_sixels(data, n, &im, &set)) {
    e->modes.unknown++;
    return;
  }
  e->modes.sixels++;
  int rows = (im.h + e->o.cell.h - 1) / e->o.cell.h;
  for (; e->y + rows > e->o.h - 1 && e->y > 0; e->y--) screen_scroll(e, 0, e->o.h - 1, 1);
  int width = e->o.w * e->o.cell.w, left = e->x * e->o.cell.w, top = e->y * e->o.cell.h;
  for (int y = 0; y < im.h && top + y < e->o.h * e->o.cell.h; y++) {
    for (int x = 0; x < im.w && left + x < width; x++) {
      if (set[y * im.w + x] == 0) continue;
      size_t at = (size_t)(top + y) * (size_t)width + (size_t)(left + x);
      memcpy(active(e)->px + 3 * at, im.px + 3 * (y * im.w + x), 3);
      active(e)->set[at] = 1;
    }
  }
  e->y = e->y + rows < e->o.h ? e->y + rows : e->o.h - 1;
  e->x = 0;
  image_release(&im);
  free(set);
}

void screens_free(struct emulator *e) {
  for (int i = 0; i < 2; i++) {
    free(e->screens[i].cells);
    free(e->screens[i].px);
    free(e->screens[i].set);
  }
}

bool screens_new(struct emulator *e, int w, int h) {
  int before = e->active;
  size_t pixels = (size_t)w * (size_t)h * (size_t)e->o.cell.w * (size_t)e->o.cell.h;
  e->o.w = w;
  e->o.h = h;
  for (e->active = 0; e->active < 2; e->active++) {
    struct screen *s = active(e);
    *s = (struct screen){calloc((size_t)w * (size_t)h, sizeof *s->cells), calloc(pixels, 3), calloc(pixels, 1)};
    if (s->cells == NULL || s->px == NULL || s->set == NULL) return false;
    for (int i = 0; i < w * h; i++) s->cells[i] = (struct emulator_cell){" ", 1, {EMU_DEFAULT, EMU_DEFAULT, 0}};
  }
  e->active = before;
  return true;
}
