/* inspect: what a file or directory is, what is in it, and what is wrong with it. */
#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "assets/embedded.h"
#include "commands.h"
#include "formats/json_add.h"
#include "interchange.h"

struct inspect_options {
  const char *config;
  bool json, tensors;
};

/* --- as text -------------------------------------------------------------------------------------------------------------------- */

static void line(const char *what, const char *text) {
  if (*text) printf("%-16s %s\n", what, text);
}

static void print_tensors(const struct inspection *i, bool all) {
  if (!i->tensors) return;
  int64_t elements = 0;
  for (int k = 0; k < i->tensors; k++) elements += i->tensor[k].elements;
  printf("%-16s %d, %lld numbers:", "tensors", i->tensors, (long long)elements);
  for (int k = 0; k < i->dtypes; k++)
    printf("%s %d %s (%lld)", k ? "," : "", i->dtype[k].tensors, i->dtype[k].dtype, (long long)i->dtype[k].elements);
  putchar('\n');
  for (int k = 0; all && k < i->tensors; k++) {
    const struct inspected_tensor *t = &i->tensor[k];
    printf("  %s%s%s %s %s\n", t->file, *t->file ? ": " : "", t->name, t->dtype, t->shape);
  }
}

static void print_range(const char *what, double least, double most) {
  if (most > least)
    printf("%-16s %g to %g\n", what, least, most);
  else
    printf("%-16s %g\n", what, least);
}

static void print_lora(const struct inspection *i) {
  if (!i->lora) return;
  printf("%-16s %d\n", "modules", i->modules);
  print_range("rank", i->rank_least, i->rank_most);
  print_range("alpha", i->alpha_least, i->alpha_most);
  for (int k = 0; k < i->targets; k++)
    printf("%-16s %s %s (%d)\n", k ? "" : "targets", i->target[k].network, i->target[k].name, i->target[k].modules);
}

/* Long values are cut: --json has them whole. */
static void print_metadata(const struct inspection *i) {
  for (int k = 0; k < i->metas; k++) {
    int n = (int)strcspn(i->meta[k].value, "\n");
    bool cut = n > 100 || i->meta[k].value[n];
    printf("%-16s %s = %.*s%s\n", k ? "" : "metadata", i->meta[k].key, n > 100 ? 100 : n, i->meta[k].value, cut ? " ..." : "");
  }
}

static void print_text(const char *path, const struct inspection *i, const struct inspect_options *o) {
  printf("%s: %s\n", path, i->description);
  line("architecture", i->architecture);
  if (i->width) printf("%-16s %d x %d\n", "size", i->width, i->height);
  if (i->bytes) printf("%-16s %lld\n", "bytes", (long long)i->bytes);
  print_tensors(i, o->tensors);
  print_lora(i);
  print_metadata(i);
  line("sha256", i->sha256);
  line("tensors' sha256", i->tensors_sha256);
  line("model hash", i->model_hash);
  for (int k = 0; k < i->notes; k++) line(k ? "" : "notes", i->note[k]);
  for (int k = 0; k < i->problems; k++) line("problem", i->problem[k]);
  if (!i->problems) puts("nothing is wrong with it");
}

/* --- as JSON ----------------------------------------------------------------------------------------------------------------------- */

static void add_text(cJSON *j, const char *key, const char *text) {
  if (*text) cJSON_AddStringToObject(j, key, text);
}

static void add_tensors(cJSON *j, const struct inspection *i, bool all) {
  cJSON *types = cJSON_AddObjectToObject(j, "dtypes");
  cJSON_AddNumberToObject(j, "tensors", i->tensors);
  for (int k = 0; k < i->dtypes; k++) {
    cJSON *t = cJSON_AddObjectToObject(types, i->dtype[k].dtype);
    cJSON_AddNumberToObject(t, "tensors", i->dtype[k].tensors);
    cJSON_AddNumberToObject(t, "numbers", (double)i->dtype[k].elements);
  }
  cJSON *list = all ? cJSON_AddArrayToObject(j, "tensor_list") : NULL;
  for (int k = 0; all && k < i->tensors; k++) {
    const struct inspected_tensor *t = &i->tensor[k];
    cJSON *item = cJSON_CreateObject();
    add_text(item, "file", t->file);
    cJSON_AddStringToObject(item, "name", t->name);
    cJSON_AddStringToObject(item, "dtype", t->dtype);
    cJSON_AddRawToObject(item, "shape", t->shape);
    if (t->not_finite) cJSON_AddNumberToObject(item, "not_finite", (double)t->not_finite);
    json_append(list, item);
  }
}

static void add_lora(cJSON *root, const struct inspection *i) {
  if (!i->lora) return;
  cJSON *j = cJSON_AddObjectToObject(root, "lora");
  cJSON_AddNumberToObject(j, "modules", i->modules);
  cJSON_AddNumberToObject(j, "rank_least", i->rank_least);
  cJSON_AddNumberToObject(j, "rank_most", i->rank_most);
  cJSON_AddNumberToObject(j, "alpha_least", i->alpha_least);
  cJSON_AddNumberToObject(j, "alpha_most", i->alpha_most);
  cJSON *targets = cJSON_AddObjectToObject(j, "targets");
  for (int k = 0; k < i->targets; k++) {
    const char *network = i->target[k].network;
    cJSON *o = cJSON_GetObjectItemCaseSensitive(targets, network);
    cJSON_AddNumberToObject(o ? o : cJSON_AddObjectToObject(targets, network), i->target[k].name, i->target[k].modules);
  }
}

static void add_lines(cJSON *j, const char *key, const char *const *lines, int n) {
  cJSON *list = cJSON_AddArrayToObject(j, key);
  for (int k = 0; k < n; k++) json_append(list, cJSON_CreateString(lines[k]));
}

static bool print_json(const char *path, const struct inspection *i, const struct inspect_options *o) {
  cJSON *j = cJSON_CreateObject();
  cJSON_AddStringToObject(j, "path", path);
  cJSON_AddStringToObject(j, "kind", i->kind);
  cJSON_AddStringToObject(j, "description", i->description);
  add_text(j, "architecture", i->architecture);
  if (i->width) cJSON_AddNumberToObject(j, "width", i->width);
  if (i->width) cJSON_AddNumberToObject(j, "height", i->height);
  cJSON_AddNumberToObject(j, "bytes", (double)i->bytes);
  add_tensors(j, i, o->tensors);
  add_lora(j, i);
  cJSON *meta = cJSON_AddObjectToObject(j, "metadata");
  for (int k = 0; k < i->metas; k++) cJSON_AddStringToObject(meta, i->meta[k].key, i->meta[k].value);
  add_text(j, "sha256", i->sha256);
  add_text(j, "tensors_sha256", i->tensors_sha256);
  add_text(j, "model_hash", i->model_hash);
  add_lines(j, "notes", i->note, i->notes);
  add_lines(j, "problems", i->problem, i->problems);
  char *text = cJSON_Print(j);
  if (text) puts(text);
  bool ok = text != NULL;
  cJSON_free(text);
  cJSON_Delete(j);
  return ok;
}

static int inspect_main(void *options, int operands, char **operand) {
  const struct inspect_options *o = options;
  struct err e = {0};
  struct inspection i = {0};
  if (operands != 1)
    err_set(&e, ERR_USAGE, "inspect takes one file or directory; see pdmbooth-tui inspect --help");
  else
    engine_inspect(operand[0], o->config ? o->config : "", embedded_files, &i, &e);
  if (!e.code && !o->json) print_text(operand[0], &i, o);
  if (!e.code && o->json && !print_json(operand[0], &i, o)) err_set(&e, ERR_FAILED, "out of memory");
  int status = e.code ? say_error(&e) : i.problems ? ERR_INPUT : 0;
  inspection_release(&i);
  return status;
}

#define AT(field) .offset = offsetof(struct inspect_options, field)

static const struct option_spec inspect_table[] = {
    {"json", NULL, "print one JSON object", OPTION_FLAG, AT(json)},
    {"tensors", NULL, "list every tensor", OPTION_FLAG, AT(tensors)},
    {"config", "DIR", "a diffusers directory for what the tensors of a single-file checkpoint do not tell", OPTION_TEXT, AT(config)},
    {0},
};

const struct command_spec inspect_command = {
    .name = "inspect",
    .operands = "FILE|DIR",
    .summary = "say what a file or directory is and what is wrong with it",
    .about =
        "Diffusers directories, single-file checkpoints, LoRAs of every dialect, other safetensors files, pictures: tensors, types, "
        "metadata, ranks, "
        "alphas, hashes, architecture. The exit code is 3 when something is wrong: values that are not finite, tensors missing or of a "
        "wrong shape or "
        "type, a damaged header, metadata that do not fit.",
    .options = inspect_table,
    .options_size = sizeof(struct inspect_options),
    .run = inspect_main,
};
