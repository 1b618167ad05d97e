/* Layers of the networks: parameters plus calls of the backend's table; linear layers carry their adapters.
 *
 * All functions do nothing once the context has failed. Results come from the context's pool; the caller gives them back.
 * Backward functions accumulate gradients of parameters and skip what is frozen. */
#ifndef PDMBOOTH_NETS_LAYER_H
#define PDMBOOTH_NETS_LAYER_H

#include "nets/ctx.h"
#include "nets/lora.h"

enum { PATH_SIZE = 256 };
/* "path.leaf" into out (cut where too long: no name of a module is); returns out. */
const char *path_join(char out[PATH_SIZE], const char *path, const char *leaf);

struct linear {
  struct param *w, *b; /* [out, in] or [out, in, 1, 1]; b NULL: none */
  struct lora lora;
  int64_t in, out;
};

struct conv {
  struct param *w, *b;
  struct conv_shape s;
  int64_t in, out;
};

struct norm { /* group norm (groups > 0) or layer norm (groups 0) */
  struct param *g, *b;
  float eps;
  int groups;
};

/* Building: false when out of memory. path: module path, e.g. "mid_block.resnets.0.conv1". */
bool linear_init(struct linear *l, struct param_set *s, const char *path, int64_t in, int64_t out, bool bias);
bool pointwise_init(struct linear *l, struct param_set *s, const char *path, int64_t in, int64_t out); /* a 1x1 convolution */
bool conv_init(struct conv *l, struct param_set *s, const char *path, int64_t in, int64_t out, int kernel, int stride, int pad);
bool norm_init(struct norm *l, struct param_set *s, const char *path, int64_t channels, int groups, float eps);
/* Adds an adapter where spec names the module and it has none yet. */
bool linear_adapt(struct linear *l, struct lora_set *set, const struct lora_spec *spec, const char *path);

bool linear_trained(const struct linear *l); /* weights, bias or adapter want gradients */
bool conv_trained(const struct conv *l);
bool norm_trained(const struct norm *l);

struct tensor linear_forward(struct ctx *c, struct linear *l, const struct tensor *x);
/* dx (NULL: not wanted) = gradient of x + beta dx. x may be empty where !linear_trained. */
void linear_backward(struct ctx *c, struct linear *l, const struct tensor *x, const struct tensor *dy, struct tensor *dx, float beta);
struct tensor conv_forward(struct ctx *c, struct conv *l, const struct tensor *x);
void conv_backward(struct ctx *c, struct conv *l, const struct tensor *x, const struct tensor *dy, struct tensor *dx);
/* stats: NULL, or receives a tensor from the pool that norm_backward wants. silu only with groups. */
struct tensor norm_forward(struct ctx *c, struct norm *l, const struct tensor *x, struct tensor *stats, bool silu);
/* Fresh dx; type of dy. */
struct tensor norm_backward(struct ctx *c, struct norm *l, const struct tensor *x, const struct tensor *stats, const struct tensor *dy,
                            bool silu);

/* y += x, both of one type and count. */
void add_to(struct ctx *c, struct tensor *y, const struct tensor *x);
/* y (F32) += x (any activations' type). */
void accumulate_f32(struct ctx *c, struct tensor *y, const struct tensor *x);
struct tensor cast_to(struct ctx *c, const struct tensor *x, enum dtype type); /* fresh */

#endif
