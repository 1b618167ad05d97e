/* Adapters into a model: attached to the layers that carry adapters, added to the weights elsewhere. */
#ifndef PDMBOOTH_CONVERT_LORA_APPLY_H
#define PDMBOOTH_CONVERT_LORA_APPLY_H

#include "convert/lora_list.h"
#include "nets/model.h"

/* The parameter that an adapter changes: presence and shapes checked. NULL, and ERR_INPUT naming the tensor: made for another model. */
const struct param *lora_target(const struct model *m, const struct lora_list *l, const struct lora_item *i, struct err *e);
/* All of them. */
bool lora_check(const struct model *m, const struct lora_list *l, struct err *e);

/* For sampling: a LoRA (file or PEFT directory, any dialect) at a strength. Nothing of it is skipped: what cannot be applied is refused by name. */
bool lora_load(struct model *m, const char *path, double strength, struct err *e);

/* For training: attaches adapters of the file's modules, ranks and scales before others are attached; lora_fill gives them their values
   once the sets are bound. ERR_INPUT for a module that cannot be trained, or one of the text encoder where text is false. */
bool lora_attach(struct model *m, const struct lora_list *l, bool text, struct err *e);
bool lora_fill(struct model *m, const struct lora_list *l, struct err *e);

#endif
