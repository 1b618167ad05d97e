/* Single-file checkpoints of Stable Diffusion 1.x and 2.x (one .safetensors in the LDM layout), seen as a diffusers directory.
 *
 * The architecture comes from the tensors. What they cannot tell comes, in this order, from a diffusers directory (given; or
 * beside FILE.safetensors: FILE-config/ or FILE/), the FILE.yaml beside it, the file's modelspec metadata, and the standard values where the
 * shapes are the standard ones; each assumption is a note. */
#ifndef PDMBOOTH_CONVERT_SINGLE_FILE_H
#define PDMBOOTH_CONVERT_SINGLE_FILE_H

#include "convert/ldm_shape.h"

struct single_file;

struct single_want {
  const char *config;                   /* diffusers directory whose configs and tokenizer are used; NULL or "": none given */
  const struct embedded_file *embedded; /* files inside the program (CLIP's tokenizer); may be NULL */
};

/* Opens and understands the file. ERR_INPUT with one sentence that says what is missing and what to give. */
struct single_file *single_open(const char *path, const struct single_want *w, struct err *e);
/* The same for a file that is open already, and is taken over, for tests and fuzzers; what lies beside its path is looked at. */
struct single_file *single_of(struct st_file *f, const struct single_want *w, struct err *e);
void single_close(struct single_file *s);

/* Configs, scheduler and tokenizer as a directory; lives as long as s. */
const struct source *single_source(const struct single_file *s);
const struct ldm_shape *single_shape(const struct single_file *s);
/* What was assumed, one sentence a line, "" for nothing. */
const char *single_notes(const struct single_file *s);

/* The tensors of one network under diffusers' names, shapes not yet checked. c: as read from single_source's config. Names the first
   tensor that is missing, or that the network has no place for. Valid until single_close. */
struct st_set *single_unet(const struct single_file *s, const struct unet_config *c, const struct param_set *p, struct err *e);
struct st_set *single_text(const struct single_file *s, const struct param_set *p, struct err *e);
struct st_set *single_vae(const struct single_file *s, const struct vae_config *c, const struct param_set *p, struct err *e);

#endif
