#include "ui/canvas.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ui/picture.h"

static const struct cell blank = {.text = " ", .width = 1, .style = STYLE_TEXT};

bool canvas_resize(struct canvas *c, int w, int h) {
  w = w < 1 ? 1 : w;
  h = h < 1 ? 1 : h;
  if (c->cells == NULL || w != c->w || h != c->h) {
    struct cell *cells = malloc((size_t)w * (size_t)h * sizeof *cells);
    if (cells == NULL) return false;
    free(c->cells);
    c->cells = cells;
    c->w = w;
    c->h = h;
  }
  canvas_clear(c);
  return true;
}

void canvas_release(struct canvas *c) {
  for (int i = 0; i < c->n_pictures; i++) picture_unref(c->pictures[i].picture);
  free(c->cells);
  free(c->pictures);
  *c = (struct canvas){0};
}

void canvas_clear(struct canvas *c) {
  for (int i = 0; i < c->w * c->h; i++) c->cells[i] = blank;
  c->clip = canvas_rect(c);
  for (int i = 0; i < c->n_pictures; i++) picture_unref(c->pictures[i].picture);
  c->n_pictures = 0;
}

struct rect canvas_rect(const struct canvas *c) {
  return (struct rect){0, 0, c->w, c->h};
}

static struct cell *cell_at(const struct canvas *c, int x, int y) {
  return rect_holds(canvas_rect(c), x, y) ? &c->cells[y * c->w + x] : NULL;
}

const struct cell *canvas_at(const struct canvas *c, int x, int y) {
  return cell_at(c, x, y);
}

struct rect canvas_clip(struct canvas *c, struct rect r) {
  struct rect before = c->clip;
  c->clip = rect_meet(before, r);
  return before;
}

void canvas_unclip(struct canvas *c, struct rect before) {
  c->clip = before;
}

/* A wide character of which one half is overwritten leaves a space in the other. */
static void break_wide(struct canvas *c, int x, int y) {
  struct cell *cell = cell_at(c, x, y);
  struct cell *other = cell->width == 2 ? cell_at(c, x + 1, y) : cell->width == 0 ? cell_at(c, x - 1, y) : NULL;
  if (other == NULL) return;
  memcpy(other->text, " ", 2);
  other->width = 1;
}

static void put_cell(struct canvas *c, int x, int y, const struct cell *cell) {
  if (!rect_holds(c->clip, x, y)) return;
  break_wide(c, x, y);
  c->cells[y * c->w + x] = *cell;
}

/* One grapheme; of a wide one that is cut by the clip a space stays. */
static void put_grapheme(struct canvas *c, int x, int y, const struct grapheme *g, struct cell cell) {
  cell.width = (uint8_t)g->width;
  memcpy(cell.text, g->text, sizeof cell.text);
  if (g->width == 2) {
    bool whole = rect_holds(c->clip, x, y) && rect_holds(c->clip, x + 1, y);
    struct cell second = cell;
    second.width = whole ? 0 : 1;
    memset(second.text, 0, sizeof second.text);
    if (!whole) second.text[0] = ' ';
    if (!whole) cell = second;
    put_cell(c, x + 1, y, &second);
    put_cell(c, x, y, &cell);
    if (whole) c->cells[y * c->w + x + 1] = second; /* putting the first half has blanked it */
    return;
  }
  put_cell(c, x, y, &cell);
}

/* At most n bytes of text; returns the columns. */
static int put_text(struct canvas *c, int x, int y, enum style style, const char *text, size_t n) {
  struct grapheme g;
  int at = x;
  for (const char *p = text; p < text + n && grapheme_next(&p, c->utf8, &g); at += g.width) {
    put_grapheme(c, at, y, &g, (struct cell){.style = (uint8_t)style});
  }
  return at - x;
}

int canvas_text(struct canvas *c, int x, int y, enum style style, const char *text) {
  return put_text(c, x, y, style, text, strlen(text));
}

int canvas_printf(struct canvas *c, int x, int y, enum style style, const char *fmt, ...) {
  char text[1024];
  va_list args;
  va_start(args, fmt);
  vsnprintf(text, sizeof text, fmt, args);
  va_end(args);
  return canvas_text(c, x, y, style, text);
}

static void put_spaces(struct canvas *c, int x, int y, int n, enum style style) {
  canvas_fill(c, (struct rect){x, y, n, 1}, style);
}

void canvas_field(struct canvas *c, int x, int y, int width, enum align align, enum style style, const char *text) {
  if (width <= 0) return;
  int used = text_columns(text, c->utf8);
  bool cut = used > width;
  size_t n = text_fit(text, cut ? width - 1 : width, c->utf8, &used);
  int total = used + (cut ? 1 : 0);
  int before = align == ALIGN_LEFT ? 0 : align == ALIGN_RIGHT ? width - total : (width - total) / 2;
  put_spaces(c, x, y, before, style);
  put_text(c, x + before, y, style, text, n);
  if (cut) canvas_text(c, x + before + used, y, style, canvas_sign(c, SIGN_ELLIPSIS));
  put_spaces(c, x + before + total, y, width - before - total, style);
}

void canvas_field_end(struct canvas *c, int x, int y, int width, enum style style, const char *text) {
  struct grapheme g;
  int used = text_columns(text, c->utf8);
  if (used <= width) {
    canvas_field(c, x, y, width, ALIGN_LEFT, style, text);
    return;
  }
  while (used > width - 1 && grapheme_next(&text, c->utf8, &g)) used -= g.width;
  if (width > 0) canvas_text(c, x, y, style, canvas_sign(c, SIGN_ELLIPSIS));
  if (width > 1) canvas_field(c, x + 1, y, width - 1, ALIGN_LEFT, style, text);
}

int canvas_paragraph(struct canvas *c, struct rect r, int skip, enum style style, const char *text) {
  int line = 0;
  struct rect before = canvas_clip(c, r);
  for (; *text != 0; line++) {
    const char *start = text;
    size_t n = text_wrap(&text, r.w, c->utf8);
    if (line >= skip && line - skip < r.h) put_text(c, r.x, r.y + line - skip, style, start, n);
  }
  canvas_unclip(c, before);
  return line;
}

void canvas_fill(struct canvas *c, struct rect r, enum style style) {
  struct cell cell = blank;
  cell.style = (uint8_t)style;
  struct rect part = rect_meet(r, c->clip);
  for (int y = part.y; y < part.y + part.h; y++) {
    for (int x = part.x; x < part.x + part.w; x++) put_cell(c, x, y, &cell);
  }
}

void canvas_put(struct canvas *c, int x, int y, enum style style, const char *grapheme) {
  struct grapheme g;
  if (grapheme_next(&grapheme, c->utf8, &g)) put_grapheme(c, x, y, &g, (struct cell){.style = (uint8_t)style});
}

void canvas_put_colours(struct canvas *c, int x, int y, const char *grapheme, uint32_t fg, uint32_t bg) {
  struct grapheme g;
  if (grapheme_next(&grapheme, c->utf8, &g)) put_grapheme(c, x, y, &g, (struct cell){.style = STYLE_COLOURS, .fg = fg, .bg = bg});
}

void canvas_restyle(struct canvas *c, struct rect r, enum style style) {
  struct rect part = rect_meet(r, c->clip);
  for (int y = part.y; y < part.y + part.h; y++) {
    for (int x = part.x; x < part.x + part.w; x++) {
      struct cell *cell = cell_at(c, x, y);
      if (cell->style != STYLE_COLOURS) cell->style = (uint8_t)style;
    }
  }
}

void canvas_mark(struct canvas *c, struct rect r, unsigned marks) {
  struct rect part = rect_meet(r, c->clip);
  for (int y = part.y; y < part.y + part.h; y++) {
    for (int x = part.x; x < part.x + part.w; x++) cell_at(c, x, y)->marks |= (uint8_t)marks;
  }
}

void canvas_picture(struct canvas *c, struct rect r, struct picture *picture, bool smooth) {
  struct rect seen = rect_meet(r, c->clip);
  if (rect_empty(r) || seen.w != r.w || seen.h != r.h) return;
  if (c->n_pictures == c->room_pictures) {
    int room = c->room_pictures > 0 ? 2 * c->room_pictures : 16;
    struct placed_picture *grown = realloc(c->pictures, (size_t)room * sizeof *grown);
    if (grown == NULL) return; /* it stays a mosaic */
    c->pictures = grown;
    c->room_pictures = room;
  }
  c->pictures[c->n_pictures++] = (struct placed_picture){r, picture_ref(picture), smooth, {0}};
}

/* The smallest rectangle around both. */
static struct rect join(struct rect a, struct rect b) {
  if (rect_empty(a)) return b;
  int x = a.x < b.x ? a.x : b.x, y = a.y < b.y ? a.y : b.y;
  int right = a.x + a.w > b.x + b.w ? a.x + a.w : b.x + b.w, bottom = a.y + a.h > b.y + b.h ? a.y + a.h : b.y + b.h;
  return (struct rect){x, y, right - x, bottom - y};
}

void canvas_cover_pictures(struct canvas *c, struct rect r) {
  int kept = 0;
  for (int i = 0; i < c->n_pictures; i++) {
    struct placed_picture *p = &c->pictures[i];
    struct rect part = rect_meet(p->cells, r);
    if (!rect_empty(part)) p->cover = join(p->cover, part);
    if (p->cover.w == p->cells.w && p->cover.h == p->cells.h)
      picture_unref(p->picture);
    else
      c->pictures[kept++] = *p;
  }
  c->n_pictures = kept;
}

bool cell_equal(const struct cell *a, const struct cell *b) {
  if (a->width != b->width || a->style != b->style || a->marks != b->marks || strcmp(a->text, b->text) != 0) return false;
  return a->style != STYLE_COLOURS || (a->fg == b->fg && a->bg == b->bg);
}

void canvas_row(const struct canvas *c, int y, char *out, size_t n) {
  size_t at = 0, end = 0; /* end: behind the last that is no space */
  for (int x = 0; x < c->w && y >= 0 && y < c->h; x++) {
    const char *text = c->cells[y * c->w + x].text;
    size_t bytes = strlen(text);
    if (at + bytes + 1 > n) break;
    memcpy(out + at, text, bytes);
    at += bytes;
    if (bytes > 0 && strcmp(text, " ") != 0) end = at;
  }
  if (n > 0) out[end] = 0;
}

char *canvas_dump(const struct canvas *c) {
  size_t row = (size_t)c->w * (GRAPHEME_BYTES - 1) + 2, at = 0;
  char *out = malloc(row * (size_t)c->h + 1);
  if (out == NULL) return NULL;
  out[0] = 0;
  for (int y = 0; y < c->h; y++) {
    canvas_row(c, y, out + at, row - 1);
    at += strlen(out + at);
    out[at++] = '\n';
    out[at] = 0;
  }
  return out;
}
