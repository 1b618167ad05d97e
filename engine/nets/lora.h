/* Low-rank adapters inside linear layers: y = x W^T + b + scale (x A^T) B^T, scale = alpha / rank * strength (arXiv 2106.09685). */
#ifndef PDMBOOTH_NETS_LORA_H
#define PDMBOOTH_NETS_LORA_H

#include "base/param.h"

enum { LORA_MAX_TARGETS = 16 };

/* targets: ends of module names as in PEFT, e.g. "to_q", "to_out.0"; a module is adapted when its name ends with "." target. */
struct lora_spec {
  int rank;
  float alpha;
  int n_targets;
  const char *target[LORA_MAX_TARGETS];
};

struct lora_module {
  char *name;      /* module path, e.g. "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"; owned */
  struct param *a; /* "NAME.lora_A.weight" [rank, in], of a 1x1 convolution [rank, in, 1, 1] */
  struct param *b; /* "NAME.lora_B.weight" [out, rank], [out, rank, 1, 1] */
  float alpha;     /* of this module */
};

/* One network's adapters. */
struct lora_set {
  struct param_set *params; /* a and b of all modules */
  struct lora_module *module;
  int n, cap;
  float strength; /* 1 when training; the user's scale when sampling; 0: the base model */
};

/* A linear layer's hook; NULL a: none. */
struct lora {
  struct lora_set *set;
  struct param *a, *b;
  int index; /* in set->module */
};

struct lora_set *lora_set_new(void);
void lora_set_delete(struct lora_set *s);
/* Adds a module of the given shape; fills *hook. pointwise: of a 1x1 convolution, whose adapters have its four dims. */
bool lora_add(struct lora_set *s, const char *module, int64_t in, int64_t out, bool pointwise, int rank, float alpha, struct lora *hook);
float lora_scale(const struct lora *l); /* alpha / rank * strength */
bool lora_spec_matches(const struct lora_spec *spec, const char *module);
/* PEFT's/diffusers' init: A normal with standard deviation 1 / rank (stream RNG_LORA_INIT, index first + module number), B zero. Host arrays,
   written through weights (the bound flat block on the host). */
void lora_init(struct lora_set *s, float *weights, uint64_t seed, uint32_t first);

#endif
