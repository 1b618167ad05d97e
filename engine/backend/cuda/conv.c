/* Convolutions: torch.nn.functional.conv2d and its gradients, pictures NHWC, weights packed to [co, kh, kw, ci].
 *
 *   1x1 without stride and padding: a matrix product (linear.c).
 *   cuDNN: forward and data gradient of all types, weight gradient of F32. Of the library's own ranking for a shape, algorithms are taken that are deterministic and multiply
 *     directly (no Winograd, no Fourier: F32 stays F32, unless b->tf32 lets the products lose bits); which of these is measured in a rehearsal (choices.h), and is else the first.
 *     It pads both sides alike, so what is padded on one side goes through a bordered copy.
 *   products of unfolded pictures, a slice of at most UNFOLD bytes at a time: the weight gradient of BF16 and F16 (the library would round the result to 16 bits, gradients are F32;
 *     in F16 a sum over all pixels that fits F32 might overflow besides, and halve the scale of the loss for nothing), addresses that are not multiples of 16 bytes, and what the
 *     library has no algorithm for. The data gradient is one, too: of dy, unfolded the other way round.
 *
 * Scratch of a call: packed weights, then a bordered picture or a slice, then a gradient to be turned back to Python's order. */
#include "choices.h"
#include "library.h"
#include "shapes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SHAPES = 1024, UNFOLD = 32 << 20, RANKS = 8 };
static const size_t MOST_WORK = (size_t)512 << 20; /* of an algorithm of the library's */

enum way { FORWARD, DATA, WEIGHTS };

struct key {
  int32_t way, type, tf32, n, h, w, ci, oh, ow, co, kh, kw, stride, pad_h, pad_w;
};

struct shape {
  struct key key;
  bool known; /* the library has an algorithm */
  cudnnTensorDescriptor_t x, y;
  cudnnFilterDescriptor_t w;
  cudnnConvolutionDescriptor_t conv;
  int algo;
  size_t work;
};

struct cuda_conv {
  cudnnHandle_t handle;
  struct cuda_shapes shapes; /* of struct shape */
};

static bool check(struct backend *b, cudnnStatus_t status, const char *what) {
  if (status == CUDNN_STATUS_SUCCESS) return true;
  return cuda_library_failed(b, "cuDNN", what, (int)status, cudnn(b)->GetErrorString(status));
}

int cuda_conv_version(const struct backend *b) {
  return (int)cudnn(b)->GetVersion();
}

static void release(const struct backend *b, void *entry) {
  const struct shape *s = entry;
  if (s->x) (void)cudnn(b)->DestroyTensorDescriptor(s->x);
  if (s->y) (void)cudnn(b)->DestroyTensorDescriptor(s->y);
  if (s->w) (void)cudnn(b)->DestroyFilterDescriptor(s->w);
  if (s->conv) (void)cudnn(b)->DestroyConvolutionDescriptor(s->conv);
}

bool cuda_conv_open(struct backend *b, struct err *e) {
  struct cuda_conv *c = calloc(1, sizeof *c);
  if (!c) return err_set(e, ERR_FIT, "out of memory");
  cuda_of(b)->conv = c;
  c->shapes = (struct cuda_shapes){.bytes = sizeof(struct shape), .key_bytes = sizeof(struct key), .places = SHAPES, .release = release};
  if (!cuda_shapes_open(&c->shapes, e)) return false;
  cudnnStatus_t status = cudnn(b)->Create(&c->handle);
  if (status != CUDNN_STATUS_SUCCESS) c->handle = NULL;
  if (status == CUDNN_STATUS_SUCCESS) status = cudnn(b)->SetStream(c->handle, cuda_of(b)->stream);
  if (status == CUDNN_STATUS_SUCCESS) return true;
  return err_set(e, ERR_FIT, "cuDNN does not start: status %d (%s); install one for this version of CUDA, or use --device cpu", (int)status,
                 cudnn(b)->GetErrorString(status));
}

void cuda_conv_close(struct backend *b) {
  struct cuda_conv *c = cuda_of(b)->conv;
  if (!c) return;
  cuda_shapes_close(b, &c->shapes);
  if (c->handle) (void)cudnn(b)->Destroy(c->handle);
  free(c);
  cuda_of(b)->conv = NULL;
}

/* --- shapes ------------------------------------------------------------------------------------------------------------------------ */

static bool describe(struct backend *b, struct shape *s) {
  const struct key *k = &s->key;
  cudnnDataType_t type = k->type == DT_F32 ? CUDNN_DATA_FLOAT : k->type == DT_BF16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_HALF;
  cudnnMathType_t math = k->type == DT_F32 && !k->tf32 ? CUDNN_FMA_MATH : CUDNN_TENSOR_OP_MATH;
  const char *what = "describing a convolution";
  return check(b, cudnn(b)->CreateTensorDescriptor(&s->x), what) && check(b, cudnn(b)->CreateTensorDescriptor(&s->y), what) &&
         check(b, cudnn(b)->CreateFilterDescriptor(&s->w), what) && check(b, cudnn(b)->CreateConvolutionDescriptor(&s->conv), what) &&
         check(b, cudnn(b)->SetTensor4dDescriptor(s->x, CUDNN_TENSOR_NHWC, type, k->n, k->ci, k->h, k->w), what) &&
         check(b, cudnn(b)->SetTensor4dDescriptor(s->y, CUDNN_TENSOR_NHWC, type, k->n, k->co, k->oh, k->ow), what) &&
         check(b, cudnn(b)->SetFilter4dDescriptor(s->w, type, CUDNN_TENSOR_NHWC, k->co, k->ci, k->kh, k->kw), what) &&
         check(b, cudnn(b)->SetConvolution2dDescriptor(s->conv, k->pad_h, k->pad_w, k->stride, k->stride, 1, 1, CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT),
               what) &&
         check(b, cudnn(b)->SetConvolutionMathType(s->conv, math), what);
}

/* --- the choice of an algorithm ------------------------------------------------------------------------------------------------------- */

/* What the library offers for a shape. */
struct offer {
  int algo;
  cudnnMathType_t math;
  size_t work;
};

/* Whether a way to multiply keeps what the shape's type holds: F32 in products of F32, unless b->tf32 lets them lose bits. */
static bool keeps_bits(const struct shape *s, cudnnMathType_t math) {
  if (s->key.type != DT_F32) return true;
  return math == CUDNN_FMA_MATH || math == CUDNN_DEFAULT_MATH || (math == CUDNN_TENSOR_OP_MATH && s->key.tf32);
}

/* The library's default may round F32 to TF32: where that is not wanted, it is told so. */
static void add_offer(const struct shape *s, struct offer offer[RANKS], int *n, const struct offer *o) {
  struct offer add = *o;
  if (s->key.type == DT_F32 && !s->key.tf32) add.math = CUDNN_FMA_MATH;
  for (int i = 0; i < *n; i++)
    if (offer[i].algo == add.algo && offer[i].math == add.math) return;
  offer[(*n)++] = add;
}

/* Those of a ranking that may be taken: what multiplies directly, deterministically, within the memory. */
#define TAKE(results, returned, direct)                                                                             \
  for (int i = 0; i < (returned); i++)                                                                              \
    if ((results)[i].status == CUDNN_STATUS_SUCCESS && (results)[i].determinism == CUDNN_DETERMINISTIC && (direct) && \
        (results)[i].memory <= MOST_WORK && keeps_bits(s, (results)[i].mathType))                                    \
      add_offer(s, offer, n, &(struct offer){(int)(results)[i].algo, (results)[i].mathType, (results)[i].memory});

static cudnnStatus_t offers_forward(struct backend *b, const struct shape *s, struct offer offer[RANKS], int *n) {
  cudnnConvolutionFwdAlgoPerf_t r[RANKS];
  int found = 0;
  cudnnStatus_t status = cudnn(b)->GetConvolutionForwardAlgorithm_v7(cuda_of(b)->conv->handle, s->x, s->w, s->conv, s->y, RANKS, &found, r);
  if (status != CUDNN_STATUS_SUCCESS) return status;
  TAKE(r, found, r[i].algo <= CUDNN_CONVOLUTION_FWD_ALGO_DIRECT)
  return status;
}

static cudnnStatus_t offers_data(struct backend *b, const struct shape *s, struct offer offer[RANKS], int *n) {
  cudnnConvolutionBwdDataAlgoPerf_t r[RANKS];
  int found = 0;
  cudnnStatus_t status = cudnn(b)->GetConvolutionBackwardDataAlgorithm_v7(cuda_of(b)->conv->handle, s->w, s->y, s->conv, s->x, RANKS, &found, r);
  if (status != CUDNN_STATUS_SUCCESS) return status;
  TAKE(r, found, r[i].algo == CUDNN_CONVOLUTION_BWD_DATA_ALGO_1)
  return status;
}

static cudnnStatus_t offers_weights(struct backend *b, const struct shape *s, struct offer offer[RANKS], int *n) {
  cudnnConvolutionBwdFilterAlgoPerf_t r[RANKS];
  int found = 0;
  cudnnStatus_t status = cudnn(b)->GetConvolutionBackwardFilterAlgorithm_v7(cuda_of(b)->conv->handle, s->x, s->y, s->conv, s->w, RANKS, &found, r);
  if (status != CUDNN_STATUS_SUCCESS) return status;
  TAKE(r, found, r[i].algo == CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1)
  return status;
}

/* Bytes of a tensor in the memory that is measured on. */
static size_t room_of(const struct shape *s, int64_t count) {
  return cuda_round((size_t)count * dtype_size((enum dtype)s->key.type));
}

struct operands {
  const void *x, *w, *y; /* two of them */
  void *out, *work;
};

static cudnnStatus_t compute(struct backend *b, const struct shape *s, const struct operands *o) {
  const float one = 1, zero = 0;
  const struct cudnn *d = cudnn(b);
  cudnnHandle_t handle = cuda_of(b)->conv->handle;
  switch ((enum way)s->key.way) {
    case FORWARD:
      return d->ConvolutionForward(handle, &one, s->x, o->x, s->w, o->w, s->conv, (cudnnConvolutionFwdAlgo_t)s->algo, o->work, s->work, &zero, s->y,
                                   o->out);
    case DATA:
      return d->ConvolutionBackwardData(handle, &one, s->w, o->w, s->y, o->y, s->conv, (cudnnConvolutionBwdDataAlgo_t)s->algo, o->work, s->work, &zero,
                                        s->x, o->out);
    case WEIGHTS:
      break;
  }
  return d->ConvolutionBackwardFilter(handle, &one, s->x, o->x, s->y, o->y, s->conv, (cudnnConvolutionBwdFilterAlgo_t)s->algo, o->work, s->work, &zero,
                                      s->w, o->out);
}

static bool is_refusal(cudnnStatus_t status) {
  return status / 1000 == CUDNN_STATUS_NOT_SUPPORTED / 1000;
}

static bool apply(struct backend *b, struct shape *s, const struct offer *o) {
  s->algo = o->algo;
  s->work = o->work;
  return check(b, cudnn(b)->SetConvolutionMathType(s->conv, o->math), "describing a convolution");
}

struct trial {
  struct shape *s;
  const struct offer *offer;
  size_t x, w, y; /* bytes */
};

static bool try_one(struct backend *b, void *job, int i, char *memory) {
  const struct trial *t = job;
  char *x = memory, *w = x + t->x, *y = w + t->w;
  void *out[] = {[FORWARD] = y, [DATA] = x, [WEIGHTS] = w};
  if (!apply(b, t->s, &t->offer[i])) return false;
  cudnnStatus_t status = compute(b, t->s, &(struct operands){.x = x, .w = w, .y = y, .out = out[t->s->key.way], .work = t->s->work ? y + t->y : NULL});
  return !is_refusal(status) && check(b, status, "measuring a convolution");
}

enum { NONE = -1 };

static struct cuda_choice choice_of(const struct shape *s) {
  const struct key *k = &s->key;
  const int32_t key[] = {k->way, k->type, k->tf32, k->n, k->h, k->w, k->ci, k->oh, k->ow, k->co, k->kh, k->kw, k->stride, k->pad_h, k->pad_w};
  struct cuda_choice c = {.what = "convolution", .keys = sizeof key / sizeof *key, .values = 2};
  for (int i = 0; i < c.keys; i++) c.key[i] = key[i];
  return c;
}

static int measured(struct backend *b, struct shape *s, const struct offer *offer, int n) {
  const struct key *k = &s->key;
  struct trial t = {.s = s,
                    .offer = offer,
                    .x = room_of(s, (int64_t)k->n * k->h * k->w * k->ci),
                    .w = room_of(s, (int64_t)k->co * k->kh * k->kw * k->ci),
                    .y = room_of(s, (int64_t)k->n * k->oh * k->ow * k->co)};
  struct cuda_trials trials = {.n = n, .run = try_one, .job = &t};
  bool sure;
  for (int i = 0; i < n; i++)
    if (offer[i].work > trials.bytes) trials.bytes = offer[i].work;
  trials.bytes += t.x + t.w + t.y;
  int best = cuda_fastest(b, &trials, &sure);
  struct cuda_choice c = choice_of(s);
  c.value[0] = best < 0 ? (uint64_t)NONE : (uint64_t)offer[best].algo;
  c.value[1] = best < 0 ? 0 : (uint64_t)offer[best].math;
  if (sure) cuda_choice_keep(b, &c);
  return best;
}

/* Which of the offers: what was measured, now or before, and else the library's first. */
static int choose(struct backend *b, struct shape *s, const struct offer *offer, int n) {
  struct cuda_choice c = choice_of(s);
  if (!cuda_choice_find(b, &c)) return n > 1 && cuda_may_measure(b) ? measured(b, s, offer, n) : 0;
  if (c.value[0] == (uint64_t)NONE) return NONE;
  for (int i = 0; i < n; i++)
    if (c.value[0] == (uint64_t)offer[i].algo && c.value[1] == (uint64_t)offer[i].math) return i;
  return 0;
}

/* NULL: there is no algorithm, or b->fault. */
static struct shape *shape_of(struct backend *b, const struct key *key) {
  static cudnnStatus_t (*const offers[])(struct backend *, const struct shape *, struct offer[RANKS], int *) = {
      [FORWARD] = offers_forward, [DATA] = offers_data, [WEIGHTS] = offers_weights};
  struct offer offer[RANKS];
  int n = 0;
  bool fresh;
  struct shape *s = cuda_shapes_find(b, &cuda_of(b)->conv->shapes, key, &fresh);
  if (!fresh) return s->known ? s : NULL;
  if (!describe(b, s)) return NULL;
  cudnnStatus_t status = offers[key->way](b, s, offer, &n);
  if (!is_refusal(status)) check(b, status, "choosing an algorithm"); /* what is not supported is no failure */
  int best = n > 0 ? choose(b, s, offer, n) : NONE;
  s->known = best >= 0 && apply(b, s, &offer[best]);
  return s->known ? s : NULL;
}

/* What the library is asked for and then does not do after all is done by products, from now on. */
static bool refused(const struct backend *b, struct shape *s, cudnnStatus_t status) {
  bool is = is_refusal(status) && !cuda_recording_fails(b, "a convolution", "cuDNN cannot be recorded");
  if (is) s->known = false;
  return is;
}

/* --- a call -------------------------------------------------------------------------------------------------------------------------- */

struct call {
  enum way way;
  enum dtype type;
  int64_t n, h, w, ci, oh, ow, co, taps;
  struct conv_shape s;
  bool even, pointwise; /* padded alike on both sides; a product */
  int64_t ph, pw;       /* of the bordered picture, or the picture */
  struct shape *shape;  /* the library's; NULL: products */
};

static bool aligned(const void *p) {
  return ((uintptr_t)p & 15) == 0;
}

static struct call call_of(struct backend *b, enum way way, const struct tensor *x, const struct tensor *y, const struct conv_shape *s) {
  struct call c = {.way = way, .type = x->type, .n = x->dim[0], .h = x->dim[1], .w = x->dim[2], .ci = x->dim[3], .s = *s};
  c.oh = y->dim[1], c.ow = y->dim[2], c.co = y->dim[3], c.taps = (int64_t)s->kh * s->kw;
  c.even = s->pad_top == s->pad_bottom && s->pad_left == s->pad_right;
  c.pointwise = c.taps == 1 && s->stride == 1 && c.even && s->pad_top == 0 && s->pad_left == 0;
  c.ph = c.even ? c.h : c.h + s->pad_top + s->pad_bottom;
  c.pw = c.even ? c.w : c.w + s->pad_left + s->pad_right;
  bool library = !c.pointwise && (way != WEIGHTS || c.type == DT_F32) &&
                 (cuda_of(b)->rehearsing || (aligned(x->data) && aligned(y->data)));
  if (!library) return c;
  struct key k;
  memset(&k, 0, sizeof k);
  k.way = (int32_t)way, k.type = (int32_t)c.type, k.tf32 = b->tf32 && c.type == DT_F32, k.n = (int32_t)c.n, k.h = (int32_t)c.ph, k.w = (int32_t)c.pw, k.ci = (int32_t)c.ci;
  k.oh = (int32_t)c.oh, k.ow = (int32_t)c.ow, k.co = (int32_t)c.co, k.kh = s->kh, k.kw = s->kw, k.stride = s->stride;
  k.pad_h = c.even ? s->pad_top : 0, k.pad_w = c.even ? s->pad_left : 0;
  c.shape = shape_of(b, &k);
  return c;
}

static struct window border_of(const struct call *c) {
  return (struct window){.n = c->n, .h = c->h, .w = c->w, .c = c->ci, .oh = c->oh, .ow = c->ow, .s = c->s};
}

static size_t border_room(const struct call *c) {
  return c->shape && !c->even ? cuda_round((size_t)(c->n * c->ph * c->pw * c->ci) * dtype_size(c->type)) : 0;
}

/* Pixels of a slice of unfolded pictures, of `channels` each. */
static int64_t slice_pixels(const struct call *c, int64_t channels, int64_t pixels) {
  int64_t fit = UNFOLD / (c->taps * channels * (int64_t)dtype_size(c->type));
  if (fit < 1) fit = 1;
  return fit < pixels ? fit : pixels;
}

static size_t slice_room(const struct call *c, int64_t channels, int64_t pixels) {
  return cuda_round((size_t)(slice_pixels(c, channels, pixels) * c->taps * channels) * dtype_size(c->type));
}

/* y of pixels = unfolded(x) weights, weights [channels of y, taps channels of x] (rows: as packed) or [taps channels of x, channels of y] */
static void by_products(struct backend *b, const struct call *c, void *y, int64_t pixels, int64_t co, const void *x, const struct window *k,
                        const void *weights, bool rows, void *slice) {
  int64_t step = slice_pixels(c, k->c, pixels), depth = c->taps * k->c;
  for (int64_t first = 0; first < pixels; first += step) {
    int64_t count = pixels - first < step ? pixels - first : step;
    cuda_unfold(b, slice, x, c->type, k, first, count);
    cuda_matmul(b, &(struct matmul){.tb = rows, .m = count, .n = co, .k = depth, .lda = depth, .ldb = rows ? depth : co, .ldc = co, .type = c->type,
                                    .out = c->type, .a = slice, .b = weights, .c = (char *)y + (size_t)(first * co) * dtype_size(c->type),
                                    .alpha = 1});
    if (cuda_idle(b)) return; /* a rehearsal needs to see one slice */
  }
}

/* --- slots ------------------------------------------------------------------------------------------------------------------------------

   Each is done by the library or by products. By the library: false where it refuses what it offered, and nothing was done; true also after a failure. */

static bool forward_by_library(struct backend *b, const struct call *c, struct tensor *y, const struct tensor *x, struct param *w) {
  size_t of_w = cuda_pack_room(w, c->type), border = border_room(c);
  char *room = of_w + border ? cuda_scratch(b, of_w + border) : NULL;
  const void *weights = cuda_pack(b, w, c->type, room), *in = border && room ? room + of_w : x->data;
  void *work = c->shape->work ? cuda_work(b, c->shape->work) : NULL;
  struct window k = border_of(c);
  if (cuda_idle(b) || !weights) return true;
  if (border) cuda_pad(b, room + of_w, x->data, c->type, &k);
  cudnnStatus_t status = compute(b, c->shape, &(struct operands){.x = in, .w = weights, .out = y->data, .work = work});
  if (refused(b, c->shape, status)) return false;
  check(b, status, "a convolution");
  return true;
}

static void forward_by_products(struct backend *b, const struct call *c, struct tensor *y, const struct tensor *x, struct param *w) {
  int64_t pixels = c->n * c->oh * c->ow;
  size_t of_w = cuda_pack_room(w, c->type);
  char *room = cuda_scratch(b, of_w + slice_room(c, c->ci, pixels));
  const void *weights = cuda_pack(b, w, c->type, room);
  struct window k = border_of(c);
  if (weights || cuda_of(b)->rehearsing) by_products(b, c, y->data, pixels, c->co, x->data, &k, weights, true, room ? room + of_w : NULL);
}

void cuda_conv(struct backend *b, struct tensor *y, const struct tensor *x, struct param *w, struct param *bias, const struct conv_shape *s) {
  struct call c = call_of(b, FORWARD, x, y, s);
  if (c.pointwise) {
    cuda_linear(b, y, x, w, bias, 1, 0);
    return;
  }
  if (!c.shape || !forward_by_library(b, &c, y, x, w)) forward_by_products(b, &c, y, x, w);
  if (bias && !cuda_idle(b)) cuda_add_bias(b, y, bias->w);
}

static bool data_by_library(struct backend *b, const struct call *c, struct tensor *dx, const struct tensor *dy, struct param *w) {
  size_t of_w = cuda_pack_room(w, c->type), border = border_room(c);
  char *room = of_w + border ? cuda_scratch(b, of_w + border) : NULL;
  const void *weights = cuda_pack(b, w, c->type, room);
  void *work = c->shape->work ? cuda_work(b, c->shape->work) : NULL, *out = border && room ? room + of_w : dx->data;
  struct window k = border_of(c);
  if (cuda_idle(b) || !weights) return true;
  cudnnStatus_t status = compute(b, c->shape, &(struct operands){.w = weights, .y = dy->data, .out = out, .work = work});
  if (refused(b, c->shape, status)) return false;
  if (check(b, status, "a convolution's data gradient") && border) cuda_crop(b, dx->data, out, c->type, &k);
  return true;
}

/* Weights in an order of their own: [taps, co, ci]. */
static void data_by_products(struct backend *b, const struct call *c, struct tensor *dx, const struct tensor *dy, struct param *w) {
  int64_t pixels = c->n * c->h * c->w;
  size_t of_w = cuda_round((size_t)w->count * dtype_size(c->type));
  struct window k = {.n = c->n, .h = c->oh, .w = c->ow, .c = c->co, .oh = c->h, .ow = c->w, .s = c->s, .transposed = true};
  char *room = cuda_scratch(b, of_w + slice_room(c, c->co, pixels));
  if (!room && !cuda_of(b)->rehearsing) return;
  if (w->has_copy)
    cuda_turn_weights(b, room, c->type, cuda_pack(b, w, c->type, NULL), c->co, c->ci, c->taps);
  else
    cuda_pack_weights(b, room, c->type, w->w, c->co, c->ci, c->taps, PACK_TAPS_O_I);
  by_products(b, c, dx->data, pixels, c->ci, dy->data, &k, room, false, room ? room + of_w : NULL);
}

void cuda_conv_dx(struct backend *b, struct tensor *dx, const struct tensor *dy, struct param *w, const struct conv_shape *s) {
  struct call c = call_of(b, DATA, dx, dy, s);
  if (c.pointwise)
    cuda_linear_dx(b, dx, dy, w, 1, 0);
  else if (!c.shape || !data_by_library(b, &c, dx, dy, w))
    data_by_products(b, &c, dx, dy, w);
}

/* The gradient as the library and products leave it, [co, taps, ci], in front of their scratch, goes to w->g in Python's order. */
static size_t gradient_room(const struct call *c) {
  return cuda_round((size_t)(c->co * c->taps * c->ci) * sizeof(float));
}

static bool weights_by_library(struct backend *b, const struct call *c, struct param *w, const struct tensor *x, const struct tensor *dy) {
  size_t of_g = gradient_room(c), border = border_room(c);
  char *room = cuda_scratch(b, of_g + border);
  void *work = c->shape->work ? cuda_work(b, c->shape->work) : NULL;
  const void *in = border && room ? room + of_g : x->data;
  struct window k = border_of(c);
  if (cuda_idle(b) || !room) return true;
  if (border) cuda_pad(b, room + of_g, x->data, c->type, &k);
  cudnnStatus_t status = compute(b, c->shape, &(struct operands){.x = in, .y = dy->data, .out = room, .work = work});
  if (refused(b, c->shape, status)) return false;
  if (check(b, status, "a convolution's weight gradient")) cuda_unpack_gradient(b, w->g, (const float *)(const void *)room, c->co, c->ci, c->taps);
  return true;
}

/* Slices are added up in fp32. */
static void weights_by_products(struct backend *b, const struct call *c, struct param *w, const struct tensor *x, const struct tensor *dy) {
  int64_t pixels = c->n * c->oh * c->ow, step = slice_pixels(c, c->ci, pixels), depth = c->taps * c->ci;
  size_t of_g = gradient_room(c);
  char *room = cuda_scratch(b, of_g + slice_room(c, c->ci, pixels)), *slice = room ? room + of_g : NULL;
  struct window k = border_of(c);
  for (int64_t first = 0; first < pixels; first += step) {
    int64_t count = pixels - first < step ? pixels - first : step;
    cuda_unfold(b, slice, x->data, c->type, &k, first, count);
    cuda_matmul(b, &(struct matmul){.ta = true, .m = c->co, .n = depth, .k = count, .lda = c->co, .ldb = depth, .ldc = depth, .type = c->type,
                                    .out = DT_F32, .a = (const char *)dy->data + (size_t)(first * c->co) * dtype_size(c->type), .b = slice, .c = room,
                                    .alpha = 1, .beta = first > 0});
    if (cuda_idle(b)) return; /* a rehearsal needs to see one slice */
  }
  cuda_unpack_gradient(b, w->g, (const float *)(const void *)room, c->co, c->ci, c->taps);
}

void cuda_conv_dw(struct backend *b, struct param *w, struct param *bias, const struct tensor *x, const struct tensor *dy,
                  const struct conv_shape *s) {
  struct call c = call_of(b, WEIGHTS, x, dy, s);
  if (c.pointwise) {
    cuda_linear_dw(b, w, bias, x, dy, 1);
    return;
  }
  cuda_add_column_sums(b, bias, dy);
  if (!cuda_wants_gradient(b, w)) return;
  if (!c.shape || !weights_by_library(b, &c, w, x, dy)) weights_by_products(b, &c, w, x, dy);
}
