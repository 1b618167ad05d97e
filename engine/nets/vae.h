/* AutoencoderKL, forward only (it is never trained): diffusers' models/autoencoders/autoencoder_kl.py. */
#ifndef PDMBOOTH_NETS_VAE_H
#define PDMBOOTH_NETS_VAE_H

#include "formats/json.h"
#include "nets/ctx.h"

enum { VAE_MAX_LEVELS = 8 };

struct vae_config {
  int in_channels, out_channels, latent_channels, levels, layers, groups;
  int channels[VAE_MAX_LEVELS];
  float scaling_factor, shift_factor;
  bool quant_conv, post_quant_conv, mid_attention;
};
bool vae_config_read(struct vae_config *c, const struct json *j, struct err *e);

struct vae;
struct vae *vae_new(const struct vae_config *c,
                    struct err *e); /* parameter names in the new style: "encoder.mid_block.attentions.0.to_q.weight" */
void vae_delete(struct vae *v, struct backend *b);
const struct vae_config *vae_config(const struct vae *v);
struct param_set *vae_params(struct vae *v);
int vae_factor(const struct vae *v); /* pixels per latent element: 2^(levels - 1) */
/* x [n, h, w, 3] F32 in -1..1 -> moments [n, h/f, w/f, 2 z] F32. */
struct tensor vae_encode(struct ctx *c, struct vae *v, const struct tensor *x);
/* z [n, h, w, z] F32, already divided by the scaling factor -> [n, h f, w f, 3] F32. */
struct tensor vae_decode(struct ctx *c, struct vae *v, const struct tensor *z);

#endif
