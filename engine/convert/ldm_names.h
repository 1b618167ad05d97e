/* Names of tensors in single-file checkpoints (the layout of the CompVis "latent diffusion" code): for each parameter of our networks,
 * whose names are diffusers', the name there. Table: diffusers' loaders/single_file_utils.py. */
#ifndef PDMBOOTH_CONVERT_LDM_NAMES_H
#define PDMBOOTH_CONVERT_LDM_NAMES_H

#include "nets/clip_text.h"
#include "nets/unet.h"
#include "nets/vae.h"

enum { LDM_NAME = 320 };
#define LDM_UNET "model.diffusion_model."
#define LDM_VAE "first_stage_model."
#define LDM_CLIP "cond_stage_model.transformer."
#define LDM_OPEN_CLIP "cond_stage_model.model."

struct ldm_name {
  char text[LDM_NAME];
  int third; /* -1: the whole tensor; 0, 1, 2: these rows of a fused one [3 d, d] or [3 d] (query, key, value of OpenCLIP) */
};

/* All false for a name that is none of the network's. The numbering of UNet blocks depends on the number of layers of each level. */
bool ldm_unet_name(const struct unet_config *c, const char *name, struct ldm_name *out);
bool ldm_vae_name(const struct vae_config *c, const char *name, struct ldm_name *out);
/* open_clip: the layout of Stable Diffusion 2.x; else that of 1.x. */
bool ldm_text_name(bool open_clip, const char *name, struct ldm_name *out);

#endif
