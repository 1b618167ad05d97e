/* Configs of networks as the JSON text that diffusers and transformers write: for models that come without them. */
#ifndef PDMBOOTH_CONVERT_CONFIG_TEXT_H
#define PDMBOOTH_CONVERT_CONFIG_TEXT_H

#include "diffusion/schedule.h"
#include "nets/clip_text.h"
#include "nets/unet.h"
#include "nets/vae.h"

/* All malloc'd (cJSON's allocator); NULL: out of memory. */
char *config_text_unet(const struct unet_config *c);
char *config_text_clip(const struct clip_config *c);
char *config_text_vae(const struct vae_config *c);
/* PNDM for networks that predict noise, DDIM for those that predict v, as the published models have it. */
char *config_text_scheduler(bool v, double beta_start, double beta_end, int steps);

#endif
