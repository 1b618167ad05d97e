#include "info.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/utsname.h>

#include "base/thread.h"

#ifdef HAVE_CONFIG_H
#include "config.h"
#include "formats/json_add.h"
#endif

#ifndef PACKAGE_VERSION
#define PACKAGE_VERSION "0"
#endif
const char program_version[] = PACKAGE_VERSION;

/* Bytes of each end of a large file that are hashed: a model of 4 GB would take a while. */
enum { WHOLE_LIMIT = 64 << 20, SAMPLE = 1 << 20 };

const char *cpu_name(char *buf, size_t n) {
  char line[512];
  FILE *f = fopen("/proc/cpuinfo", "r");
  text_put(buf, n, "unknown");
  while (f && fgets(line, sizeof line, f)) {
    const char *colon = strchr(line, ':');
    if (strncmp(line, "model name", 10) || !colon) continue;
    line[strcspn(line, "\n")] = 0;
    text_put(buf, n, "%s", colon + 1 + strspn(colon + 1, " "));
    break;
  }
  if (f) fclose(f);
  return buf;
}

static void add_file(cJSON *list, const struct source *s, const char *dir, const char *name) {
  char path[1024], hash[65];
  struct blob b;
  struct sha256 h;
  struct err ignored = {0};
  if (!text_put(path, sizeof path, "%s%s%s", dir, *dir ? "/" : "", name) || !source_open(s, path, &b, &ignored)) return;
  bool whole = b.size <= WHOLE_LIMIT;
  sha256_begin(&h);
  sha256_add(&h, b.data, whole ? b.size : SAMPLE);
  if (!whole) sha256_add(&h, b.data + b.size - SAMPLE, SAMPLE);
  sha256_end(&h, hash);
  cJSON *item = cJSON_CreateObject();
  cJSON_AddStringToObject(item, "file", path);
  cJSON_AddNumberToObject(item, "bytes", (double)b.size);
  cJSON_AddStringToObject(item, whole ? "sha256" : "sha256_of_first_and_last_mib", hash);
  json_append(list, item);
  blob_close(&b);
}

static bool has_ending(const char *name, const char *const *endings) {
  const char *dot = strrchr(name, '.');
  for (int i = 0; dot && endings[i]; i++) {
    if (!strcasecmp(dot, endings[i])) return true;
  }
  return false;
}

static void add_files(cJSON *list, const struct source *s, const char *dir, const char *const *endings) {
  struct source_names names;
  source_names(s, dir, &names, NULL);
  for (int i = 0; i < names.n; i++) {
    if (has_ending(names.name[i], endings)) add_file(list, s, dir, names.name[i]);
  }
  source_names_release(&names);
}

/* A model that is one file. */
static void add_single_file(cJSON *list, const char *path) {
  struct source dir;
  char parent[4096];
  const char *slash = strrchr(path, '/');
  text_put(parent, sizeof parent, "%.*s", slash ? (int)(slash - path) : 1, slash ? path : ".");
  source_dir(&dir, parent);
  add_file(list, &dir, "", slash ? slash + 1 : path);
}

static void add_inputs(cJSON *root, const struct settings *s, const struct embedded_file *embedded) {
  static const char *const pictures[] = {".png", ".jpg", ".jpeg", ".webp", NULL}, *const weights[] = {".safetensors", NULL};
  static const char *const parts[] = {"unet", "text_encoder", "vae"};
  struct source images, masks, model;
  char prefix[512];
  bool own = *s->subject.mask_dir;
  if (!strncmp(s->subject.images, "embedded:", 9)) {
    text_put(prefix, sizeof prefix, "demo-subject/%s", s->subject.images + 9);
    source_embedded(&images, embedded, prefix);
  } else {
    source_dir(&images, s->subject.images);
  }
  if (own) source_dir(&masks, s->subject.mask_dir);
  if (!strcmp(s->model.path, "embedded")) {
    source_embedded(&model, embedded, "tiny-sd");
  } else {
    source_dir(&model, s->model.path);
  }
  add_files(cJSON_AddArrayToObject(root, "photographs"), &images, "", pictures);
  add_files(cJSON_AddArrayToObject(root, "masks"), own ? &masks : &images, own ? "" : "masks", pictures);
  cJSON *list = cJSON_AddArrayToObject(root, "model");
  if (is_file(s->model.path)) {
    add_single_file(list, s->model.path);
    return;
  }
  for (int i = 0; i < 3; i++) {
    add_files(list, &model, parts[i], weights);
    add_file(list, &model, parts[i], "config.json");
  }
}

char *info_text(const struct settings *s, const struct embedded_file *embedded) {
  char text[256];
  struct utsname u;
  cJSON *root = cJSON_CreateObject();
  cJSON_AddStringToObject(root, "program", "pdmbooth-tui");
  cJSON_AddStringToObject(root, "version", program_version);
  cJSON_AddStringToObject(root, "compiler", __VERSION__);
#ifdef HAVE_ONEDNN
  cJSON_AddStringToObject(root, "backend_library", "oneDNN");
#endif
  cJSON_AddStringToObject(root, "cpu", cpu_name(text, sizeof text));
  cJSON_AddNumberToObject(root, "cores", machine_cores());
  cJSON_AddNumberToObject(root, "threads", s->engine.threads ? s->engine.threads : machine_cores());
  cJSON_AddNumberToObject(root, "memory", (double)machine_memory());
  if (!uname(&u)) {
    text_put(text, sizeof text, "%.60s %.60s %.60s", u.sysname, u.release, u.machine);
    cJSON_AddStringToObject(root, "system", text);
  }
  add_inputs(root, s, embedded);
  char *out = cJSON_Print(root);
  cJSON_Delete(root);
  return out;
}
