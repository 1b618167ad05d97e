/* What the tensors of a single-file checkpoint tell about its networks. */
#ifndef PDMBOOTH_CONVERT_LDM_SHAPE_H
#define PDMBOOTH_CONVERT_LDM_SHAPE_H

#include "convert/ldm_names.h"
#include "formats/safetensors.h"

/* What tensors cannot tell is 0 in the configs: unet.heads, unet.groups, unet.norm_eps, unet.sample_size, text.heads, vae.groups. */
struct ldm_shape {
  struct unet_config unet;
  bool has_text, open_clip; /* open_clip: the layout of Stable Diffusion 2.x */
  bool bare_text;           /* old files: the names lack "text_model." */
  struct clip_config text;  /* layers: as many as the file has */
  bool has_vae;
  struct vae_config vae;
};

/* ERR_INPUT: a file that is no single-file checkpoint, or one of an architecture that this program does not run, by name. */
bool ldm_shape_read(const struct st_file *f, struct ldm_shape *out, struct err *e);
/* Whether the names are those of a single-file checkpoint at all. */
bool ldm_is_single_file(const struct st_file *f);

#endif
