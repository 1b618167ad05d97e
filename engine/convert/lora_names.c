#include "convert/lora_names.h"

#include <stdio.h>
#include <string.h>

static bool begins(const char **p, const char *start) {
  size_t n = strlen(start);
  if (strncmp(*p, start, n) != 0) return false;
  *p += n;
  return true;
}

/* The text without an end; false where it ends otherwise. */
static bool cut(const char *text, const char *end, char out[LORA_NAME]) {
  size_t n = strlen(text), k = strlen(end);
  if (n <= k || n - k >= LORA_NAME || strcmp(text + n - k, end) != 0) return false;
  memcpy(out, text, n - k);
  out[n - k] = 0;
  return true;
}

/* --- kohya: dots became underscores, so the words that had underscores before must be known ------------------------------------ */

static const char *const words[] = {"transformer_blocks",
                                    "final_layer_norm",
                                    "conv_norm_out",
                                    "conv_shortcut",
                                    "time_emb_proj",
                                    "time_embedding",
                                    "down_blocks",
                                    "text_model",
                                    "layer_norm1",
                                    "layer_norm2",
                                    "group_norm",
                                    "up_blocks",
                                    "mid_block",
                                    "self_attn",
                                    "out_proj",
                                    "proj_out",
                                    "conv_out",
                                    "linear_1",
                                    "linear_2",
                                    "proj_in",
                                    "conv_in",
                                    "q_proj",
                                    "k_proj",
                                    "v_proj",
                                    "to_out",
                                    "to_q",
                                    "to_k",
                                    "to_v"};

static size_t word_length(const char *p) {
  for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
    size_t n = strlen(words[i]);
    if (strncmp(p, words[i], n) == 0 && (p[n] == 0 || p[n] == '_')) return n;
  }
  return strcspn(p, "_");
}

static void with_dots(const char *text, char out[LORA_NAME]) {
  size_t used = 0;
  while (*text) {
    size_t n = word_length(text);
    memcpy(out + used, text, n);
    used += n;
    text += n;
    if (*text) {
      out[used++] = '.';
      text++;
    }
  }
  out[used] = 0;
}

static void with_underscores(char *text) {
  for (; *text; text++)
    if (*text == '.') *text = '_';
}

static bool read_kohya(const char *name, struct lora_name *out) {
  static const char *const ends[3] = {".lora_down.weight", ".lora_up.weight", ".alpha"};
  char stem[LORA_NAME];
  int part = 0;
  while (part < 3 && !cut(name, ends[part], stem)) part++;
  const char *rest = stem;
  if (part == 3) return false;
  out->text = begins(&rest, "lora_te_") || begins(&rest, "lora_te1_");
  if (!out->text && !begins(&rest, "lora_unet_")) return false;
  out->part = (enum lora_part)part;
  with_dots(rest, out->module);
  return true;
}

/* --- diffusers' and PEFT's: "unet.", "text_encoder." or "base_model.model." before a path with dots --------------------------------- */

static const char *const ends[][2] = {[LORA_OLD] = {"_lora.down.weight", "_lora.up.weight"},
                                      [LORA_MODULE] = {".lora.down.weight", ".lora.up.weight"},
                                      [LORA_IN_DIFFUSERS] = {".lora_A.weight", ".lora_B.weight"},
                                      [LORA_PEFT] = {".lora_A.weight", ".lora_B.weight"}};
static const char *const linear_ends[2] = {".lora_linear_layer.down.weight", ".lora_linear_layer.up.weight"};

/* Older text encoders were named with "text_model.", current ones are not: here they always are. */
static void put_text_module(const char *module, char out[LORA_NAME]) {
  bool bare = strncmp(module, "encoder.", 8) == 0;
  snprintf(out, LORA_NAME, "%s%s", bare ? "text_model." : "", module);
}

/* "...attn1.processor.to_out" -> "...attn1.to_out.0"; "...self_attn.to_out" -> "...self_attn.out_proj". */
static bool modern(const char *old, bool text, char out[LORA_NAME]) {
  static const char *const to[4] = {"to_q", "to_k", "to_v", "to_out"};
  static const char *const unet[4] = {"to_q", "to_k", "to_v", "to_out.0"}, *const clip[4] = {"q_proj", "k_proj", "v_proj", "out_proj"};
  const char *leaf = strrchr(old, '.');
  if (!leaf) return false;
  size_t n = (size_t)(leaf - old);
  if (!text && n > 10 && strncmp(old + n - 10, ".processor", 10) == 0) n -= 10;
  for (int i = 0; i < 4; i++) {
    if (strcmp(leaf + 1, to[i]) != 0) continue;
    snprintf(out, LORA_NAME, "%.*s.%s", (int)n, old, text ? clip[i] : unet[i]);
    return true;
  }
  return false;
}

static bool read_dotted(const char *name, struct lora_name *out) {
  char stem[LORA_NAME];
  const char *rest = name;
  bool peft = begins(&rest, "base_model.model.");
  out->text = !peft && begins(&rest, "text_encoder.");
  if (!peft && !out->text && !begins(&rest, "unet.")) return false;
  for (int d = LORA_OLD; d <= LORA_IN_DIFFUSERS; d++)
    for (int part = 0; part < 2; part++) {
      if (!cut(rest, ends[d][part], stem) && !(d == LORA_MODULE && cut(rest, linear_ends[part], stem))) continue;
      if (peft && d != LORA_IN_DIFFUSERS) return false;
      out->dialect = peft ? LORA_PEFT : (enum lora_dialect)d;
      out->part = (enum lora_part)part;
      if (peft) out->text = strncmp(stem, "text_model.", 11) == 0 || strncmp(stem, "encoder.layers.", 15) == 0;
      if (d == LORA_OLD && !modern(stem, out->text, out->module)) return false;
      if (d == LORA_OLD) memcpy(stem, out->module, sizeof stem);
      if (out->text)
        put_text_module(stem, out->module);
      else
        memcpy(out->module, stem, sizeof stem);
      return true;
    }
  return false;
}

static const char *reason(const char *name) {
  static const char *const known[][2] = {{"lora_magnitude_vector", "a magnitude of DoRA, which this program does not apply"},
                                         {"dora_scale", "a magnitude of DoRA, which this program does not apply"},
                                         {"hada_w", "a part of LoHa, which this program does not apply"},
                                         {"lokr_w", "a part of LoKr, which this program does not apply"},
                                         {"lokr_t", "a part of LoKr, which this program does not apply"},
                                         {"lora_mid", "a Tucker core, which this program does not apply"},
                                         {"oft_", "a part of OFT, which this program does not apply"},
                                         {"lora_embedding_", "an adapter of an embedding, which this program does not apply"},
                                         {"lora_te2_", "for the second text encoder of Stable Diffusion XL"},
                                         {"text_encoder_2.", "for the second text encoder of Stable Diffusion XL"},
                                         {"transformer.", "for a diffusion transformer, not for Stable Diffusion 1.x or 2.x"},
                                         {"lora_transformer_", "for a diffusion transformer, not for Stable Diffusion 1.x or 2.x"},
                                         {".diff", "a full difference of weights, which this program does not apply"},
                                         {".bias", "a bias, which this program does not apply"}};
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (strstr(name, known[i][0])) return known[i][1];
  return "named in no dialect of LoRA files that this program knows";
}

bool lora_name_read(const char *name, struct lora_name *out, const char **why) {
  *out = (struct lora_name){.dialect = LORA_KOHYA};
  if (read_kohya(name, out) || read_dotted(name, out)) return true;
  if (why) *why = reason(name);
  return false;
}

/* --- writing -------------------------------------------------------------------------------------------------------------------- */

/* The reverse of modern. */
static bool old_module(const struct lora_name *n, char out[LORA_NAME]) {
  static const char *const unet[4] = {".to_q", ".to_k", ".to_v", ".to_out.0"}, *const clip[4] = {".q_proj", ".k_proj", ".v_proj",
                                                                                                 ".out_proj"};
  static const char *const to[4] = {".to_q", ".to_k", ".to_v", ".to_out"};
  char parent[LORA_NAME];
  for (int i = 0; i < 4; i++) {
    if (!cut(n->module, n->text ? clip[i] : unet[i], parent)) continue;
    const char *leaf = strrchr(parent, '.');
    if (!leaf || strncmp(leaf, n->text ? ".self_attn" : ".attn", n->text ? 10 : 5) != 0) return false;
    return snprintf(out, LORA_NAME, "%s%s%s", parent, n->text ? "" : ".processor", to[i]) < LORA_NAME;
  }
  return false;
}

bool lora_name_write(const struct lora_name *n, char out[LORA_NAME]) {
  static const char *const kohya[3] = {".lora_down.weight", ".lora_up.weight", ".alpha"};
  char module[LORA_NAME];
  const char *network = n->text ? "text_encoder" : "unet";
  snprintf(module, sizeof module, "%s", n->module);
  if (n->dialect == LORA_KOHYA) {
    with_underscores(module);
    return snprintf(out, LORA_NAME, "%s%s%s", n->text ? "lora_te_" : "lora_unet_", module, kohya[n->part]) < LORA_NAME;
  }
  if (n->part == LORA_ALPHA) return false;
  if (n->dialect == LORA_OLD && !old_module(n, module)) return false;
  if (n->dialect == LORA_PEFT && n->text && strncmp(module, "text_model.", 11) == 0)
    memmove(module, module + 11, strlen(module + 11) + 1); /* as current transformers name it */
  const char *end = n->dialect == LORA_MODULE && n->text ? linear_ends[n->part] : ends[n->dialect][n->part];
  return snprintf(out, LORA_NAME, "%s.%s%s", n->dialect == LORA_PEFT ? "base_model.model" : network, module, end) < LORA_NAME;
}

const char *lora_dialect_word(enum lora_dialect d) {
  static const char *const word[] = {
#define X(name, text, description) text,
      LORA_DIALECTS(X)
#undef X
  };
  return word[d];
}

const char *lora_dialect_text(enum lora_dialect d) {
  static const char *const text[] = {
#define X(name, word, description) description,
      LORA_DIALECTS(X)
#undef X
  };
  return text[d];
}
