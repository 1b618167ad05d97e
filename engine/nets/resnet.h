/* ResnetBlock2D: diffusers' models/resnet.py, the "default" time shift; without time embedding in the VAE. */
#ifndef PDMBOOTH_NETS_RESNET_H
#define PDMBOOTH_NETS_RESNET_H

#include "nets/layer.h"

struct resnet {
  struct norm norm1, norm2;
  struct conv conv1, conv2;
  struct linear time;     /* w NULL: none */
  struct linear shortcut; /* w NULL: identity */
};

struct resnet_tape {
  struct tensor stats1, h, stats2; /* h: what norm2 saw */
};

/* time_channels 0: no time embedding. */
bool resnet_init(struct resnet *r, struct param_set *s, const char *path, int64_t in, int64_t out, int64_t time_channels, int groups,
                 float eps);
bool resnet_adapt(struct resnet *r, struct lora_set *set, const struct lora_spec *spec, const char *path);
bool resnet_trained(const struct resnet *r);
/* x [n, h, w, in]; emb: silu(time embedding) [n, time_channels], NULL without; tape NULL: inference. Result [n, h, w, out]. */
struct tensor resnet_forward(struct ctx *c, struct resnet *r, const struct tensor *x, const struct tensor *emb, struct resnet_tape *tape);
/* Fresh dx; demb: NULL, or a tensor like emb that gradients are added to. Gives the tape back. */
struct tensor resnet_backward(struct ctx *c, struct resnet *r, struct resnet_tape *tape, const struct tensor *x, const struct tensor *emb,
                              const struct tensor *dy, struct tensor *demb);
void resnet_tape_drop(struct ctx *c, struct resnet_tape *tape);

#endif
