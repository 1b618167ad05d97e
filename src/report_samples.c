/* Samples by step: a row for each prompt, a column for each step; then all pictures of the last step. */
#include <stdlib.h>
#include <string.h>

#include "formats/image.h"
#include "html.h"
#include "report.h"

enum { STEPS = 8, PICTURES = 8, MOST = 320, MANY = 60, LARGE = 256, SMALL = 192 };

/* What is shown. */
struct grid {
  const struct report *r;
  int step[STEPS], steps; /* columns */
  int prompts, pictures;  /* rows, and pictures of each prompt in the last step */
  int all_steps, all_prompts;
  int side; /* pixels of the longer side; larger pictures are reduced */
};

static const struct sample_file *find(const struct sample_list *l, int step, int prompt, int picture) {
  for (int i = 0; i < l->n; i++) {
    const struct sample_file *f = &l->file[i];
    if (f->step == step && f->prompt == prompt && f->picture == picture) return f;
  }
  return NULL;
}

/* The first and the last step and others between, evenly; as many prompts and pictures as MOST allows. */
static bool choose(struct grid *g, const struct report *r) {
  const struct sample_list *l = &r->samples;
  *g = (struct grid){.r = r};
  int *step = malloc(sizeof *step * (size_t)(l->n + 1));
  if (!step) return false;
  for (int i = 0; i < l->n; i++) {
    if (!g->all_steps || step[g->all_steps - 1] != l->file[i].step) step[g->all_steps++] = l->file[i].step;
    if (l->file[i].prompt >= g->all_prompts) g->all_prompts = l->file[i].prompt + 1;
  }
  g->steps = g->all_steps < STEPS ? g->all_steps : STEPS;
  for (int i = 0; i < g->steps; i++) g->step[i] = step[g->steps > 1 ? i * (g->all_steps - 1) / (g->steps - 1) : 0];
  for (int i = 0; g->steps && i < l->n; i++) {
    const struct sample_file *f = &l->file[i];
    if (f->step == g->step[g->steps - 1] && f->picture >= g->pictures) g->pictures = f->picture + 1;
  }
  if (g->pictures > PICTURES) g->pictures = PICTURES;
  int each = g->steps + (g->pictures > 1 ? g->pictures : 0);
  g->prompts = each && g->all_prompts > MOST / each ? MOST / each : g->all_prompts;
  g->side = g->prompts * each > MANY ? SMALL : LARGE;
  free(step);
  return true;
}

/* Reduced to side pixels, and as PNG again. */
static bool put_reduced(FILE *out, const struct image *im, int side, struct err *e) {
  int longer = im->w > im->h ? im->w : im->h, w = im->w * side / longer, h = im->h * side / longer;
  struct image small = {0};
  unsigned char *png = NULL;
  size_t n = 0;
  bool ok = image_resize(im, w > 0 ? w : 1, h > 0 ? h : 1, FILTER_BICUBIC, &small, e) && image_encode_png(&small, &png, &n, e);
  if (ok) html_png(out, png, n);
  free(png);
  image_release(&small);
  return ok;
}

/* The bytes of the file where the picture is small, so that it is seen as it is. */
static bool put_picture(FILE *out, const char *path, const struct image *im, int side, struct err *e) {
  struct blob b;
  if (im->w > side || im->h > side) return put_reduced(out, im, side, e);
  if (!blob_map(path, &b, e)) return false;
  html_png(out, b.data, b.size);
  blob_close(&b);
  return true;
}

static bool put_cell(FILE *out, const struct grid *g, const struct sample_file *f, const char *caption, bool with_seed, struct err *e) {
  char path[4096], prompt[4000] = "", seed[32] = "";
  struct image im = {0};
  struct err unreadable = {0};
  fputs("<figure>", out);
  bool ok = true, there = f && image_read(samples_path(g->r->dir, f, path, sizeof path), &im, &unreadable);
  if (there) {
    image_png_text(path, "prompt", prompt, sizeof prompt);
    image_png_text(path, "seed", seed, sizeof seed);
    fprintf(out, "<img%s width=\"%d\" height=\"%d\" alt=\"", im.w < 128 && im.h < 128 ? " class=\"pixels\"" : "", im.w, im.h);
    html_text(out, prompt);
    fputs("\" title=\"", out);
    html_printf(out, "step %d, seed %s, %dx%d", f->step, seed, im.w, im.h);
    fputs("\" src=\"", out);
    ok = put_picture(out, path, &im, g->side, e);
    fputs("\">", out);
  } else {
    fputs("<div class=\"hole\"></div>", out);
  }
  fputs("<figcaption>", out);
  html_text(out, caption);
  if (there && *seed && with_seed) html_printf(out, ", seed %s", seed);
  fputs("</figcaption></figure>", out);
  image_release(&im);
  return ok;
}

/* What the newest picture says of itself; what the profile says where there is none. */
static void put_prompt(FILE *out, const struct grid *g, int prompt) {
  char path[4096], text[4000] = "";
  const struct sample_file *newest = NULL;
  for (int i = 0; i < g->r->samples.n; i++) {
    if (g->r->samples.file[i].prompt == prompt) newest = &g->r->samples.file[i];
  }
  bool known = newest && image_png_text(samples_path(g->r->dir, newest, path, sizeof path), "prompt", text, sizeof text);
  fputs("<h3>", out);
  html_text(out, known ? text : report_value_of(g->r, "prompts", "test", prompt));
  fputs("</h3>\n", out);
}

static bool put_row(FILE *out, const struct grid *g, int prompt, bool last_step, struct err *e) {
  int columns = last_step ? g->pictures : g->steps, last = g->step[g->steps - 1];
  char caption[64];
  bool ok = true;
  put_prompt(out, g, prompt);
  fprintf(out, "<div class=\"row\" style=\"--columns:%d\">", columns);
  for (int i = 0; ok && i < columns; i++) {
    text_put(caption, sizeof caption, last_step ? "picture %d" : "step %d", last_step ? i + 1 : g->step[i]);
    ok = put_cell(out, g, find(&g->r->samples, last_step ? last : g->step[i], prompt, last_step ? i : 0), caption, last_step, e);
  }
  fputs("</div>\n", out);
  return ok;
}

static void put_note(FILE *out, const struct grid *g) {
  if (g->steps == g->all_steps && g->prompts == g->all_prompts) return;
  fprintf(out, "<p class=\"none\">Shown: %d of %d steps, %d of %d prompts. All pictures are in samples/ of the run directory.</p>\n",
          g->steps, g->all_steps, g->prompts, g->all_prompts);
}

bool report_samples(const struct report *r, FILE *out, struct err *e) {
  struct grid g;
  bool ok = choose(&g, r) || err_set(e, ERR_FAILED, "out of memory");
  fputs("<section><h2>Samples by step</h2>\n", out);
  if (!r->samples.n) fputs("<p class=\"none\">No samples have been drawn.</p>\n", out);
  if (ok) put_note(out, &g);
  for (int i = 0; ok && r->samples.n && i < g.prompts; i++) ok = put_row(out, &g, i, false, e);
  fputs("</section>\n", out);
  if (!ok || g.pictures < 2) return ok;
  fprintf(out, "<section><h2>All pictures of step %d</h2>\n", g.step[g.steps - 1]);
  for (int i = 0; ok && i < g.prompts; i++) ok = put_row(out, &g, i, true, e);
  fputs("</section>\n", out);
  return ok;
}
