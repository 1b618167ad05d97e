/* What a frame of the interface costs at 200x60, on a pseudo-terminal that swallows everything: processor time and time by the clock, medians of FRAMES frames.
   "all cells": each cell has another character and other colours than before, as when mosaics of photographs scrub by; "all text": each cell another letter
   in another style; "in turn": the one after the other; "scrubbed": four mosaics of photographs, others than before; "pictures": four pictures of pixels stand,
   a line of text moves; "nothing": the frame is as before.
   usage: bench_ui [PICTURE] */
#include <fcntl.h>
#include <locale.h>
#include <ncurses.h>
#include <poll.h>
#include <pty.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "ui/flush.h"
#include "ui/frame.h"
#include "ui/mosaic.h"
#include "ui/description.h"

enum { W = 200, H = 60, CELL_W = 9, CELL_H = 18, FRAMES = 60, PICTURES = 4, PARTS = 4 };

struct bench {
  struct canvas c;
  struct flush flush;
  struct frame frame;
  struct theme theme;
  struct graphics g;
  struct sixels *sixels;
  struct picture *picture[PICTURES];
  uint32_t noise;
};

static double seconds(clockid_t id) {
  struct timespec t;
  clock_gettime(id, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static uint32_t next(struct bench *b) {
  b->noise = b->noise * 1664525u + 1013904223u;
  return b->noise >> 8;
}

/* --- what is drawn ------------------------------------------------------------------------------------------------------------------ */

static void draw_all_cells(struct bench *b, int k) {
  canvas_clear(&b->c);
  for (int y = 0; y < H; y++)
    for (int x = 0; x < W; x++) canvas_put_colours(&b->c, x, y, k % 2 ? "▀" : "▄", next(b) & 0xf8f8f8, next(b) & 0xf8f8f8);
}

static void draw_all_text(struct bench *b, int k) {
  canvas_clear(&b->c);
  for (int y = 0; y < H; y++)
    for (int x = 0; x < W; x++) {
      const char text[2] = {(char)('a' + (x + y + k) % 26), 0};
      canvas_put(&b->c, x, y, (enum style)((x / 7 + y + k) % STYLE_COLOURS), text);
    }
}

static void draw_in_turn(struct bench *b, int k) {
  (k % 2 ? draw_all_cells : draw_all_text)(b, k);
}

/* Mosaics alone: what is shown while pixels wait for the user to rest. */
static void draw_scrubbed(struct bench *b, int k) {
  canvas_clear(&b->c);
  for (int i = 0; i < PICTURES; i++)
    mosaic_draw(&b->c, (struct rect){i % 2 * W / 2, 1 + i / 2 * (H / 2), W / 2, H / 2 - 1}, b->picture[(i + k) % PICTURES], b->g.cell,
                b->theme.depth, true);
}

static void draw_pictures(struct bench *b, int k) {
  canvas_clear(&b->c);
  for (int i = 0; i < PICTURES; i++)
    mosaic_place(&b->c, (struct rect){1 + i * (W / PICTURES), 2, W / PICTURES - 2, 24}, b->picture[i], b->g.cell, b->theme.depth, true);
  canvas_printf(&b->c, k % (W - 20), H - 2, STYLE_ACCENT, "frame %d", k);
}

static void draw_nothing(struct bench *b, int k) {
  (void)k;
  draw_pictures(b, 0);
}

/* --- measuring ------------------------------------------------------------------------------------------------------------------------ */

static int by_size(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double median(double *v, int n) {
  qsort(v, (size_t)n, sizeof *v, by_size);
  return v[n / 2];
}

/* One frame; times of drawing, cells to ncurses, ncurses to the terminal, pixels; in processor seconds. */
static void present(struct bench *b, void (*draw)(struct bench *, int), int k, double part[PARTS]) {
  const clockid_t clock = CLOCK_THREAD_CPUTIME_ID;
  double t[PARTS + 1] = {seconds(clock)};
  draw(b, k);
  t[1] = seconds(clock);
  flush_canvas(&b->flush, &b->c, &b->theme);
  t[2] = seconds(clock);
  doupdate();
  t[3] = seconds(clock);
  frame_compose(&b->frame, &b->c, b->flush.changed, &b->g, b->sixels, &b->theme, true);
  while (frame_pump(&b->frame, STDOUT_FILENO) == FRAME_WAITS) poll(&(struct pollfd){.fd = STDOUT_FILENO, .events = POLLOUT}, 1, 100);
  t[4] = seconds(clock);
  for (int i = 0; i < PARTS; i++) part[i] = t[i + 1] - t[i];
}

/* Until the encoder has nothing left to do. */
static void warm_up(struct bench *b, void (*draw)(struct bench *, int)) {
  double part[PARTS];
  for (int i = 0; i < 20; i++) {
    present(b, draw, i, part);
    if (poll(&(struct pollfd){.fd = sixels_fd(b->sixels), .events = POLLIN}, 1, 100) > 0) sixels_take_event(b->sixels);
  }
}

static void measure(struct bench *b, const char *name, void (*draw)(struct bench *, int), FILE *out) {
  double part[PARTS], of_part[PARTS][FRAMES], all[FRAMES], wall[FRAMES];
  warm_up(b, draw);
  for (int k = 0; k < FRAMES; k++) {
    double begin = seconds(CLOCK_MONOTONIC);
    present(b, draw, k + 100, part);
    wall[k] = seconds(CLOCK_MONOTONIC) - begin;
    all[k] = 0;
    for (int i = 0; i < PARTS; i++) all[k] += of_part[i][k] = part[i];
  }
  fprintf(out, "%-10s %6.2f ms of a processor, %6.2f ms by the clock", name, 1e3 * median(all, FRAMES), 1e3 * median(wall, FRAMES));
  fprintf(out, " (drawing %.2f, cells %.2f, ncurses %.2f, pixels %.2f)\n", 1e3 * median(of_part[0], FRAMES),
          1e3 * median(of_part[1], FRAMES), 1e3 * median(of_part[2], FRAMES), 1e3 * median(of_part[3], FRAMES));
}

static bool open_bench(struct bench *b, const char *path, struct err *e) {
  *b =
      (struct bench){.c = {.utf8 = true}, .noise = 1, .g = {.sixel = true, .cell = {CELL_W, CELL_H}, .colours = 256, .synchronized = true}};
  for (int i = 0; i < PICTURES; i++) {
    struct image im;
    if (!image_read(path, &im, e)) return false;
    for (int k = 0; k < im.w * im.h * im.channels; k++) im.px[k] = (unsigned char)(im.px[k] ^ i * 32); /* each another one */
    b->picture[i] = picture_new(&im);
  }
  b->sixels = sixels_new(64 << 20, e);
  setlocale(LC_ALL, "C.UTF-8");
  description_begin(getenv("TERM"), false);
  initscr();
  description_end();
  start_color();
  use_default_colors();
  return b->sixels && canvas_resize(&b->c, W, H) && theme_load("dark", flush_depth(), &b->theme, e);
}

static int child(const char *path, FILE *out) {
  static struct bench b;
  struct err e = {0};
  bool ok = open_bench(&b, path, &e);
  if (ok) {
    fprintf(out, "200x60, %s\n", b.theme.depth == DEPTH_TRUE ? "24-bit colours" : "256 colours");
    measure(&b, "all cells", draw_all_cells, out);
    measure(&b, "all text", draw_all_text, out);
    measure(&b, "in turn", draw_in_turn, out);
    measure(&b, "scrubbed", draw_scrubbed, out);
    measure(&b, "pictures", draw_pictures, out);
    measure(&b, "nothing", draw_nothing, out);
  } else {
    fprintf(out, "%s\n", e.text);
  }
  endwin();
  fclose(out);
  return !ok;
}

/* --- the terminal ------------------------------------------------------------------------------------------------------------------------ */

static int on_terminal(const char *path, const char *colours) {
  const struct winsize size = {.ws_col = W, .ws_row = H, .ws_xpixel = W * CELL_W, .ws_ypixel = H * CELL_H};
  static char bytes[1 << 16];
  int master, status = 1, told[2];
  if (pipe(told)) return 1;
  pid_t pid = forkpty(&master, NULL, NULL, &size);
  if (pid == 0) {
    setenv("TERM", "xterm-256color", 1);
    setenv("COLORTERM", colours, 1);
    close(told[0]);
    _exit(child(path, fdopen(told[1], "w")));
  }
  close(told[1]);
  int screen = master; /* -1: the child has left it */
  for (bool open = true; pid > 0 && open;) {
    struct pollfd p[2] = {{.fd = screen, .events = POLLIN}, {.fd = told[0], .events = POLLIN}};
    if (poll(p, 2, -1) < 0) break;
    if (p[0].revents && read(master, bytes, sizeof bytes) <= 0) screen = -1;
    ssize_t n = p[1].revents ? read(told[0], bytes, sizeof bytes) : 1;
    if (p[1].revents && n > 0) fwrite(bytes, 1, (size_t)n, stdout);
    open = n > 0;
  }
  if (pid > 0) waitpid(pid, &status, WNOHANG);
  close(master);
  close(told[0]);
  return pid > 0 ? 0 : 1;
}

int main(int argc, char **argv) {
  char path[4096];
  const char *top = getenv("TEST_SRCDIR");
  snprintf(path, sizeof path, "%s/assets/demo-subject/poodle/1.jpg", top ? top : "..");
  return on_terminal(argc > 1 ? argv[1] : path, "") || on_terminal(argc > 1 ? argv[1] : path, "truecolor");
}
