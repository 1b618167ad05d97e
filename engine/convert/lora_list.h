/* The adapters of a LoRA file, whatever its dialect: for each module, down [rank, in] and up [out, rank] with a factor, so that the module's
 * weight becomes w + scale * strength * up down. Convolutions: down [rank, in, kh, kw], up [out, rank, 1, 1]. */
#ifndef PDMBOOTH_CONVERT_LORA_LIST_H
#define PDMBOOTH_CONVERT_LORA_LIST_H

#include "convert/lora_names.h"
#include "formats/safetensors.h"

struct lora_matrix {
  int rank; /* of the tensor: 2 or 4 */
  int64_t dim[4], count;
  const struct st_tensor *t; /* where its values lie: here, or */
  const float *data;         /* here */
};

struct lora_item {
  bool text;
  const char *module, *name; /* diffusers' path; the tensor's name in the file, for messages (of down) */
  int rank;
  double alpha; /* scale times rank, whatever way the file says it */
  struct lora_matrix down, up;
};

struct lora_list {
  enum lora_dialect dialect;
  char path[4096];
  struct lora_item *item; /* [n], by network and module */
  int n;
  struct st_file *file[2];
  int files;
  char *module_names; /* [n][LORA_NAME] */
};

/* path: a file, a PEFT directory (adapter_config.json in it, or in its unet/ and text_encoder/), or a directory with
   pytorch_lora_weights.safetensors. ERR_INPUT names the tensor that is not understood: nothing is skipped. */
bool lora_list_open(struct lora_list *l, const char *path, struct err *e);
/* The same of one open file, which is taken over. config: text of its adapter_config.json, or NULL. */
bool lora_list_of(struct lora_list *l, struct st_file *f, const char *config, size_t config_size, struct err *e);
void lora_list_close(struct lora_list *l);

/* SHA-256 over names and bytes of all its tensors, and the scales. */
void lora_list_hash(const struct lora_list *l, char out[65]);
/* Whether a path is a LoRA at all, by its names; never fails. */
bool lora_is(const char *path);
bool lora_file_is(const struct st_file *f);

double lora_item_scale(const struct lora_item *i);
/* Elements [first, first + count) of a matrix. */
bool lora_matrix_floats(const struct lora_matrix *m, int64_t first, int64_t count, float *out);
/* out += factor * elements [first, first + count) of up down, seen as [out, in * kh * kw]. */
bool lora_item_add(const struct lora_item *i, double factor, int64_t first, int64_t count, float *out);

#endif
