/* Convolutions: torch.nn.functional.conv2d and its gradients, pictures NHWC, weights packed to [co, kh, kw, ci].
 *
 *   1x1 without stride and padding: a matrix product (linear.c).
 *   cuDNN: forward and data gradient of all types, weight gradient of F32. The library's own ranking for a shape is asked for once; of it the first algorithm is taken that is
 *     deterministic and multiplies directly (no Winograd, no Fourier: F32 stays F32, unless b->tf32 lets the products lose bits). It pads both sides alike, so what is padded on
 *     one side goes through a bordered copy.
 *   products of unfolded pictures, a slice of at most UNFOLD bytes at a time: the weight gradient of BF16 and F16 (the library would round the result to 16 bits, gradients are F32;
 *     in F16 a sum over all pixels that fits F32 might overflow besides, and halve the scale of the loss for nothing), addresses that are not multiples of 16 bytes, and what the
 *     library has no algorithm for. The data gradient is one, too: of dy, unfolded the other way round.
 *
 * Scratch of a call: packed weights, then a bordered picture or a slice, then a gradient to be turned back to Python's order. */
#include "library.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SHAPES = 1024, UNFOLD = 32 << 20, RANKS = 8 };
static const size_t MOST_WORK = (size_t)512 << 20; /* of an algorithm of the library's */

enum way { FORWARD, DATA, WEIGHTS };

struct key {
  int32_t way, type, tf32, n, h, w, ci, oh, ow, co, kh, kw, stride, pad_h, pad_w;
};

struct cuda_conv {
  cudnnHandle_t handle;
  struct shape {
    struct key key;
    bool used, known; /* known: the library has an algorithm */
    cudnnTensorDescriptor_t x, y;
    cudnnFilterDescriptor_t w;
    cudnnConvolutionDescriptor_t conv;
    int algo;
    size_t work;
  } shape[SHAPES];
  int count;
};

static bool check(struct backend *b, cudnnStatus_t status, const char *what) {
  if (status == CUDNN_STATUS_SUCCESS) return true;
  return cuda_library_failed(b, "cuDNN", what, (int)status, cudnn(b)->GetErrorString(status));
}

int cuda_conv_version(const struct backend *b) {
  return (int)cudnn(b)->GetVersion();
}

bool cuda_conv_open(struct backend *b, struct err *e) {
  struct cuda_conv *c = calloc(1, sizeof *c);
  if (!c) return err_set(e, ERR_FIT, "out of memory");
  cuda_of(b)->conv = c;
  cudnnStatus_t status = cudnn(b)->Create(&c->handle);
  if (status != CUDNN_STATUS_SUCCESS) c->handle = NULL;
  if (status == CUDNN_STATUS_SUCCESS) status = cudnn(b)->SetStream(c->handle, cuda_of(b)->stream);
  if (status == CUDNN_STATUS_SUCCESS) return true;
  return err_set(e, ERR_FIT, "cuDNN does not start: status %d (%s); install one for this version of CUDA, or use --device cpu", (int)status,
                 cudnn(b)->GetErrorString(status));
}

static void forget(const struct backend *b, struct cuda_conv *c) {
  for (int i = 0; i < SHAPES; i++) {
    struct shape *s = &c->shape[i];
    if (s->x) (void)cudnn(b)->DestroyTensorDescriptor(s->x);
    if (s->y) (void)cudnn(b)->DestroyTensorDescriptor(s->y);
    if (s->w) (void)cudnn(b)->DestroyFilterDescriptor(s->w);
    if (s->conv) (void)cudnn(b)->DestroyConvolutionDescriptor(s->conv);
    *s = (struct shape){.used = false};
  }
  c->count = 0;
}

void cuda_conv_close(struct backend *b) {
  struct cuda_conv *c = cuda_of(b)->conv;
  if (!c) return;
  forget(b, c);
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

/* Takes the first of a ranking that may be taken: what multiplies directly, deterministically, within the memory. */
#define TAKE_FIRST(results, returned, direct)                                                                        \
  for (int i = 0; i < returned && !s->known; i++)                                                                    \
    if (results[i].status == CUDNN_STATUS_SUCCESS && results[i].determinism == CUDNN_DETERMINISTIC && (direct) && \
        results[i].memory <= MOST_WORK && (s->key.type != DT_F32 || results[i].mathType == CUDNN_FMA_MATH || s->key.tf32 || \
        results[i].mathType == CUDNN_DEFAULT_MATH)) {                                                                \
      s->known = true;                                                                                               \
      s->algo = (int)results[i].algo;                                                                                \
      s->work = results[i].memory;                                                                                   \
    }

static cudnnStatus_t choose_forward(struct backend *b, struct shape *s) {
  cudnnConvolutionFwdAlgoPerf_t r[RANKS];
  int n = 0;
  cudnnStatus_t status = cudnn(b)->GetConvolutionForwardAlgorithm_v7(cuda_of(b)->conv->handle, s->x, s->w, s->conv, s->y, RANKS, &n, r);
  if (status == CUDNN_STATUS_SUCCESS) {
    TAKE_FIRST(r, n, r[i].algo <= CUDNN_CONVOLUTION_FWD_ALGO_DIRECT)
  }
  return status;
}

static cudnnStatus_t choose_data(struct backend *b, struct shape *s) {
  cudnnConvolutionBwdDataAlgoPerf_t r[RANKS];
  int n = 0;
  cudnnStatus_t status = cudnn(b)->GetConvolutionBackwardDataAlgorithm_v7(cuda_of(b)->conv->handle, s->w, s->y, s->conv, s->x, RANKS, &n, r);
  if (status == CUDNN_STATUS_SUCCESS) {
    TAKE_FIRST(r, n, r[i].algo == CUDNN_CONVOLUTION_BWD_DATA_ALGO_1)
  }
  return status;
}

static cudnnStatus_t choose_weights(struct backend *b, struct shape *s) {
  cudnnConvolutionBwdFilterAlgoPerf_t r[RANKS];
  int n = 0;
  cudnnStatus_t status = cudnn(b)->GetConvolutionBackwardFilterAlgorithm_v7(cuda_of(b)->conv->handle, s->x, s->y, s->conv, s->w, RANKS, &n, r);
  if (status == CUDNN_STATUS_SUCCESS) {
    TAKE_FIRST(r, n, r[i].algo == CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1)
  }
  return status;
}

/* NULL: there is no algorithm, or b->fault. */
static struct shape *shape_of(struct backend *b, const struct key *key) {
  struct cuda_conv *c = cuda_of(b)->conv;
  uint32_t hash = 2166136261u;
  for (size_t i = 0; i < sizeof *key; i++) hash = (hash ^ ((const unsigned char *)key)[i]) * 16777619u;
  if (c->count > SHAPES / 2) forget(b, c);
  int at = (int)(hash % SHAPES);
  for (; c->shape[at].used; at = (at + 1) % SHAPES)
    if (memcmp(&c->shape[at].key, key, sizeof *key) == 0) return c->shape[at].known ? &c->shape[at] : NULL;
  struct shape *s = &c->shape[at];
  s->key = *key;
  s->used = true;
  c->count++;
  if (!describe(b, s)) return NULL;
  cudnnStatus_t status = key->way == FORWARD ? choose_forward(b, s) : key->way == DATA ? choose_data(b, s) : choose_weights(b, s);
  if (status / 1000 != CUDNN_STATUS_NOT_SUPPORTED / 1000) check(b, status, "choosing an algorithm"); /* what is not supported is no failure */
  return s->known ? s : NULL;
}

/* What the library is asked for and then does not do after all is done by products, from now on. */
static bool refused(const struct backend *b, struct shape *s, cudnnStatus_t status) {
  bool is = status / 1000 == CUDNN_STATUS_NOT_SUPPORTED / 1000 && !cuda_recording_fails(b, "a convolution", "cuDNN cannot be recorded");
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

/* --- slots ------------------------------------------------------------------------------------------------------------------------------ */

void cuda_conv(struct backend *b, struct tensor *y, const struct tensor *x, struct param *w, struct param *bias, const struct conv_shape *s) {
  struct call c = call_of(b, FORWARD, x, y, s);
  if (c.pointwise) {
    cuda_linear(b, y, x, w, bias, 1, 0);
    return;
  }
  size_t of_w = cuda_pack_room(w, c.type), border = border_room(&c), slice = c.shape ? 0 : slice_room(&c, c.ci, c.n * c.oh * c.ow);
  char *room = of_w + border + slice ? cuda_scratch(b, of_w + border + slice) : NULL;
  const void *weights = cuda_pack(b, w, c.type, room), *in = x->data;
  struct window k = border_of(&c);
  void *work = c.shape && c.shape->work ? cuda_work(b, c.shape->work) : NULL;
  if (!c.shape && (weights || cuda_of(b)->rehearsing)) by_products(b, &c, y->data, c.n * c.oh * c.ow, c.co, x->data, &k, weights, true, room ? room + of_w : NULL);
  if (cuda_idle(b) || !weights) return;
  if (c.shape) {
    const float one = 1, zero = 0;
    if (border) cuda_pad(b, room + of_w, x->data, c.type, &k);
    if (border) in = room + of_w;
    cudnnStatus_t status =
        cudnn(b)->ConvolutionForward(cuda_of(b)->conv->handle, &one, c.shape->x, in, c.shape->w, weights, c.shape->conv,
                                     (cudnnConvolutionFwdAlgo_t)c.shape->algo, work, c.shape->work, &zero, c.shape->y, y->data);
    if (refused(b, c.shape, status)) {
      cuda_conv(b, y, x, w, bias, s);
      return;
    }
    check(b, status, "a convolution");
  }
  if (bias) cuda_add_bias(b, y, bias->w);
}

void cuda_conv_dx(struct backend *b, struct tensor *dx, const struct tensor *dy, struct param *w, const struct conv_shape *s) {
  struct call c = call_of(b, DATA, dx, dy, s);
  if (c.pointwise) {
    cuda_linear_dx(b, dx, dy, w, 1, 0);
    return;
  }
  const float one = 1, zero = 0;
  if (!c.shape) { /* weights in an order of their own: [taps, co, ci] */
    size_t of_w = cuda_round((size_t)w->count * dtype_size(c.type)), slice = slice_room(&c, c.co, c.n * c.h * c.w);
    struct window k = {.n = c.n, .h = c.oh, .w = c.ow, .c = c.co, .oh = c.h, .ow = c.w, .s = *s, .transposed = true};
    char *room = cuda_scratch(b, of_w + slice);
    if (!room && !cuda_of(b)->rehearsing) return;
    if (w->has_copy)
      cuda_turn_weights(b, room, c.type, cuda_pack(b, w, c.type, NULL), c.co, c.ci, c.taps);
    else
      cuda_pack_weights(b, room, c.type, w->w, c.co, c.ci, c.taps, PACK_TAPS_O_I);
    by_products(b, &c, dx->data, c.n * c.h * c.w, c.ci, dy->data, &k, room, false, room ? room + of_w : NULL);
    return;
  }
  size_t of_w = cuda_pack_room(w, c.type), border = border_room(&c);
  char *room = of_w + border ? cuda_scratch(b, of_w + border) : NULL;
  const void *weights = cuda_pack(b, w, c.type, room);
  void *work = c.shape->work ? cuda_work(b, c.shape->work) : NULL, *out = border && room ? room + of_w : dx->data;
  struct window k = border_of(&c);
  if (cuda_idle(b) || !weights) return;
  cudnnStatus_t status =
      cudnn(b)->ConvolutionBackwardData(cuda_of(b)->conv->handle, &one, c.shape->w, weights, c.shape->y, dy->data, c.shape->conv,
                                        (cudnnConvolutionBwdDataAlgo_t)c.shape->algo, work, c.shape->work, &zero, c.shape->x, out);
  if (refused(b, c.shape, status))
    cuda_conv_dx(b, dx, dy, w, s);
  else if (check(b, status, "a convolution's data gradient") && border)
    cuda_crop(b, dx->data, out, c.type, &k);
}

/* g [co, taps, ci] = the weight gradient by products; slices are added up in fp32 */
static void weights_by_products(struct backend *b, const struct call *c, float *g, const struct tensor *x, const struct tensor *dy, void *slice) {
  int64_t pixels = c->n * c->oh * c->ow, step = slice_pixels(c, c->ci, pixels), depth = c->taps * c->ci;
  struct window k = border_of(c);
  for (int64_t first = 0; first < pixels; first += step) {
    int64_t count = pixels - first < step ? pixels - first : step;
    cuda_unfold(b, slice, x->data, c->type, &k, first, count);
    cuda_matmul(b, &(struct matmul){.ta = true, .m = c->co, .n = depth, .k = count, .lda = c->co, .ldb = depth, .ldc = depth, .type = c->type,
                                    .out = DT_F32, .a = (const char *)dy->data + (size_t)(first * c->co) * dtype_size(c->type), .b = slice, .c = g,
                                    .alpha = 1, .beta = first > 0});
    if (cuda_idle(b)) return;
  }
}

static void weight_gradient(struct backend *b, struct param *w, const struct tensor *x, const struct tensor *dy, struct call c) {
  size_t of_g = cuda_round((size_t)(c.co * c.taps * c.ci) * sizeof(float)), rest = c.shape ? border_room(&c) : slice_room(&c, c.ci, c.n * c.oh * c.ow);
  char *room = cuda_scratch(b, of_g + rest);
  void *work = c.shape && c.shape->work ? cuda_work(b, c.shape->work) : NULL;
  const void *in = x->data;
  struct window k = border_of(&c);
  float *g = (float *)(void *)room;
  if (!c.shape) weights_by_products(b, &c, g, x, dy, room ? room + of_g : NULL);
  if (cuda_idle(b) || !room) return;
  if (c.shape) {
    const float one = 1, zero = 0;
    if (!c.even) cuda_pad(b, room + of_g, x->data, c.type, &k);
    if (!c.even) in = room + of_g;
    cudnnStatus_t status =
        cudnn(b)->ConvolutionBackwardFilter(cuda_of(b)->conv->handle, &one, c.shape->x, in, c.shape->y, dy->data, c.shape->conv,
                                            (cudnnConvolutionBwdFilterAlgo_t)c.shape->algo, work, c.shape->work, &zero, c.shape->w, g);
    if (refused(b, c.shape, status)) {
      c.shape = NULL;
      weight_gradient(b, w, x, dy, c);
      return;
    }
    if (!check(b, status, "a convolution's weight gradient")) return;
  }
  cuda_unpack_gradient(b, w->g, g, c.co, c.ci, c.taps);
}

void cuda_conv_dw(struct backend *b, struct param *w, struct param *bias, const struct tensor *x, const struct tensor *dy,
                  const struct conv_shape *s) {
  struct call c = call_of(b, WEIGHTS, x, dy, s);
  if (c.pointwise) {
    cuda_linear_dw(b, w, bias, x, dy, 1);
    return;
  }
  cuda_add_column_sums(b, bias, dy);
  if (cuda_wants_gradient(b, w)) weight_gradient(b, w, x, dy, c);
}
