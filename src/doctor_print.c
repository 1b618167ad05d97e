/* What doctor found, for people and as JSON. */
#include <cjson/cJSON.h>
#include <stdarg.h>
#include <stdlib.h>

#include "cmdline.h"
#include "doctor.h"
#include "formats/json_add.h"
#include "info.h"

enum { COLUMN = 12 };

static double gib(int64_t bytes) {
  return (double)bytes / (1024.0 * 1024 * 1024);
}

/* A line under a heading; an empty heading goes on with the one before. */
__attribute__((format(printf, 3, 4))) static void line(FILE *out, const char *name, const char *fmt, ...) {
  char text[1600];
  va_list args;
  va_start(args, fmt);
  vsnprintf(text, sizeof text, fmt, args);
  va_end(args);
  fprintf(out, "%-*s", COLUMN, name);
  cmdline_wrap(text, COLUMN, cmdline_width(), out);
}

static void print_machine(const struct doctor *d, FILE *out) {
  line(out, "Processor", "%s, %d core%s", d->cpu, d->cores, d->cores == 1 ? "" : "s");
  if (d->quota > 0) line(out, "", "the control group allows %.3g of them", d->quota);
  line(out, "", "%s", *d->simd ? d->simd : "vector extensions not known");
  line(out, "Memory", "%.1f GiB, %.1f GiB free", gib(d->physical), gib(d->available));
  if (d->memory < d->physical) line(out, "", "the control group allows %.1f GiB", gib(d->memory));
  if (d->disk_here >= 0) line(out, "Disk", "%.1f GiB free here", gib(d->disk_here));
  if (d->disk_cache >= 0) line(out, "", "%.1f GiB free in %s", gib(d->disk_cache), d->cache);
}

/* "NVIDIA A100, 80.0 GiB, 79.1 GiB free, compute capability 8.0, 41 C, 3 % busy, ECC on" */
static void print_card(const struct gpu *g, const char *title, FILE *out) {
  char text[320];
  int n = snprintf(text, sizeof text, "%s", g->name);
  if (g->memory) n += snprintf(text + n, sizeof text - (size_t)n, ", %.1f GiB", gib(g->memory));
  if (g->free >= 0) n += snprintf(text + n, sizeof text - (size_t)n, ", %.1f GiB free", gib(g->free));
  if (g->capability) n += snprintf(text + n, sizeof text - (size_t)n, ", compute capability %d.%d", g->capability / 10, g->capability % 10);
  if (g->temperature >= 0) n += snprintf(text + n, sizeof text - (size_t)n, ", %d C", g->temperature);
  if (g->load >= 0) n += snprintf(text + n, sizeof text - (size_t)n, ", %d %% busy", g->load);
  if (g->ecc >= 0) snprintf(text + n, sizeof text - (size_t)n, ", ECC %s", g->ecc ? "on" : "off");
  line(out, title, "%s", text);
}

static void print_gpu(const struct doctor *d, FILE *out) {
  const struct gpu_facts *g = &d->gpu;
  if (!g->n) line(out, "Graphics", "no card found");
  for (int i = 0; i < g->n; i++) print_card(&g->gpu[i], i ? "" : "Graphics", out);
  if (*g->driver || g->cuda) {
    char version[32] = "";
    if (g->cuda) text_put(version, sizeof version, ", CUDA up to %d.%d", g->cuda / 1000, g->cuda % 1000 / 10);
    line(out, "CUDA", "driver %s%s", *g->driver ? g->driver : "not known", version);
  } else {
    line(out, "CUDA", "no NVIDIA driver");
  }
  line(out, "", "libraries: %s, %s", *g->cublas ? g->cublas : "no cuBLAS", *g->cudnn ? g->cudnn : "no cuDNN");
  if (d->cuda.code) line(out, "", "%s", d->cuda.text);
}

static void print_terminal(const struct doctor *d, FILE *out) {
  const struct terminal *t = &d->terminal;
  char size[48] = "";
  if (t->columns > 0) text_put(size, sizeof size, ", %d x %d", t->columns, t->rows);
  const char *sixel = !t->there      ? "input or output is no terminal"
                      : !t->answered ? "sixel: it does not say"
                      : t->sixel     ? "sixel: yes"
                                     : "sixel: no";
  line(out, "Terminal", "%s, %ld colours%s, %s", *t->name ? t->name : "TERM is not set", t->colours, size, sixel);
}

static void print_models(const struct doctor *d, FILE *out) {
  for (int i = 0; i < d->models; i++) {
    const struct doctor_model *m = &d->model[i];
    if (m->error.code) line(out, i ? "" : "Models", "%s cannot be used: %s", m->name, m->error.text);
    if (!m->error.code) line(out, i ? "" : "Models", "%s: loads, %.4g million parameters", m->name, (double)m->facts.parameters / 1e6);
  }
  if (d->models == 1) line(out, "", "none in the Hugging Face cache %s", d->hub);
}

void doctor_print(const struct doctor *d, FILE *out) {
  fprintf(out, "pdmbooth-tui %s\n\n", program_version);
  print_machine(d, out);
  if (d->rate > 0) line(out, "Engine", "%s; %.3g GFLOP/s measured (fp32 products of 1024 x 1024 matrices)", d->device, d->rate / 1e9);
  print_gpu(d, out);
  print_terminal(d, out);
  print_models(d, out);
  for (int i = 0; i < d->lacks; i++) {
    const struct doctor_lack *k = &d->lack[i];
    if (*k->package) line(out, i ? "" : "Missing", "%s (Debian: %s)", k->what, k->package);
    if (!*k->package) line(out, i ? "" : "Missing", "%s", k->what);
  }
  fputc('\n', out);
  for (int i = 0; i < d->problems; i++) line(out, i ? "" : "Problem", "%s", d->problem[i]);
  fputs(d->problems ? "Runs cannot work.\n" : "Runs can work.\n", out);
}

/* --- JSON ------------------------------------------------------------------------------------------------------------------- */

static void add_machine(cJSON *root, const struct doctor *d) {
  cJSON_AddStringToObject(root, "cpu", d->cpu);
  cJSON_AddStringToObject(root, "simd", d->simd);
  cJSON_AddNumberToObject(root, "cores", d->cores);
  cJSON_AddNumberToObject(root, "cpu_quota", d->quota);
  cJSON_AddNumberToObject(root, "memory_physical", (double)d->physical);
  cJSON_AddNumberToObject(root, "memory", (double)d->memory);
  cJSON_AddNumberToObject(root, "memory_available", (double)d->available);
  cJSON_AddNumberToObject(root, "disk_free_here", (double)d->disk_here);
  cJSON_AddNumberToObject(root, "disk_free_cache", (double)d->disk_cache);
  cJSON_AddStringToObject(root, "cache", d->cache);
  cJSON_AddStringToObject(root, "engine", d->device);
  cJSON_AddNumberToObject(root, "flops_per_second", d->rate);
}

static void add_gpus(cJSON *root, const struct doctor *d) {
  cJSON *list = cJSON_AddArrayToObject(root, "gpus");
  for (int i = 0; i < d->gpu.n; i++) {
    const struct gpu *g = &d->gpu.gpu[i];
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "name", g->name);
    cJSON_AddNumberToObject(o, "memory", (double)g->memory);
    if (g->free >= 0) cJSON_AddNumberToObject(o, "free", (double)g->free);
    if (g->capability) cJSON_AddNumberToObject(o, "compute_capability", g->capability / 10.0);
    if (g->temperature >= 0) cJSON_AddNumberToObject(o, "temperature", g->temperature);
    if (g->load >= 0) cJSON_AddNumberToObject(o, "load", g->load);
    if (g->ecc >= 0) cJSON_AddBoolToObject(o, "ecc", g->ecc);
    json_append(list, o);
  }
  cJSON_AddStringToObject(root, "nvidia_driver", d->gpu.driver);
  cJSON_AddNumberToObject(root, "cuda_version", d->gpu.cuda);
  cJSON_AddStringToObject(root, "cublas", d->gpu.cublas);
  cJSON_AddStringToObject(root, "cudnn", d->gpu.cudnn);
  cJSON_AddStringToObject(root, "cuda_engine", d->cuda.code ? d->cuda.text : "");
}

static void add_terminal(cJSON *root, const struct doctor *d) {
  cJSON *o = cJSON_AddObjectToObject(root, "terminal");
  cJSON_AddBoolToObject(o, "there", d->terminal.there);
  cJSON_AddStringToObject(o, "name", d->terminal.name);
  cJSON_AddNumberToObject(o, "colours", (double)d->terminal.colours);
  cJSON_AddBoolToObject(o, "answered", d->terminal.answered);
  cJSON_AddBoolToObject(o, "sixel", d->terminal.sixel);
}

static void add_models(cJSON *root, const struct doctor *d) {
  cJSON *list = cJSON_AddArrayToObject(root, "models");
  cJSON_AddStringToObject(root, "model_cache", d->hub);
  for (int i = 0; i < d->models; i++) {
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "name", d->model[i].name);
    cJSON_AddStringToObject(o, "path", d->model[i].path);
    cJSON_AddBoolToObject(o, "loads", !d->model[i].error.code);
    cJSON_AddStringToObject(o, "error", d->model[i].error.text);
    cJSON_AddNumberToObject(o, "parameters", (double)d->model[i].facts.parameters);
    json_append(list, o);
  }
}

bool doctor_print_json(const struct doctor *d, FILE *out) {
  cJSON *root = cJSON_CreateObject();
  cJSON_AddStringToObject(root, "version", program_version);
  cJSON_AddBoolToObject(root, "runs", !d->problems);
  add_machine(root, d);
  add_gpus(root, d);
  add_terminal(root, d);
  add_models(root, d);
  cJSON *missing = cJSON_AddArrayToObject(root, "missing"), *problems = cJSON_AddArrayToObject(root, "problems");
  for (int i = 0; i < d->lacks; i++) {
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "what", d->lack[i].what);
    cJSON_AddStringToObject(o, "package", d->lack[i].package);
    json_append(missing, o);
  }
  for (int i = 0; i < d->problems; i++) json_append(problems, cJSON_CreateString(d->problem[i]));
  char *text = cJSON_PrintUnformatted(root);
  if (text) fprintf(out, "%s\n", text);
  cJSON_Delete(root);
  bool ok = text != NULL;
  free(text);
  return ok;
}
