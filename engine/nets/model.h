/* A whole Stable Diffusion model in memory: networks, tokenizer, noise schedule; read from and written to the diffusers layout. */
#ifndef PDMBOOTH_NETS_MODEL_H
#define PDMBOOTH_NETS_MODEL_H

#include "diffusion/schedule.h"
#include "formats/safetensors.h"
#include "formats/tokenizer.h"
#include "nets/clip_text.h"
#include "nets/lodge.h"
#include "nets/unet.h"
#include "nets/vae.h"
#include "nets/workspace.h"

struct single_file; /* convert/single_file.h */

struct model {
  struct backend *b;          /* not owned; NULL: described only, no weights in memory */
  struct source source;       /* configs and tokenizer */
  struct single_file *single; /* where the model is one file in the LDM layout, else NULL */
  struct st_set *files[3];    /* UNet, text encoder, VAE: open while the model is read; of a described model until model_close */
  struct unet *unet;
  struct clip_text *text;
  struct vae *vae;
  struct tokenizer *tokenizer;
  struct schedule schedule;
  const char *start_from;        /* LoRA whose values the adapters get in model_read; NULL: none. Not owned */
  bool trains_unet, trains_text; /* gradients exist */
  bool half_gradients;           /* of what is trained and not lodged, in bf16 */
  struct lodge lodge;            /* for sets that lodge_plan was called for between model_open_headers and model_read */
  struct workspace work;         /* activations of the pass under way; released by model_close */
  char hash[65];                 /* sha-256 over names and bytes of the weights of all networks as read (pieces of big tensors) */
};

struct model_want {
  bool train_unet, train_text;                   /* full fine-tune: gradients for all parameters of that network */
  const struct lora_spec *unet_lora, *text_lora; /* adapters to train or to sample with; NULL: none */
  bool half_gradients;                           /* of what is trained, in bf16 */
  uint64_t seed;                                 /* of the adapters' init */
  const char *start_from; /* LoRA whose adapters these start from (unet_lora, text_lora add what it lacks); NULL or "": none */
  const char *config;     /* of a single file: a diffusers directory for what its tensors do not tell; NULL: none */
  const struct embedded_file *embedded; /* of a single file: CLIP's tokenizer is in here; NULL: not to be had */
};

/* Opens and checks everything before the first byte of weights is converted: configs, every tensor's presence and shape.
   s: a diffusers directory, or (source_dir of the file's path) a single-file checkpoint. ERR_INPUT names file and tensor, expected and found shape. */
struct model *model_open(struct backend *b, const struct source *s, const struct model_want *w, struct err *e);
/* The same in two steps. First everything but the weights, on a counting backend: parameters have their shapes and addresses that nobody may
   look at, so that passes can be planned. Then the weights, on the backend that computes; after a failure only model_close is allowed.
   The counting backend must live until model_read or model_close. */
struct model *model_open_headers(struct backend *count, const struct source *s, const struct model_want *w, struct err *e);
bool model_read(struct model *m, struct backend *b, uint64_t seed, struct err *e);
/* Between the two: the fp32 values of the networks are not to be in the memory of b, the backend of model_read (nets/lodge.h); or they are, after
   all. act: type of the activations of the UNet. */
void model_lodge(struct model *m, const struct backend *b, enum dtype act, bool lodged);
/* The same without weights: networks, configs, open files, hash. Nothing can be computed with it. */
struct model *model_describe(const struct source *s, const struct model_want *w, struct err *e);
/* What was assumed about a single file, one sentence a line; "" for nothing. */
const char *model_notes(const struct model *m);
void model_close(struct model *m);
/* The same checks, and nothing loaded. embedded: as in model_want. */
struct model_facts;
bool model_check(const struct source *s, const struct embedded_file *embedded, struct model_facts *f, struct err *e);
/* UNet, text encoder, VAE, adapters of the UNet, adapters of the text encoder; NULL where there are none. */
enum { MODEL_SETS = 5 };
void model_sets(const struct model *m, const struct param_set *out[MODEL_SETS]);

/* Reads one network's parameters by name, both dialects: text encoder with or without "text_model.", VAE attention old or new. */
bool model_load_params(struct backend *b, struct param_set *p, const struct st_set *files, const char *network, struct err *e);
/* Presence, shape and dtype of every tensor, without converting any. network: for the message, e.g. "UNet". */
bool model_check_params(const struct param_set *p, const struct st_set *files, const char *network, struct err *e);
/* One parameter's tensor, whatever dialect of names the files speak; NULL: missing. */
const struct st_tensor *model_tensor(const struct st_set *files, const char *name);
/* Presence, shape and dtype of one. */
bool model_check_param(const struct param *p, const struct st_set *files, const char *network, struct err *e);
void model_hash_params(struct sha256 *s, const struct param_set *p, const struct st_set *files); /* after model_check_params */
enum model_part { MODEL_UNET, MODEL_TEXT, MODEL_VAE };
/* The values of a network that is not trained, from its files once more: [count] of its set, freed by the caller. */
float *model_read_again(struct model *m, enum model_part part, struct err *e);
/* Device memory for a set's weights (and for gradients of what is not frozen), bound to its params; given back by model_unbind. */
bool model_bind(struct backend *b, struct param_set *p, struct err *e);
void model_unbind(struct backend *b, struct param_set *p);
int64_t model_gradient_bytes(const struct param_set *p);
/* What the host can read of count floats in device memory: they themselves, or a copy (*copy, freed by the caller; NULL: none was needed). NULL: out of memory. */
const float *model_host(struct backend *b, const float *device, int64_t count, float **copy, struct err *e);
/* Host copy of a set's weights, [p->count], freed by the caller. */
float *model_weights(struct backend *b, const struct param_set *p, struct err *e);

/* Writes a diffusers directory: unet/ and text_encoder/ with the given weights (host fp32 arrays in the flat layout of the param sets;
   NULL: copied from the source's files as they are), everything else copied from the source; model_index.json, configs with the
   versions and keys that loaders demand (interchange.md section 2). type: F32, F16 or BF16 in the files written. dir must not exist: it
   is made under a temporary name and renamed. */
bool model_save(struct model *m, const char *dir, const float *unet, const float *text, enum dtype type, struct err *e);

struct model_save_want {
  enum dtype type;
  /* Says where the values of parameter i of a part are: data with data_type, or fill and maker. NULL: configs and tokenizer only. */
  void (*entry)(void *user, enum model_part part, int i, struct st_entry *t);
  void *user;
  bool check; /* read each file again and compare */
};
/* model_save for weights that come from anywhere; m may be described only. */
bool model_save_as(const struct model *m, const char *dir, const struct model_save_want *w, struct err *e);

/* Text embeddings of prompts: [n, 77, width] in the context's type, from the pool; prompts are host strings. */
struct tensor model_embed(struct ctx *c, struct model *m, const char *const *prompts, int n);

#endif
