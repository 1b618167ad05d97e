/* Names of adapters' tensors in the dialects of LoRA files, to and from diffusers' module paths. */
#ifndef PDMBOOTH_CONVERT_LORA_NAMES_H
#define PDMBOOTH_CONVERT_LORA_NAMES_H

#include <stdbool.h>
#include <stddef.h>

enum { LORA_NAME = 512 };

/* X(NAME, what --as and inspect call it, description) */
#define LORA_DIALECTS(X)                                                                                     \
  X(KOHYA, "lora-kohya", "LoRA, kohya's dialect (lora_unet_...lora_down.weight)")                            \
  X(OLD, "lora-diffusers-old", "LoRA, diffusers' old dialect (...attn1.processor.to_q_lora.down.weight)")    \
  X(MODULE, "lora-diffusers", "LoRA, diffusers' dialect (unet....to_q.lora.down.weight)")                    \
  X(IN_DIFFUSERS, "lora-diffusers-peft", "LoRA, PEFT's names in diffusers' dialect (unet....lora_A.weight)") \
  X(PEFT, "lora-peft", "LoRA, PEFT directory (adapter_config.json, adapter_model.safetensors)")

enum lora_dialect {
#define X(name, word, text) LORA_##name,
  LORA_DIALECTS(X)
#undef X
      LORA_DIALECT_COUNT
};

enum lora_part { LORA_DOWN, LORA_UP, LORA_ALPHA };

struct lora_name {
  enum lora_dialect dialect;
  bool text; /* of the text encoder */
  enum lora_part part;
  char module[LORA_NAME]; /* diffusers' path, e.g. "down_blocks.0.attentions.0.proj_in", "text_model.encoder.layers.0.mlp.fc1" */
};

/* False: not a name of any dialect; *why then says what kind of tensor it is, where that is known. */
bool lora_name_read(const char *name, struct lora_name *out, const char **why);
/* False where the dialect has no name for it (the old one knows attention only; alphas are kohya's alone). */
bool lora_name_write(const struct lora_name *n, char out[LORA_NAME]);
const char *lora_dialect_word(enum lora_dialect d);
const char *lora_dialect_text(enum lora_dialect d);

#endif
