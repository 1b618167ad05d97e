/* engine_export (interchange.h): everything is written beside its place under another name, read again, and only then renamed. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "convert/ldm_write.h"
#include "convert/lora_apply.h"
#include "convert/lora_write.h"
#include "formats/output.h"
#include "interchange.h"
#include "train/tell.h"

enum { PATH = 4200, STEM = 4100 };

struct exporting {
  const struct export_job *j;
  const struct sink *sink;
  struct export_result *out;
  struct model *m; /* NULL: a LoRA alone */
  struct lora_list lora;
  struct weights w;
  bool has_lora;
  char stem[STEM], title[256]; /* out without its end; its last part */
};

static bool is_lora_form(enum export_form f) {
  return f >= EXPORT_LORA_DIFFUSERS;
}

/* --- inputs --------------------------------------------------------------------------------------------------------------------- */

static bool open_inputs(struct exporting *x, const struct embedded_file *embedded, struct err *e) {
  const struct export_job *j = x->j;
  struct source source;
  if (j->model[0]) {
    if (embedded && strcmp(j->model, "embedded") == 0)
      source_embedded(&source, embedded, "tiny-sd");
    else
      source_dir(&source, j->model);
    x->m = model_describe(&source, &(struct model_want){.config = j->config, .embedded = embedded}, e);
    if (!x->m) return false;
    tell_lines(x->sink, LOG_INFO, model_notes(x->m));
  }
  if (!j->lora[0]) return true;
  x->has_lora = lora_list_open(&x->lora, j->lora, e);
  return x->has_lora && (!x->m || lora_check(x->m, &x->lora, e));
}

static bool check_job(const struct export_job *j, struct err *e) {
  if (!j->out || !j->out[0]) return err_set(e, ERR_USAGE, "--out is not given: where to write to");
  if (is_lora_form(j->form) && !j->lora[0])
    return err_set(e, ERR_USAGE, "%s is a whole model: a LoRA file can only be made of a LoRA", j->model);
  if (!is_lora_form(j->form) && !j->model[0])
    return err_set(e, ERR_USAGE, "%s is a LoRA: a whole model needs --base MODEL, the model that it belongs to", j->lora);
  return strlen(j->out) < STEM - 64 || err_set(e, ERR_USAGE, "%.100s...: the path is too long", j->out);
}

/* --- places --------------------------------------------------------------------------------------------------------------------- */

static void find_title(struct exporting *x) {
  const char *out = x->j->out, *end = strstr(out, ".safetensors");
  size_t n = end && end[12] == 0 ? (size_t)(end - out) : strlen(out);
  while (n > 1 && out[n - 1] == '/') n--;
  snprintf(x->stem, sizeof x->stem, "%.*s", (int)n, out);
  const char *slash = strrchr(x->stem, '/');
  snprintf(x->title, sizeof x->title, "%s", slash ? slash + 1 : x->stem);
}

/* Only what an export can have written is replaced: never some directory of the user's. */
static bool replaceable(const char *path) {
  static const char *const marks[] = {"model_index.json", "unet/adapter_config.json", "text_encoder/adapter_config.json"};
  struct stat st;
  struct source s;
  if (lstat(path, &st) != 0 || !S_ISDIR(st.st_mode)) return true;
  source_dir(&s, path);
  for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
    if (source_has(&s, marks[i])) return true;
  return false;
}

static bool free_place(const struct exporting *x, const char *path, bool directory, struct err *e) {
  struct stat st;
  if (lstat(path, &st) != 0) return true;
  if (!x->j->force) return err_set(e, ERR_USAGE, "%s exists already; --force replaces it", path);
  if (S_ISDIR(st.st_mode) != directory || !replaceable(path))
    return err_set(e, ERR_USAGE, "%s is %s, and --force replaces only what an export wrote", path,
                   S_ISDIR(st.st_mode) ? "a directory" : "no directory");
  return true;
}

/* From the temporary name to its own; what stood there is removed once the new one is in place. */
static bool settle(struct exporting *x, const char *from, const char *to, struct err *e) {
  char old[PATH + 32];
  struct stat st;
  snprintf(old, sizeof old, "%s.old-%ld", to, (long)getpid());
  bool aside = lstat(to, &st) == 0 && S_ISDIR(st.st_mode);
  if (aside && rename(to, old) != 0) return err_set_errno(e, ERR_FAILED, "%s: cannot be moved aside", to);
  if (rename(from, to) != 0) {
    err_set_errno(e, ERR_FAILED, "%s: cannot be renamed to %s", from, to);
    if (aside) (void)!rename(old, to);
    return false;
  }
  fs_sync_parent(to);
  if (aside) fs_remove_tree(old);
  if (x->out->paths < EXPORT_PATHS) snprintf(x->out->path[x->out->paths++], PATH, "%s", to);
  return true;
}

static void temporary(const char *path, char out[PATH]) {
  snprintf(out, PATH, "%s.new-%ld", path, (long)getpid());
}

/* --- forms ----------------------------------------------------------------------------------------------------------------------- */

static enum dtype dtype_of(const struct exporting *x) {
  const struct lora_item *i = x->has_lora && x->lora.n > 0 ? x->lora.item : NULL;
  if (x->j->dtype != EXPORT_SOURCE_DTYPE) return (enum dtype)x->j->dtype;
  if (!is_lora_form(x->j->form)) return weights_dtype(&x->w);
  return i && i->down.t->known_type && i->down.t->type <= DT_F16 ? i->down.t->type : DT_F32;
}

static bool write_diffusers(struct exporting *x, const char *path, bool weights, struct err *e) {
  char fresh[PATH];
  struct model_save_want w = {.type = dtype_of(x), .entry = weights ? weights_entry : NULL, .user = &x->w, .check = true};
  temporary(path, fresh);
  fs_remove_tree(fresh);
  bool ok = model_save_as(x->m, fresh, &w, e) && settle(x, fresh, path, e);
  if (!ok) fs_remove_tree(fresh);
  return ok;
}

static bool export_diffusers(struct exporting *x, struct err *e) {
  x->out->tensors = x->w.n[0] + x->w.n[1] + x->w.n[2];
  return free_place(x, x->stem, true, e) && write_diffusers(x, x->stem, true, e);
}

static bool write_yaml(struct exporting *x, const char *path, struct err *e) {
  char fresh[PATH], *text = ldm_yaml_text(x->m);
  temporary(path, fresh);
  bool ok = text ? write_file(fresh, text, strlen(text), e) && settle(x, fresh, path, e) : err_set(e, ERR_FIT, "out of memory");
  if (!ok) unlink(fresh);
  free(text);
  return ok;
}

/* Checkpoint, configs and tokenizer beside it, and the .yaml where programs look for one. */
static bool export_single_file(struct exporting *x, struct err *e) {
  char file[PATH], configs[PATH], yaml[PATH], fresh[PATH];
  snprintf(file, sizeof file, "%s.safetensors", x->stem);
  snprintf(configs, sizeof configs, "%s-config", x->stem);
  snprintf(yaml, sizeof yaml, "%s.yaml", x->stem);
  bool with_yaml = ldm_wants_yaml(x->m);
  if (!free_place(x, file, false, e) || !free_place(x, configs, true, e) || (with_yaml && !free_place(x, yaml, false, e))) return false;
  temporary(file, fresh);
  bool ok = ldm_write(fresh, x->m, &x->w, dtype_of(x), x->title, &x->out->tensors, e) && settle(x, fresh, file, e);
  if (!ok) unlink(fresh);
  return ok && write_diffusers(x, configs, false, e) && (!with_yaml || write_yaml(x, yaml, e));
}

static int source_metadata(const struct exporting *x, struct st_pair *pair, int max) {
  int n = 0;
  while (n < max && st_metadata_at(x->lora.file[0], n, &pair[n].key, &pair[n].value)) n++;
  return n;
}

static bool export_lora(struct exporting *x, struct err *e) {
  static const enum lora_dialect dialect[] = {[EXPORT_LORA_DIFFUSERS] = LORA_MODULE,
                                              [EXPORT_LORA_DIFFUSERS_OLD] = LORA_OLD,
                                              [EXPORT_LORA_PEFT] = LORA_PEFT,
                                              [EXPORT_LORA_KOHYA] = LORA_KOHYA};
  enum { META = 128 };
  struct st_pair meta[META];
  bool directory = x->j->form == EXPORT_LORA_PEFT;
  char path[PATH], fresh[PATH];
  struct lora_want w = {.dialect = dialect[x->j->form],
                        .dtype = dtype_of(x),
                        .base = x->m,
                        .title = x->title,
                        .meta = meta,
                        .n_meta = source_metadata(x, meta, META),
                        .check = true};
  snprintf(path, sizeof path, "%s%s", x->stem, directory ? "" : ".safetensors");
  temporary(path, fresh);
  if (!free_place(x, path, directory, e)) return false;
  fs_remove_tree(fresh);
  bool ok = (!directory || make_dirs(fresh, e)) && lora_write(fresh, &x->lora, &w, e) && settle(x, fresh, path, e);
  if (!ok) fs_remove_tree(fresh);
  x->out->tensors = 2 * x->lora.n;
  return ok;
}

static bool export_model(struct exporting *x, struct err *e) {
  const struct lora_list *l = x->has_lora ? &x->lora : NULL;
  if (!weights_open(&x->w, x->m, l, x->j->scale, e)) return false;
  return x->j->form == EXPORT_DIFFUSERS ? export_diffusers(x, e) : export_single_file(x, e);
}

bool engine_export(const struct export_job *j, const struct embedded_file *embedded, const struct sink *sink, struct export_result *out,
                   struct err *e) {
  struct exporting *x = calloc(1, sizeof *x);
  if (!x) return err_set(e, ERR_FIT, "out of memory");
  *out = (struct export_result){0};
  x->j = j;
  x->sink = sink;
  x->out = out;
  bool ok = check_job(j, e);
  if (ok) find_title(x);
  ok = ok && open_inputs(x, embedded, e) && (is_lora_form(j->form) ? export_lora(x, e) : export_model(x, e));
  weights_release(&x->w);
  lora_list_close(&x->lora);
  model_close(x->m);
  free(x);
  return ok;
}

bool engine_is_lora(const char *path) {
  return lora_is(path);
}
