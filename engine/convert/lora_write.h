/* Writing LoRA files in each dialect. What readers demand of them: interchange rules for alphas, ranks and metadata. */
#ifndef PDMBOOTH_CONVERT_LORA_WRITE_H
#define PDMBOOTH_CONVERT_LORA_WRITE_H

#include "convert/lora_list.h"
#include "nets/model.h"

struct lora_want {
  enum lora_dialect dialect;
  enum dtype dtype;
  const struct model *base;   /* for the metadata, and to check that the adapters fit; NULL: not known */
  const char *title;          /* of the metadata: the file's name without its end */
  const struct st_pair *meta; /* [n_meta] more pairs, which do not replace those made here */
  int n_meta;
  bool check; /* read it again and compare */
};

/* path: a file; for LORA_PEFT a directory that exists, in which unet/ and text_encoder/ are made. Dialects that carry no alpha get alpha / rank
   folded into up. Where ranks or alphas differ from module to module, kohya's and diffusers' dialects get one rank (rows of zeros added) and
   alpha = rank for all: their readers do not keep such differences. ERR_USAGE where the dialect cannot hold a module. */
bool lora_write(const char *path, const struct lora_list *l, const struct lora_want *w, struct err *e);

/* A run's adapters (host arrays in the sets' flat layout; a set may be NULL) in the dialect LORA_IN_DIFFUSERS. */
bool lora_save(const char *path, const struct lora_set *unet, const float *unet_w, const struct lora_set *text, const float *text_w,
               enum dtype type, const struct st_pair *meta, int n_meta, struct err *e);

#endif
