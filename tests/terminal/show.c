/* Shows drawing code in a real terminal, for looking at it: styles, plot, pictures.
   usage: show [--theme NAME] [--tmux] [--ascii] [--no-sixel] [--nearest] [--seconds N] [--depth 0..4] PICTURE...
   Keys: q leaves, n shows the next set of pictures, r draws all anew, d opens and closes a dialog. */
#include <locale.h>
#include <math.h>
#include <ncurses.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "ui/flush.h"
#include "ui/frame.h"
#include "ui/mosaic.h"
#include "ui/plot.h"
#include "ui/description.h"

enum { MOST = 64 };

struct show {
  struct canvas c;
  struct flush flush;
  struct frame frame;
  struct theme theme;
  struct graphics g;
  struct sixels *sixels;
  struct picture *pictures[MOST];
  int n, first;
  bool smooth, dialog;
  double step[2000], value[4][2000];
};

static const char *after(const char *text, const char *start) {
  const char *at = strstr(text, start);
  return at != NULL ? at + strlen(start) : "";
}

/* Asks before ncurses starts; DA1's answer comes last. */
static void ask(struct graphics *g) {
  static const char question[] = "\033[?1;1;0S\033[16t\033[?2026$p\033[c";
  struct termios before, raw;
  char reply[1024] = "";
  size_t n = 0;
  tcgetattr(0, &before);
  raw = before;
  cfmakeraw(&raw);
  tcsetattr(0, TCSAFLUSH, &raw);
  if (write(1, question, sizeof question - 1) < 0) return;
  struct pollfd p = {.fd = 0, .events = POLLIN};
  while (n < sizeof reply - 1 && poll(&p, 1, 1000) > 0) {
    ssize_t k = read(0, reply + n, sizeof reply - 1 - n);
    if (k <= 0) break;
    n += (size_t)k;
    reply[n] = 0;
    if (reply[n - 1] == 'c') break;
  }
  tcsetattr(0, TCSAFLUSH, &before);
  const char *da = strrchr(reply, '?');
  g->sixel = da != NULL && (strstr(da, ";4;") != NULL || strstr(da, ";4c") != NULL);
  g->colours = atoi(after(reply, "[?1;0;"));
  g->synchronized = strstr(reply, "[?2026;1$y") != NULL || strstr(reply, "[?2026;2$y") != NULL;
  if (sscanf(after(reply, "[6;"), "%d;%d", &g->cell.h, &g->cell.w) != 2) g->cell = (struct cell_size){0, 0};
}

static void take_size(struct show *s) {
  struct winsize w;
  if (ioctl(1, TIOCGWINSZ, &w) == 0 && w.ws_xpixel > 0) s->g.cell = (struct cell_size){w.ws_xpixel / w.ws_col, w.ws_ypixel / w.ws_row};
}

static void draw_styles(struct show *s, struct rect r) {
  static const char *const names[] = {
#define X(name, text) text,
      STYLE_TABLE(X)
#undef X
  };
  struct canvas *c = &s->c;
  struct rect in = canvas_box(c, r, STYLE_BORDER, "styles");
  for (int i = 0; i < STYLE_COLOURS; i++) {
    int x = in.x + i / in.h * 15, y = in.y + i % in.h;
    if (x + 14 < in.x + in.w) canvas_field(c, x, y, 14, ALIGN_LEFT, (enum style)i, names[i]);
  }
}

static void draw_bits(struct show *s, struct rect r) {
  struct canvas *c = &s->c;
  struct rect in = canvas_box(c, r, STYLE_FOCUS, "座钟 ساعة é clock 🐩");
  canvas_bar(c, in.x, in.y, in.w - 2, 0.63, STYLE_BAR, STYLE_BAR_REST);
  canvas_sparkline(c, in.x, in.y + 1, in.w - 2, s->value[0], 2000, 0, 0.5, STYLE_ACCENT);
  canvas_paragraph(c, rect_inset(in, 0, 2, 2, 0), 0, STYLE_TEXT,
                   "Words are wrapped at spaces; 宽字符可以在任何地方换行; a picture's mosaic lies beneath its pixels.");
  canvas_scrollbar(c, in.x + in.w - 1, in.y, in.h, 30, 10, 100, STYLE_DIM);
  for (int i = 0; i < SIGN_COUNT; i++) canvas_text(c, in.x + 2 * i, in.y + in.h - 1, STYLE_STAR, canvas_sign(c, (enum sign)i));
}

static void draw_plot(struct show *s, struct rect r) {
  static const char *const names[] = {"instance", "prior", "pdm", "total"};
  struct plot_series series[4];
  struct plot_mark marks[] = {{500, PLOT_SAMPLE}, {1000, PLOT_SAMPLE}, {1000, PLOT_CHECKPOINT}, {1321, PLOT_SPIKE}};
  for (int i = 0; i < 4; i++) series[i] = (struct plot_series){names[i], s->step, s->value[i], 2000, (enum style)(STYLE_CURVE_0 + i), PLOT_SOLID};
  struct plot p = {
      .series = series, .n_series = 4, .marks = marks, .n_marks = 4, .smoothing = 0.97, .has_cursor = true, .cursor = 700, .legend = true};
  plot_draw(&s->c, canvas_box(&s->c, r, STYLE_BORDER, "loss"), &p);
}

static void draw_pictures(struct show *s, struct rect r) {
  int across = s->n > 12 ? 6 : s->n > 4 ? 4 : 2, down = (s->n + across - 1) / across;
  struct part parts[8];
  struct rect rows[8], columns[8];
  for (int i = 0; i < 8; i++) parts[i] = (struct part){.weight = 1};
  layout_rows(r, 1, parts, down < 8 ? down : 8, rows);
  for (int y = 0; y < down && y < 8; y++) {
    layout_columns(rows[y], 1, parts, across, columns);
    for (int x = 0; x < across && y * across + x < s->n; x++) {
      struct picture *p = s->pictures[(s->first + y * across + x) % s->n];
      mosaic_place(&s->c, columns[x], p, s->g.cell, s->theme.depth, s->smooth);
    }
  }
}

static void draw(struct show *s) {
  struct canvas *c = &s->c;
  canvas_clear(c);
  struct rect all = rect_inset(canvas_rect(c), 0, 1, 0, 1);
  canvas_fill(c, rect_top(canvas_rect(c), 1), STYLE_STATUS);
  canvas_printf(c, 1, 0, STYLE_STATUS, "%s, depth %d, sixel %d, cell %d x %d", s->theme.name, s->theme.depth, s->g.sixel, s->g.cell.w,
                s->g.cell.h);
  canvas_fill(c, rect_bottom(canvas_rect(c), 1), STYLE_STATUS);
  canvas_text(c, 1, c->h - 1, STYLE_STATUS_KEY, "q");
  canvas_text(c, 3, c->h - 1, STYLE_STATUS, "leave");
  struct rect halves[2], left[3];
  layout_columns(all, 1, (const struct part[]){{.weight = 1}, {.weight = 1}}, 2, halves);
  layout_rows(halves[0], 0, (const struct part[]){{.min = 10, .weight = 1}, {.min = 8, .weight = 1}, {.min = 7, .max = 9}}, 3, left);
  draw_plot(s, left[0]);
  draw_styles(s, left[1]);
  draw_bits(s, left[2]);
  if (s->n > 0) draw_pictures(s, halves[1]);
  if (s->dialog) {
    struct rect box = {c->w / 3, c->h / 3, c->w / 3, c->h / 4};
    canvas_cover_pictures(c, box);
    canvas_fill(c, box, STYLE_TEXT);
    canvas_box(c, box, STYLE_FOCUS, "dialog");
  }
}

static void present(struct show *s) {
  draw(s);
  flush_canvas(&s->flush, &s->c, &s->theme);
  const char *begin = frame_begin_update(&s->g);
  if (write(1, begin, strlen(begin)) < 0) return;
  doupdate();
  frame_compose(&s->frame, &s->c, s->flush.changed, &s->g, s->sixels, &s->theme, true);
  while (frame_pump(&s->frame, 1) == FRAME_WAITS) poll(&(struct pollfd){.fd = 1, .events = POLLOUT}, 1, 100);
}

static void resize(struct show *s) {
  take_size(s);
  canvas_resize(&s->c, COLS, LINES);
  clearok(curscr, TRUE);
  flush_forget(&s->flush);
  frame_forget(&s->frame);
}

static void run(struct show *s, double seconds) {
  struct timespec start, now;
  clock_gettime(CLOCK_MONOTONIC, &start);
  resize(s);
  for (;;) {
    present(s);
    struct pollfd p[2] = {{.fd = 0, .events = POLLIN}, {.fd = sixels_fd(s->sixels), .events = POLLIN}};
    poll(p, 2, 200);
    sixels_take_event(s->sixels);
    int key = getch();
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (key == 'q' || (double)(now.tv_sec - start.tv_sec) > seconds) return;
    if (key == 'n') s->first++;
    if (key == 'd') s->dialog = !s->dialog;
    if (key == 'r' || key == KEY_RESIZE) resize(s);
  }
}

static void add_picture(struct show *s, const char *path) {
  struct image im;
  struct err e = {0};
  if (s->n < MOST && image_read(path, &im, &e)) s->pictures[s->n++] = picture_new(&im);
  if (e.text[0] != 0) fprintf(stderr, "%s\n", e.text);
}

int main(int argc, char **argv) {
  static struct show s = {.c = {.utf8 = true}, .smooth = true};
  const char *theme = "dark";
  double seconds = 1e9;
  int depth = -1;
  bool sixel = true;
  struct err e = {0};
  setlocale(LC_ALL, "");
  ask(&s.g);
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], "--ascii") == 0) {
      s.c.utf8 = false;
    } else if (strcmp(argv[i], "--nearest") == 0) {
      s.smooth = false;
    } else if (strcmp(argv[i], "--no-sixel") == 0) {
      sixel = false;
    } else if (i + 1 < argc && strcmp(argv[i], "--theme") == 0) {
      theme = argv[++i];
    } else if (i + 1 < argc && strcmp(argv[i], "--depth") == 0) {
      depth = atoi(argv[++i]);
    } else if (i + 1 < argc && strcmp(argv[i], "--seconds") == 0) {
      seconds = atof(argv[++i]);
    } else if (strcmp(argv[i], "--tmux") == 0) {
      s.g.tmux = true;
    } else {
      add_picture(&s, argv[i]);
    }
  }
  s.g.sixel = s.g.sixel && sixel;
  for (int i = 0; i < 2000; i++) {
    s.step[i] = i;
    for (int k = 0; k < 4; k++)
      s.value[k][i] = (0.05 + 0.05 * k) * (1 + 3 * exp(-i / 200.0)) * (1 + 0.4 * sin(i * (1.1 + k)) + 0.2 * sin(i * 0.37));
  }
  s.sixels = sixels_new(64 << 20, &e);
  description_begin(getenv("TERM"), false);
  initscr();
  description_end();
  cbreak();
  noecho();
  nodelay(stdscr, TRUE);
  keypad(stdscr, TRUE);
  curs_set(0);
  start_color();
  use_default_colors();
  enum colour_depth found = flush_depth();
  if (!theme_load(theme, depth >= 0 && depth < (int)found ? (enum colour_depth)depth : found, &s.theme, &e)) {
    endwin();
    fprintf(stderr, "%s\n", e.text);
    return 2;
  }
  run(&s, seconds);
  endwin();
  for (int i = 0; i < s.n; i++) picture_unref(s.pictures[i]);
  sixels_free(s.sixels);
  frame_release(&s.frame);
  flush_release(&s.flush);
  canvas_release(&s.c);
  return 0;
}
