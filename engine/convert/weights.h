/* The weights of a described model as they go into a file: straight from its open files, with a LoRA added on the way. Nothing is ever whole in
 * memory, so a model of 4 GB is written in a few MB. */
#ifndef PDMBOOTH_CONVERT_WEIGHTS_H
#define PDMBOOTH_CONVERT_WEIGHTS_H

#include "convert/lora_list.h"
#include "nets/model.h"

struct weight {
  const struct param *p;
  const struct st_tensor *t;
  const struct lora_item *item; /* NULL: none is added */
  double strength;
};

struct weights {
  struct weight *part[3]; /* [params of the network]; MODEL_UNET, MODEL_TEXT, MODEL_VAE */
  int n[3];
};

/* l: NULL, or a LoRA that is added at a strength. ERR_INPUT where it does not fit. */
bool weights_open(struct weights *w, const struct model *m, const struct lora_list *l, double strength, struct err *e);
void weights_release(struct weights *w);
/* For st_entry.fill; maker: a struct weight. */
bool weight_fill(const void *maker, int64_t first, int64_t count, float *out);
/* For model_save_want.entry; user: a struct weights. */
void weights_entry(void *user, enum model_part part, int i, struct st_entry *t);
/* The type that the model's tensors have. */
enum dtype weights_dtype(const struct weights *w);

#endif
