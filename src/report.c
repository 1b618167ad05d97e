#include "report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "html.h"
#include "info.h"

#include "assets/embedded.h"

static const char *summary_text(const struct report *r, const char *name) {
  const cJSON *item = cJSON_GetObjectItem(r->summary, name);
  return cJSON_IsString(item) ? item->valuestring : "";
}

static double summary_number(const struct report *r, const char *name) {
  const cJSON *item = cJSON_GetObjectItem(r->summary, name);
  return cJSON_IsNumber(item) ? item->valuedouble : NAN;
}

static double loss_number(const struct report *r, const char *name) {
  const cJSON *item = cJSON_GetObjectItem(cJSON_GetObjectItem(r->summary, "losses"), name);
  return cJSON_IsNumber(item) ? item->valuedouble : NAN;
}

static void put_style(FILE *out, const struct embedded_file *f) {
  for (; f && f->path; f++) {
    if (!strcmp(f->path, "report/report.css")) fprintf(out, "<style>\n%.*s</style>\n", (int)f->size, (const char *)f->data);
  }
}

static void put_card(FILE *out, const char *name, const char *text) {
  if (!*text) return;
  fprintf(out, "<div%s><dt>%s</dt><dd>", strlen(text) > 24 ? " class=\"long\"" : "", name);
  html_text(out, text);
  fputs("</dd></div>\n", out);
}

static const char *time_text(double seconds, char *buf, size_t n) {
  long long s = isfinite(seconds) ? (long long)(seconds + 0.5) : 0;
  *buf = 0;
  if (!isfinite(seconds)) return buf;
  if (s < 60) {
    text_put(buf, n, "%.1f seconds", seconds);
  } else {
    text_put(buf, n, "%lld:%02d:%02d", s / 3600, (int)(s / 60 % 60), (int)(s % 60));
  }
  return buf;
}

static void put_cards(const struct report *r, FILE *out) {
  char text[200], other[64];
  double first = loss_number(r, "probe_first"), last = loss_number(r, "probe_last"), total = loss_number(r, "total");
  const char *token = report_value_of(r, "subject", "token", 0), *class_name = report_value_of(r, "subject", "class", 0);
  fputs("<dl class=\"cards\">\n", out);
  put_card(out, "mode", report_value_of(r, "train", "mode", 0));
  text_put(text, sizeof text, "%d of %s", r->n_rows ? r->rows[r->n_rows - 1].step : 0, report_value_of(r, "train", "steps", 0));
  put_card(out, "steps", text);
  put_card(out, "time of the last start", time_text(summary_number(r, "seconds"), text, sizeof text));
  if (isfinite(total)) text_put(text, sizeof text, "%.4g", total), put_card(out, "last loss", text);
  if (isfinite(first) && isfinite(last)) {
    *other = 0;
    if (first > 0) text_put(other, sizeof other, " (%+.1f %%)", 100 * (last - first) / first);
    text_put(text, sizeof text, "%.4g \xe2\x86\x92 %.4g%s", first, last, other);
    put_card(out, "probe loss", text);
  }
  text_put(text, sizeof text, "%s %s", token, class_name);
  put_card(out, "words", text);
  put_card(out, "base model", report_value_of(r, "model", "path", 0));
  size_t inside = strlen(r->path);
  const char *result = summary_text(r, "checkpoint");
  put_card(out, "result", !strncmp(result, r->path, inside) && result[inside] == '/' ? result + inside + 1 : result);
  fputs("</dl>\n", out);
}

static void put_head(const struct report *r, const struct embedded_file *embedded, FILE *out) {
  const char *slash = strrchr(r->path, '/'), *status = r->summary ? summary_text(r, "status") : "not finished";
  const char *good = !strcmp(status, "done") ? "good" : "open";
  fputs(
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, "
      "initial-scale=1\">\n"
      "<meta name=\"color-scheme\" content=\"light dark\">\n<title>",
      out);
  html_printf(out, "%s: %s", report_value_of(r, "subject", "name", 0), slash && slash[1] ? slash + 1 : r->path);
  fputs("</title>\n", out);
  put_style(out, embedded);
  fputs("</head><body>\n<header><h1>", out);
  html_text(out, report_value_of(r, "subject", "name", 0));
  fprintf(out, " <span class=\"status %s\">", good);
  html_text(out, status);
  fputs("</span></h1>\n<p class=\"where\">", out);
  html_text(out, r->path);
  fputs("</p>\n", out);
  if (*summary_text(r, "error")) {
    fputs("<p class=\"warn\">", out);
    html_text(out, summary_text(r, "error"));
    fputs("</p>\n", out);
  }
  put_cards(r, out);
  fputs("</header>\n", out);
}

/* As a shell reads it: plain where nothing in it is special. */
static void put_word(FILE *out, const char *word) {
  static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./:=+-";
  if (*word && strspn(word, plain) == strlen(word)) {
    html_text(out, word);
    return;
  }
  html_text(out, "'");
  for (const char *p = word; *p; p++) {
    const char one[2] = {*p, 0};
    html_text(out, *p == '\'' ? "'\\''" : one);
  }
  html_text(out, "'");
}

static void put_commands(const struct report *r, FILE *out) {
  char profile[4200];
  const char *checkpoint = summary_text(r, "checkpoint");
  bool done = !strcmp(summary_text(r, "status"), "done");
  text_put(profile, sizeof profile, "%s/profile.ini", r->path);
  fputs(
      "<section><h2>Again</h2>\n<p>This command repeats the run in a new directory; the same machine, build and number of threads give the "
      "same "
      "result.</p>\n<pre>pdmbooth-tui --batch ",
      out);
  put_word(out, profile);
  fputs("</pre>\n", out);
  if (!done) {
    fputs("<p>This one goes on with it:</p>\n<pre>pdmbooth-tui --batch ", out);
    put_word(out, profile);
    fputs(" --run-dir ", out);
    put_word(out, r->path);
    fputs(" --resume</pre>\n", out);
  }
  if (done && *checkpoint && !strcmp(report_value_of(r, "train", "mode", 0), "full")) {
    fputs("<p>Pictures from what was trained:</p>\n<pre>pdmbooth-tui sample ", out);
    put_word(out, checkpoint);
    fputs(" --prompt ", out);
    put_word(out, report_value_of(r, "prompts", "instance", 0));
    fputs("</pre>\n", out);
  }
  fputs("</section>\n", out);
}

/* The warnings of the log, the last ones where there are many. */
static void put_warnings(const struct report *r, FILE *out) {
  enum { MOST = 50 };
  int have = 0, at = 0;
  for (const char *p = r->log; p && (p = strstr(p, " warning: ")); p++) have++;
  if (!have) return;
  fputs("<section><h2>Warnings</h2>\n<ul class=\"log\">\n", out);
  for (const char *p = r->log; *p; p += strcspn(p, "\n"), p += *p == '\n') {
    char line[2000];
    text_put(line, sizeof line, "%.*s", (int)strcspn(p, "\n"), p);
    if (!strstr(line, " warning: ") || at++ < have - MOST) continue;
    fputs("<li>", out);
    html_text(out, line);
    fputs("</li>\n", out);
  }
  fputs("</ul></section>\n", out);
}

static bool put_page(const struct report *r, const struct embedded_file *embedded, FILE *out, struct err *e) {
  put_head(r, embedded, out);
  fputs("<main>\n", out);
  bool ok = report_charts(r, out, e) && report_samples(r, out, e);
  put_warnings(r, out);
  report_settings(r, out);
  report_facts(r, out);
  put_commands(r, out);
  fprintf(out, "</main>\n<footer>Made by pdmbooth-tui %s from the files of the run directory.</footer>\n</body></html>\n", program_version);
  return ok;
}

bool report_write(const char *run_dir, const struct embedded_file *embedded, struct err *e) {
  struct report r;
  char path[4096], *text = NULL;
  size_t n = 0;
  bool ok = report_read(&r, run_dir, e);
  FILE *out = ok ? open_memstream(&text, &n) : NULL;
  if (ok && !out) ok = err_set(e, ERR_FAILED, "out of memory");
  ok = ok && put_page(&r, embedded, out, e);
  if (out && (ferror(out) | fclose(out)) && ok) ok = err_set(e, ERR_FAILED, "out of memory");
  if (ok && !text_put(path, sizeof path, "%s/report.html", run_dir))
    ok = err_set(e, ERR_USAGE, "the path of the run directory is too long");
  ok = ok && write_file(path, text, n, e);
  free(text);
  report_release(&r);
  return ok;
}

/* --- the command ------------------------------------------------------------------------------------------------------------ */

static int report_main(void *options, int operands, char **operand) {
  struct err e = {0};
  (void)options;
  if (!operands) err_set(&e, ERR_USAGE, "report needs the directory of a run; see pdmbooth-tui report --help");
  for (int i = 0; i < operands && !e.code; i++) {
    size_t n = strlen(operand[i]);
    while (n > 1 && operand[i][n - 1] == '/') operand[i][--n] = 0;
    if (report_write(operand[i], embedded_files, &e)) printf("%s/report.html\n", operand[i]);
  }
  return e.code ? say_error(&e) : 0;
}

const struct command_spec report_command = {
    .name = "report",
    .operands = "RUN_DIR...",
    .summary = "write report.html of a run, also of one under way",
    .about =
        "Writes RUN_DIR/report.html, one file that needs no other: curves of each loss, samples by step, settings, hashes, versions, the "
        "command "
        "that repeats the run. A run that ends writes it itself; this makes it anew, or while a run is under way or after it was stopped. "
        "The path goes to standard output.",
    .run = report_main,
};
