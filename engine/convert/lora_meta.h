/* What a written LoRA says about itself: kohya's ss_ keys and ModelSpec in the header, PEFT's adapter_config.json. */
#ifndef PDMBOOTH_CONVERT_LORA_META_H
#define PDMBOOTH_CONVERT_LORA_META_H

#include "convert/lora_write.h"

enum { LORA_META_PAIRS = 256 };

struct lora_meta {
  struct st_pair pair[LORA_META_PAIRS];
  int n;
  char *text; /* what the pairs point into; owned */
  size_t used;
};

struct lora_shape { /* as written: one rank for all (0: each its own), whether alphas are the modules' own */
  int rank;
  bool own_alpha;
};

/* Pairs of the header for the entries t. Only kohya's dialect has any of its own; w->meta comes first, where it does not clash. */
bool lora_meta_make(struct lora_meta *m, const struct lora_list *l, const struct lora_want *w, const struct lora_shape *s,
                    const struct st_entry *t, int n, struct err *e);
void lora_meta_release(struct lora_meta *m);
/* adapter_config.json of one network, with no field that older PEFT does not know; malloc'd, NULL: out of memory. */
char *lora_meta_peft_config(const struct lora_list *l, bool text);

/* Stable Diffusion 1 or 2 by the width of the texts; 0: neither. */
int lora_generation(const struct lora_list *l);
/* Now as ModelSpec wants it, "2026-01-31T12:00:00". */
void date_text(char out[32]);

#endif
