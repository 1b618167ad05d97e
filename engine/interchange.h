/* The engine's second public face: other programs' files. Export to every form that they read, and inspection. (Running is pdmbooth.h.) */
#ifndef PDMBOOTH_INTERCHANGE_H
#define PDMBOOTH_INTERCHANGE_H

#include "formats/safetensors.h"
#include "pdmbooth.h"

/* X(NAME, the word after --as, what it is) */
#define EXPORT_FORMS(X)                                                                           \
  X(DIFFUSERS, "diffusers", "a directory that diffusers loads")                                   \
  X(SINGLE_FILE, "single-file", "one checkpoint in the LDM layout, configs beside it")            \
  X(LORA_DIFFUSERS, "lora-diffusers", "a LoRA file, diffusers' dialect")                          \
  X(LORA_DIFFUSERS_OLD, "lora-diffusers-old", "a LoRA file, the dialect of diffusers up to 0.18") \
  X(LORA_PEFT, "lora-peft", "a directory with PEFT's adapter_config.json for each network")       \
  X(LORA_KOHYA, "lora-kohya", "a LoRA file, kohya's dialect")

enum export_form {
#define X(name, word, text) EXPORT_##name,
  EXPORT_FORMS(X)
#undef X
      EXPORT_FORM_COUNT
};

enum { EXPORT_SOURCE_DTYPE = -1 };

struct export_job {
  const char *model;  /* base model: directory, single file or "embedded"; "": none (a LoRA alone) */
  const char *config; /* of a single file (pdmbooth.h); "" */
  const char *lora;   /* LoRA file or PEFT directory, to be written in another dialect or merged into the model; "": none */
  double scale;       /* of the LoRA, where it is merged */
  enum export_form form;
  int dtype; /* enum dtype (F32, F16, BF16), or EXPORT_SOURCE_DTYPE */
  const char *out;
  bool force; /* replaces what an earlier export wrote */
};

enum { EXPORT_PATHS = 3 };
struct export_result {
  char path[EXPORT_PATHS][4200]; /* what was written; what lies beside comes after */
  int paths;
  int tensors;
};

/* Writes, reads again, compares, and only then lets the files appear under their names. Nothing is overwritten without force. ERR_USAGE for what
   cannot be combined, ERR_INPUT for a LoRA that does not fit the model, ERR_NUMERIC for values that the dtype cannot hold. */
bool engine_export(const struct export_job *j, const struct embedded_file *embedded, const struct sink *sink, struct export_result *out,
                   struct err *e);

/* What a path is, for commands that take a model or a LoRA. */
bool engine_is_lora(const char *path);

/* --- inspection -------------------------------------------------------------------------------------------------------------- */

struct inspected_tensor {
  const char *file, *name, *dtype, *shape; /* file: relative to the directory, or the path itself */
  int64_t elements, not_finite;            /* not_finite: NaNs and infinities in it */
};

struct inspected_dtype {
  const char *dtype;
  int tensors;
  int64_t elements;
};

struct inspected_target {
  const char *network, *name; /* "unet", "to_q": the end of the modules' names */
  int modules;
};

enum { INSPECT_DTYPES = 16, INSPECT_TARGETS = 64 };

/* Everything that is known of a file or directory; texts are owned by it, "" or 0 where there is nothing to say. */
struct inspection {
  const char *kind, *description; /* "single-file", "a single-file checkpoint ..." */
  const char *architecture;       /* one line */
  const char *sha256;             /* of the file */
  const char *tensors_sha256;     /* of the bytes behind the header: kohya's sshs_model_hash */
  const char *model_hash;         /* as in our info: over names, types, shapes and pieces of the weights of the three networks */
  int64_t bytes;
  struct inspected_tensor *tensor; /* [tensors] */
  int tensors;
  struct inspected_dtype dtype[INSPECT_DTYPES];
  int dtypes;
  struct st_pair *meta; /* [metas] */
  int metas;
  bool lora; /* the fields below are filled */
  int modules, rank_least, rank_most;
  double alpha_least, alpha_most;
  struct inspected_target target[INSPECT_TARGETS];
  int targets;
  int width, height;    /* of a picture */
  const char **note;    /* [notes] what was assumed */
  const char **problem; /* [problems] what is wrong, one sentence each */
  int notes, problems;
  struct inspected_text *texts; /* owner of all texts */
};

/* False only where nothing can be said at all (no such path, out of memory); what is wrong with the contents is in problem. */
bool engine_inspect(const char *path, const char *config, const struct embedded_file *embedded, struct inspection *out, struct err *e);
void inspection_release(struct inspection *i);

#endif
