/* The settings of a run, and the facts in its info.json. */
#include <string.h>

#include "html.h"
#include "report.h"

/* Filled in from others where they are not given: no change of the user's. */
static bool is_derived(const struct key *k) {
  static const char *const derived[][2] = {{"subject", "name"}, {"train", "lr_cycles"}, {"engine", "cache_dir"}};
  for (size_t i = 0; i < sizeof derived / sizeof *derived; i++) {
    if (!strcmp(k->section, derived[i][0]) && !strcmp(k->name, derived[i][1])) return true;
  }
  return false;
}

/* The default as a profile would give it, for the mode of the run. Returns buf, or "". */
static const char *default_of(const struct report *r, const struct key *k, char *buf, size_t n) {
  struct settings s = {0};
  struct strings owner = {0};
  bool full = !strcmp(report_value_of(r, "train", "mode", 0), "full");
  const char *text = full ? k->full : k->lora;
  *buf = 0;
  if (*text == '@') {
    const char *dot = strchr(text, '.');
    char section[32];
    text_put(section, sizeof section, "%.*s", (int)(dot - text - 1), text + 1);
    text_put(buf, n, "%s", report_value_of(r, section, dot + 1, 0));
  } else if (k->type != KEY_LIST && key_store(k, text, &owner, &s) && !key_format(k, &s, 0, buf, n)) {
    *buf = 0;
  }
  strings_release(&owner);
  return buf;
}

static bool is_changed(const struct report *r, const struct report_value *v, const char *fallback) {
  bool prompt = !strcmp(v->key->section, "prompts");
  char filled[600];
  if (is_derived(v->key) || !strcmp(v->text, fallback)) return false;
  if (!prompt) return true;
  /* the frozen profile has {token} and {class} replaced */
  struct strings o = {0};
  const char *t = strings_replace(&o, fallback, "{token}", report_value_of(r, "subject", "token", 0));
  t = t ? strings_replace(&o, t, "{class}", report_value_of(r, "subject", "class", 0)) : NULL;
  text_put(filled, sizeof filled, "%s", t ? t : "");
  strings_release(&o);
  return strcmp(v->text, filled) != 0;
}

static void put_value(FILE *out, const char *text) {
  if (*text) {
    fputs("<td>", out);
    html_text(out, text);
  } else {
    fputs("<td class=\"empty\">not given", out);
  }
  fputs("</td>", out);
}

/* Rows of all values, or of the changed ones alone; how many. */
static int put_values(const struct report *r, bool changed_only, FILE *out) {
  char fallback[300];
  int rows = 0;
  for (int i = 0; i < r->n_values; i++) {
    const struct report_value *v = &r->value[i];
    bool changed = is_changed(r, v, default_of(r, v->key, fallback, sizeof fallback));
    if (changed_only && !changed) continue;
    if (out) {
      fprintf(out, "<tr%s><th>[%s] %s</th>", changed && !changed_only ? " class=\"changed\"" : "", v->key->section, v->key->name);
      put_value(out, v->text);
      put_value(out, fallback);
      fputs("</tr>\n", out);
    }
    rows++;
  }
  return rows;
}

void report_settings(const struct report *r, FILE *out) {
  static const char head[] = "<div class=\"wide\"><table><thead><tr><th>key</th><th>value</th><th>default</th></tr></thead><tbody>\n";
  fputs("<section><h2>Settings</h2>\n<h3>Changed from the defaults</h3>\n", out);
  fputs(head, out);
  if (!put_values(r, true, out)) fputs("<tr><td colspan=\"3\" class=\"empty\">none</td></tr>\n", out);
  fprintf(out, "</tbody></table></div>\n<details><summary>All %d settings</summary>\n%s", put_values(r, false, NULL), head);
  put_values(r, false, out);
  fputs("</tbody></table></div></details></section>\n", out);
}

static void put_fact(FILE *out, const cJSON *fact) {
  fputs("<tr><th>", out);
  html_text(out, fact->string ? fact->string : "");
  fputs("</th><td>", out);
  if (cJSON_IsString(fact)) html_text(out, fact->valuestring);
  if (cJSON_IsNumber(fact) && !strcmp(fact->string ? fact->string : "", "memory")) {
    fprintf(out, "%.1f GiB", fact->valuedouble / (1024.0 * 1024 * 1024));
  } else if (cJSON_IsNumber(fact)) {
    fprintf(out, "%.10g", fact->valuedouble);
  }
  fputs("</td></tr>\n", out);
}

static void put_file(FILE *out, const cJSON *file) {
  const cJSON *name = cJSON_GetObjectItem(file, "file"), *bytes = cJSON_GetObjectItem(file, "bytes");
  const cJSON *whole = cJSON_GetObjectItem(file, "sha256"), *ends = cJSON_GetObjectItem(file, "sha256_of_first_and_last_mib");
  const cJSON *hash = whole ? whole : ends;
  fputs("<tr><th>", out);
  html_text(out, cJSON_IsString(name) ? name->valuestring : "");
  fprintf(out, "</th><td class=\"number\">%.0f</td><td class=\"hash\">", cJSON_IsNumber(bytes) ? bytes->valuedouble : 0);
  html_text(out, cJSON_IsString(hash) ? hash->valuestring : "");
  fputs(whole ? "</td></tr>\n" : " (first and last MiB)</td></tr>\n", out);
}

static void put_files(FILE *out, const cJSON *list, const char *title) {
  const cJSON *file;
  if (!cJSON_IsArray(list) || !cJSON_GetArraySize(list)) return;
  fprintf(out, "<h3>%s</h3>\n<div class=\"wide\"><table><thead><tr><th>file</th><th>bytes</th><th>SHA-256</th></tr></thead><tbody>\n",
          title);
  cJSON_ArrayForEach(file, list) put_file(out, file);
  fputs("</tbody></table></div>\n", out);
}

void report_facts(const struct report *r, FILE *out) {
  const cJSON *fact;
  fputs("<section><h2>Versions, machine and hashes</h2>\n", out);
  if (!r->info) fputs("<p class=\"none\">info.json is missing.</p>\n", out);
  fputs("<div class=\"wide\"><table><tbody>\n", out);
  cJSON_ArrayForEach(fact, r->info) {
    if (cJSON_IsString(fact) || cJSON_IsNumber(fact)) put_fact(out, fact);
  }
  fputs("</tbody></table></div>\n", out);
  put_files(out, cJSON_GetObjectItem(r->info, "photographs"), "Photographs");
  put_files(out, cJSON_GetObjectItem(r->info, "model"), "Base model");
  fputs("</section>\n", out);
}
