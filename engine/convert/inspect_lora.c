/* Inspection of LoRA files and directories. */
#include <string.h>

#include "convert/inspect.h"
#include "convert/lora_list.h"
#include "convert/lora_meta.h"

/* The end of a module's name that tells its kind: "to_q", "to_out.0", "ff.net.2". */
static const char *target_of(const char *module) {
  const char *at = strrchr(module, '.');
  static const char *const whole[] = {".to_out.0", ".ff.net.0.proj", ".ff.net.2", ".downsamplers.0.conv", ".upsamplers.0.conv"};
  size_t n = strlen(module);
  for (size_t i = 0; i < sizeof whole / sizeof *whole; i++) {
    size_t m = strlen(whole[i]);
    if (n > m && strcmp(module + n - m, whole[i]) == 0) return module + n - m + 1;
  }
  return at ? at + 1 : module;
}

static void count_target(struct inspector *k, const struct lora_item *item) {
  struct inspection *o = k->out;
  const char *network = item->text ? "text_encoder" : "unet", *name = target_of(item->module);
  int i = 0;
  while (i < o->targets && (strcmp(o->target[i].network, network) != 0 || strcmp(o->target[i].name, name) != 0)) i++;
  if (i == INSPECT_TARGETS) return;
  if (i == o->targets) o->target[o->targets++] = (struct inspected_target){network, inspect_text(k, "%s", name), 0};
  o->target[i].modules++;
}

static void describe(struct inspector *k, const struct lora_list *l) {
  struct inspection *o = k->out;
  o->lora = true;
  o->modules = l->n;
  o->rank_least = o->rank_most = l->item[0].rank;
  o->alpha_least = o->alpha_most = l->item[0].alpha;
  for (int i = 0; i < l->n; i++) {
    const struct lora_item *item = &l->item[i];
    if (item->rank < o->rank_least) o->rank_least = item->rank;
    if (item->rank > o->rank_most) o->rank_most = item->rank;
    if (item->alpha < o->alpha_least) o->alpha_least = item->alpha;
    if (item->alpha > o->alpha_most) o->alpha_most = item->alpha;
    count_target(k, item);
  }
  int generation = lora_generation(l);
  if (generation > 0) o->architecture = inspect_text(k, "for Stable Diffusion %d.x, by the width of its texts", generation);
}

/* Of a single file the tensors are noted already. */
static void note_files(struct inspector *k, const struct lora_list *l) {
  size_t n = strlen(k->path);
  if (k->out->tensors > 0) return;
  for (int i = 0; i < l->files; i++) {
    const char *path = st_path(l->file[i]), *relative = strncmp(path, k->path, n) == 0 && path[n] == '/' ? path + n + 1 : path;
    inspect_st_file(k, l->file[i], inspect_text(k, "%s", relative), l->files == 1);
  }
}

void inspect_lora(struct inspector *k) {
  struct lora_list l;
  struct err e = {0};
  k->out->kind = "lora";
  k->out->description = "a LoRA";
  if (!lora_list_open(&l, k->path, &e)) {
    inspect_problem(k, e.text);
    return;
  }
  k->out->kind = lora_dialect_word(l.dialect);
  k->out->description = lora_dialect_text(l.dialect);
  note_files(k, &l);
  if (l.n > 0) describe(k, &l);
  lora_list_close(&l);
}
