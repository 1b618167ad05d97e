/* cuDNN's convolutions: as products with unfolded pictures, some output pixels at a time, in fp32. */
#include <string.h>
#include <algorithm>
#include <string>

#include "dnn.hpp"

namespace cudasim {

enum : size_t { UNFOLDED = 1 << 20, WORKSPACE = 256 << 10 }; /* floats; bytes */

static number number_of(cudnnDataType_t t) { return t == CUDNN_DATA_FLOAT ? number::f32 : t == CUDNN_DATA_HALF ? number::f16 : number::bf16; }

/* --- the numbers --------------------------------------------------------------------------------------------------------------------------- */

struct plan {
  const convolution &v;
  number type;
  bool tf32;
  long oh, ow, kh, kw, ci, co, taps; /* taps: kh kw ci, in this order */
};

static plan plan_of(const convolution &v) {
  bool tf32 = v.x.type == CUDNN_DATA_FLOAT && v.c.math != CUDNN_FMA_MATH && device.major >= 8;
  return {v, number_of(v.x.type), tf32, v.y.size[2], v.y.size[3], v.w.size[2], v.w.size[3], v.x.size[1], v.w.size[0],
          v.w.size[2] * v.w.size[3] * v.x.size[1]};
}

/* Where tap (i, j) of a filter lies: turned around in the mode that mathematicians call convolution. */
static size_t filter_at(const plan &p, long o, long i, long j) {
  bool turn = p.v.c.mode == CUDNN_CONVOLUTION;
  const long *s = p.v.w.stride;
  return (size_t)(o * s[0] + (turn ? p.kh - 1 - i : i) * s[2] + (turn ? p.kw - 1 - j : j) * s[3]);
}

/* [co, kh, kw, ci] */
static std::vector<float> load_filter(const plan &p, const void *w) {
  std::vector<float> f((size_t)(p.co * p.taps));
  const char *from = (const char *)w;
  for (long o = 0; o < p.co; o++)
    for (long i = 0; i < p.kh; i++)
      for (long j = 0; j < p.kw; j++)
        read_numbers(&f[(size_t)(((o * p.kh + i) * p.kw + j) * p.ci)], from + filter_at(p, o, i, j) * size_of(p.type), p.type, (size_t)p.ci,
                     (size_t)p.v.w.stride[1]);
  if (p.tf32) round_to_tf32(f.data(), f.size());
  return f;
}

/* The picture's pixel that tap (i, j) of output pixel `at` sees, as an offset of channel 0; -1 in the padding. */
static long pixel_at(const plan &p, long n, long at, long i, long j) {
  const convolution &v = p.v;
  long y = at / p.ow * v.c.step[0] - v.c.pad[0] + i * v.c.dilation[0], x = at % p.ow * v.c.step[1] - v.c.pad[1] + j * v.c.dilation[1];
  if (y < 0 || x < 0 || y >= v.x.size[2] || x >= v.x.size[3]) return -1;
  return n * v.x.stride[0] + y * v.x.stride[2] + x * v.x.stride[3];
}

/* f(offset in x or -1, place in the unfolded row) for each tap of an output pixel */
template <class F> static void each_tap(const plan &p, long n, long at, F f) {
  for (long i = 0; i < p.kh; i++)
    for (long j = 0; j < p.kw; j++) f(pixel_at(p, n, at, i, j), (size_t)((i * p.kw + j) * p.ci));
}

/* [count, kh, kw, ci] of output pixels first.. */
static std::vector<float> unfold(const plan &p, const void *x, long n, long first, long count) {
  std::vector<float> u((size_t)(count * p.taps));
  for (long k = 0; k < count; k++) {
    float *row = &u[(size_t)(k * p.taps)];
    each_tap(p, n, first + k, [&](long at, size_t to) {
      if (at >= 0) read_numbers(row + to, (const char *)x + (size_t)at * size_of(p.type), p.type, (size_t)p.ci, (size_t)p.v.x.stride[1]);
    });
  }
  if (p.tf32) round_to_tf32(u.data(), u.size());
  return u;
}

static std::vector<float> transposed(const std::vector<float> &a, long rows, long cols) {
  std::vector<float> t(a.size());
  for (long r = 0; r < rows; r++)
    for (long c = 0; c < cols; c++) t[(size_t)(c * rows + r)] = a[(size_t)(r * cols + c)];
  return t;
}

static size_t y_at(const plan &p, long n, long at) {
  const long *s = p.v.y.stride;
  return (size_t)(n * s[0] + at / p.ow * s[2] + at % p.ow * s[3]);
}

/* [count, co] */
static std::vector<float> load_y(const plan &p, const void *y, long n, long first, long count) {
  std::vector<float> v((size_t)(count * p.co));
  for (long k = 0; k < count; k++)
    read_numbers(&v[(size_t)(k * p.co)], (const char *)y + y_at(p, n, first + k) * size_of(p.type), p.type, (size_t)p.co, (size_t)p.v.y.stride[1]);
  if (p.tf32) round_to_tf32(v.data(), v.size());
  return v;
}

static void put(void *out, number type, size_t at, float alpha, float value, float beta) {
  float old = beta != 0 ? beta * read_number(out, type, at) : 0.0f;
  write_number(out, type, at, alpha * value + old);
}

/* f(picture, first output pixel, how many) for pieces that fit */
template <class F> static void each_piece(const plan &p, F f) {
  long most = std::max(1L, (long)UNFOLDED / p.taps), pixels = p.oh * p.ow;
  for (long n = 0; n < p.v.x.size[0]; n++)
    for (long first = 0; first < pixels; first += most) f(n, first, std::min(most, pixels - first));
}

static void forward(const plan &p, float alpha, const void *x, const void *w, float beta, void *y) {
  std::vector<float> f = transposed(load_filter(p, w), p.co, p.taps);
  each_piece(p, [&](long n, long first, long count) {
    std::vector<float> u = unfold(p, x, n, first, count), r((size_t)(count * p.co));
    multiply((size_t)count, (size_t)p.co, (size_t)p.taps, u.data(), f.data(), r.data());
    for (long k = 0; k < count; k++)
      for (long o = 0; o < p.co; o++)
        put(y, p.type, y_at(p, n, first + k) + (size_t)(o * p.v.y.stride[1]), alpha, r[(size_t)(k * p.co + o)], beta);
  });
}

static void to_data(const plan &p, float alpha, const void *w, const void *dy, float beta, void *dx) {
  std::vector<float> f = load_filter(p, w);
  const long *size = p.v.x.size, *stride = p.v.x.stride;
  std::vector<float> sum(tensor_bytes(p.v.x) / size_of(p.type));
  each_piece(p, [&](long n, long first, long count) {
    std::vector<float> d = load_y(p, dy, n, first, count), u((size_t)(count * p.taps));
    multiply((size_t)count, (size_t)p.taps, (size_t)p.co, d.data(), f.data(), u.data());
    for (long k = 0; k < count; k++)
      each_tap(p, n, first + k, [&](long at, size_t from) {
        for (long c = 0; at >= 0 && c < p.ci; c++) sum[(size_t)(at + c * stride[1])] += u[(size_t)(k * p.taps) + from + (size_t)c];
      });
  });
  for (long n = 0; n < size[0]; n++)
    for (long y = 0; y < size[2]; y++)
      for (long x = 0; x < size[3]; x++)
        for (long c = 0; c < size[1]; c++) {
          size_t at = (size_t)(n * stride[0] + y * stride[2] + x * stride[3] + c * stride[1]);
          put(dx, p.type, at, alpha, sum[at], beta);
        }
}

static void to_filter(const plan &p, float alpha, const void *x, const void *dy, float beta, void *dw) {
  std::vector<float> sum((size_t)(p.co * p.taps));
  each_piece(p, [&](long n, long first, long count) {
    std::vector<float> d = transposed(load_y(p, dy, n, first, count), count, p.co), u = unfold(p, x, n, first, count);
    multiply((size_t)p.co, (size_t)p.taps, (size_t)count, d.data(), u.data(), sum.data());
  });
  for (long o = 0; o < p.co; o++)
    for (long i = 0; i < p.kh; i++)
      for (long j = 0; j < p.kw; j++)
        for (long c = 0; c < p.ci; c++)
          put(dw, p.type, filter_at(p, o, i, j) + (size_t)(c * p.v.w.stride[1]), alpha,
              sum[(size_t)(((o * p.kh + i) * p.kw + j) * p.ci + c)], beta);
}

static long count_of(const long size[4]) { return size[0] * size[1] * size[2] * size[3]; }

/* Of zeros, to memory without gaps; out is then zeros, too. */
static bool is_nothing(const plan &p, direction way, const void *a, const void *b, float beta, void *out) {
  const convolution &v = p.v;
  const size_t x = tensor_bytes(v.x), w = filter_bytes(v.w), y = tensor_bytes(v.y);
  const size_t of_a = way == TO_DATA ? w : x, of_b = way == FORWARD ? w : y, of_out = way == FORWARD ? y : way == TO_DATA ? x : w;
  const long *size = way == FORWARD ? v.y.size : way == TO_DATA ? v.x.size : v.w.size;
  if (beta != 0 || of_out != (size_t)count_of(size) * size_of(p.type) || !all_zero(a, of_a) || !all_zero(b, of_b)) return false;
  memset(out, 0, of_out);
  return true;
}

void run_convolution(const convolution &v, direction way, float alpha, const void *a, const void *b, float beta, void *out) {
  plan p = plan_of(v);
  if (is_nothing(p, way, a, b, beta, out)) return;
  if (way == FORWARD) forward(p, alpha, a, b, beta, out);
  if (way == TO_DATA) to_data(p, alpha, a, b, beta, out);
  if (way == TO_FILTER) to_filter(p, alpha, a, b, beta, out);
}

/* --- algorithms: two for each direction, of which the second is not deterministic backwards ------------------------------------------------------ */

static const int algorithms[3][2] = {
    {CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM, CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM},
    {CUDNN_CONVOLUTION_BWD_DATA_ALGO_1, CUDNN_CONVOLUTION_BWD_DATA_ALGO_0},
    {CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1, CUDNN_CONVOLUTION_BWD_FILTER_ALGO_0},
};

bool algorithm_holds(const convolution &, direction way, int algo) { return algo == algorithms[way][0] || algo == algorithms[way][1]; }
size_t workspace_of(const convolution &, direction way, int algo) { return algo == algorithms[way][0] ? (size_t)WORKSPACE : 0; }

template <class P> static cudnnStatus_t list(const convolution &v, direction way, int wanted, int *returned, P *results, size_t workspace) {
  if (!returned || !results || wanted < 1) return CUDNN_STATUS_BAD_PARAM;
  *returned = 0;
  if (refuses_shapes()) return CUDNN_STATUS_NOT_SUPPORTED;
  for (int i = 0; i < 2; i++) {
    size_t need = workspace_of(v, way, algorithms[way][i]);
    if (need > workspace || *returned == wanted) continue;
    P *r = &results[(*returned)++];
    memset((void *)r, 0, sizeof *r);
    r->algo = (decltype(r->algo))algorithms[way][i];
    r->status = CUDNN_STATUS_SUCCESS;
    r->time = 0.1f * (float)(i + 1);
    r->memory = need;
    r->determinism = way != FORWARD && i ? CUDNN_NON_DETERMINISTIC : CUDNN_DETERMINISTIC;
    r->mathType = v.c.math;
  }
  return CUDNN_STATUS_SUCCESS;
}

/* --- the calls ---------------------------------------------------------------------------------------------------------------------------------- */

struct operand {
  const void *p;
  size_t bytes;
  const char *what;
};
struct request {
  const char *name;
  direction way;
  convolution v;
  operand a, b, out;
  float alpha, beta;
  void *workspace;
  size_t workspace_bytes;
  cudaStream_t stream;
  int algorithm;
};

static bool operand_holds(const request &r, const operand &o) {
  std::string what = std::string(r.name) + ": " + o.what;
  return expect_operand(o.p, o.bytes, 16, what.c_str());
}

static bool holds(const request &r, size_t need) {
  std::string workspace = std::string(r.name) + ": the workspace";
  if (!operand_holds(r, r.a) || !operand_holds(r, r.b) || !operand_holds(r, r.out)) return false;
  for (const operand *o : {&r.a, &r.b})
    if ((const char *)o->p < (const char *)r.out.p + r.out.bytes && (const char *)r.out.p < (const char *)o->p + o->bytes) {
      violation("%s: %s overlaps %s", r.name, r.out.what, o->what);
      return false;
    }
  if (r.workspace_bytes < need) {
    violation("%s: the workspace has %zu bytes, the algorithm needs %zu", r.name, r.workspace_bytes, need);
    return false;
  }
  return r.workspace_bytes == 0 || expect_operand(r.workspace, r.workspace_bytes, 16, workspace.c_str());
}

static void perform(const request &r) {
  open_memory o;
  const char *name = r.name;
  set_running([name]() { return std::string(name); });
  spoil_workspace(r.workspace, r.workspace_bytes);
  for (const operand *i : {&r.a, &r.b}) expect_written(i->p, i->bytes, (std::string(name) + ": " + i->what).c_str());
  run_convolution(r.v, r.way, r.alpha, r.a.p, r.b.p, r.beta, (void *)r.out.p);
  set_running(nullptr);
  pass_time(name, r.algorithm);
}

static cudnnStatus_t start(request r, int algo, const void *alpha, const void *beta, cudnnHandle_t handle) {
  if (!algorithm_holds(r.v, r.way, algo)) {
    violation("%s: algorithm %d is not one for this layout", r.name, algo);
    return CUDNN_STATUS_NOT_SUPPORTED;
  }
  if (!expect_host(alpha, 4, "a convolution's alpha") || !expect_host(beta, 4, "a convolution's beta")) return CUDNN_STATUS_BAD_PARAM;
  r.alpha = *(const float *)alpha;
  r.beta = *(const float *)beta;
  r.algorithm = algo;
  if (!holds(r, workspace_of(r.v, r.way, algo))) return CUDNN_STATUS_BAD_PARAM;
  if (refuses_calls()) return CUDNN_STATUS_NOT_SUPPORTED;
  return dnn_status(enqueue(handle->stream, {r.name, [r]() { perform(r); }, NULL, 0}));
}

/* Trying algorithms overwrites the output: nothing useful is left there. Waits. */
static cudnnStatus_t try_all(const request &r, cudnnHandle_t handle) {
  if (!holds(r, 0)) return CUDNN_STATUS_BAD_PARAM;
  void *out = (void *)r.out.p, *workspace = r.workspace;
  size_t bytes = r.out.bytes, workspace_bytes = r.workspace_bytes;
  cudaError_t e = enqueue(handle->stream, {r.name, [=]() {
                                             open_memory o;
                                             memset(out, 0xff, bytes);
                                             spoil_workspace(workspace, workspace_bytes);
                                           }, NULL, 0});
  drain_all();
  return dnn_status(e != cudaSuccess ? e : sticky());
}

static cudnnStatus_t ask_workspace(const convolution &v, direction way, int algo, size_t *bytes) {
  if (!bytes) return CUDNN_STATUS_BAD_PARAM_NULL_POINTER;
  *bytes = 0;
  if (!algorithm_holds(v, way, algo)) return CUDNN_STATUS_NOT_SUPPORTED;
  *bytes = workspace_of(v, way, algo);
  return CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t count(int *n) {
  if (!n) return CUDNN_STATUS_BAD_PARAM_NULL_POINTER;
  *n = 2;
  return CUDNN_STATUS_SUCCESS;
}

}  // namespace cudasim

using namespace cudasim;

#define CONVOLUTION(x, w, c, y) \
  convolution v;                \
  if (!get_convolution(&v, handle, x, w, c, y, __func__)) return CUDNN_STATUS_BAD_PARAM

extern "C" {

cudnnStatus_t cudnnGetConvolutionForwardAlgorithmMaxCount(cudnnHandle_t, int *n) {
  DNN_API;
  return count(n);
}
cudnnStatus_t cudnnGetConvolutionBackwardDataAlgorithmMaxCount(cudnnHandle_t, int *n) {
  DNN_API;
  return count(n);
}
cudnnStatus_t cudnnGetConvolutionBackwardFilterAlgorithmMaxCount(cudnnHandle_t, int *n) {
  DNN_API;
  return count(n);
}
cudnnStatus_t cudnnGetConvolutionForwardAlgorithm_v7(cudnnHandle_t handle, const cudnnTensorDescriptor_t x, const cudnnFilterDescriptor_t w,
                                                     const cudnnConvolutionDescriptor_t conv, const cudnnTensorDescriptor_t y,
                                                     const int wanted, int *returned, cudnnConvolutionFwdAlgoPerf_t *results) {
  DNN_API;
  CONVOLUTION(x, w, conv, y);
  return list(v, FORWARD, wanted, returned, results, SIZE_MAX);
}
cudnnStatus_t cudnnGetConvolutionBackwardDataAlgorithm_v7(cudnnHandle_t handle, const cudnnFilterDescriptor_t w,
                                                          const cudnnTensorDescriptor_t dy, const cudnnConvolutionDescriptor_t conv,
                                                          const cudnnTensorDescriptor_t dx, const int wanted, int *returned,
                                                          cudnnConvolutionBwdDataAlgoPerf_t *results) {
  DNN_API;
  CONVOLUTION(dx, w, conv, dy);
  return list(v, TO_DATA, wanted, returned, results, SIZE_MAX);
}
cudnnStatus_t cudnnGetConvolutionBackwardFilterAlgorithm_v7(cudnnHandle_t handle, const cudnnTensorDescriptor_t x,
                                                            const cudnnTensorDescriptor_t dy, const cudnnConvolutionDescriptor_t conv,
                                                            const cudnnFilterDescriptor_t dw, const int wanted, int *returned,
                                                            cudnnConvolutionBwdFilterAlgoPerf_t *results) {
  DNN_API;
  CONVOLUTION(x, dw, conv, dy);
  return list(v, TO_FILTER, wanted, returned, results, SIZE_MAX);
}
cudnnStatus_t cudnnFindConvolutionForwardAlgorithmEx(cudnnHandle_t handle, const cudnnTensorDescriptor_t xd, const void *x,
                                                     const cudnnFilterDescriptor_t wd, const void *w, const cudnnConvolutionDescriptor_t conv,
                                                     const cudnnTensorDescriptor_t yd, void *y, const int wanted, int *returned,
                                                     cudnnConvolutionFwdAlgoPerf_t *results, void *workspace, size_t bytes) {
  DNN_API;
  CONVOLUTION(xd, wd, conv, yd);
  cudnnStatus_t s = try_all({__func__, FORWARD, v, {x, tensor_bytes(v.x), "x"}, {w, filter_bytes(v.w), "w"}, {y, tensor_bytes(v.y), "y"}, 1, 0,
                             workspace, bytes, NULL, 0}, handle);
  return s != CUDNN_STATUS_SUCCESS ? s : list(v, FORWARD, wanted, returned, results, bytes);
}
cudnnStatus_t cudnnFindConvolutionBackwardDataAlgorithmEx(cudnnHandle_t handle, const cudnnFilterDescriptor_t wd, const void *w,
                                                          const cudnnTensorDescriptor_t dyd, const void *dy,
                                                          const cudnnConvolutionDescriptor_t conv, const cudnnTensorDescriptor_t dxd, void *dx,
                                                          const int wanted, int *returned, cudnnConvolutionBwdDataAlgoPerf_t *results,
                                                          void *workspace, size_t bytes) {
  DNN_API;
  CONVOLUTION(dxd, wd, conv, dyd);
  cudnnStatus_t s = try_all({__func__, TO_DATA, v, {w, filter_bytes(v.w), "w"}, {dy, tensor_bytes(v.y), "dy"}, {dx, tensor_bytes(v.x), "dx"}, 1, 0,
                             workspace, bytes, NULL, 0}, handle);
  return s != CUDNN_STATUS_SUCCESS ? s : list(v, TO_DATA, wanted, returned, results, bytes);
}
cudnnStatus_t cudnnFindConvolutionBackwardFilterAlgorithmEx(cudnnHandle_t handle, const cudnnTensorDescriptor_t xd, const void *x,
                                                            const cudnnTensorDescriptor_t dyd, const void *dy,
                                                            const cudnnConvolutionDescriptor_t conv, const cudnnFilterDescriptor_t dwd,
                                                            void *dw, const int wanted, int *returned,
                                                            cudnnConvolutionBwdFilterAlgoPerf_t *results, void *workspace, size_t bytes) {
  DNN_API;
  CONVOLUTION(xd, dwd, conv, dyd);
  cudnnStatus_t s = try_all({__func__, TO_FILTER, v, {x, tensor_bytes(v.x), "x"}, {dy, tensor_bytes(v.y), "dy"}, {dw, filter_bytes(v.w), "dw"}, 1, 0,
                             workspace, bytes, NULL, 0}, handle);
  return s != CUDNN_STATUS_SUCCESS ? s : list(v, TO_FILTER, wanted, returned, results, bytes);
}
cudnnStatus_t cudnnGetConvolutionForwardWorkspaceSize(cudnnHandle_t handle, const cudnnTensorDescriptor_t x, const cudnnFilterDescriptor_t w,
                                                      const cudnnConvolutionDescriptor_t conv, const cudnnTensorDescriptor_t y,
                                                      cudnnConvolutionFwdAlgo_t algo, size_t *bytes) {
  DNN_API;
  CONVOLUTION(x, w, conv, y);
  return ask_workspace(v, FORWARD, algo, bytes);
}
cudnnStatus_t cudnnGetConvolutionBackwardDataWorkspaceSize(cudnnHandle_t handle, const cudnnFilterDescriptor_t w,
                                                           const cudnnTensorDescriptor_t dy, const cudnnConvolutionDescriptor_t conv,
                                                           const cudnnTensorDescriptor_t dx, cudnnConvolutionBwdDataAlgo_t algo, size_t *bytes) {
  DNN_API;
  CONVOLUTION(dx, w, conv, dy);
  return ask_workspace(v, TO_DATA, algo, bytes);
}
cudnnStatus_t cudnnGetConvolutionBackwardFilterWorkspaceSize(cudnnHandle_t handle, const cudnnTensorDescriptor_t x,
                                                             const cudnnTensorDescriptor_t dy, const cudnnConvolutionDescriptor_t conv,
                                                             const cudnnFilterDescriptor_t dw, cudnnConvolutionBwdFilterAlgo_t algo,
                                                             size_t *bytes) {
  DNN_API;
  CONVOLUTION(x, dw, conv, dy);
  return ask_workspace(v, TO_FILTER, algo, bytes);
}

cudnnStatus_t cudnnConvolutionForward(cudnnHandle_t handle, const void *alpha, const cudnnTensorDescriptor_t xd, const void *x,
                                      const cudnnFilterDescriptor_t wd, const void *w, const cudnnConvolutionDescriptor_t conv,
                                      cudnnConvolutionFwdAlgo_t algo, void *workspace, size_t bytes, const void *beta,
                                      const cudnnTensorDescriptor_t yd, void *y) {
  DNN_API;
  CONVOLUTION(xd, wd, conv, yd);
  return start({__func__, FORWARD, v, {x, tensor_bytes(v.x), "x"}, {w, filter_bytes(v.w), "w"}, {y, tensor_bytes(v.y), "y"}, 0, 0, workspace, bytes,
                NULL, 0}, algo, alpha, beta, handle);
}
cudnnStatus_t cudnnConvolutionBackwardData(cudnnHandle_t handle, const void *alpha, const cudnnFilterDescriptor_t wd, const void *w,
                                           const cudnnTensorDescriptor_t dyd, const void *dy, const cudnnConvolutionDescriptor_t conv,
                                           cudnnConvolutionBwdDataAlgo_t algo, void *workspace, size_t bytes, const void *beta,
                                           const cudnnTensorDescriptor_t dxd, void *dx) {
  DNN_API;
  CONVOLUTION(dxd, wd, conv, dyd);
  return start({__func__, TO_DATA, v, {w, filter_bytes(v.w), "w"}, {dy, tensor_bytes(v.y), "dy"}, {dx, tensor_bytes(v.x), "dx"}, 0, 0, workspace,
                bytes, NULL, 0}, algo, alpha, beta, handle);
}
cudnnStatus_t cudnnConvolutionBackwardFilter(cudnnHandle_t handle, const void *alpha, const cudnnTensorDescriptor_t xd, const void *x,
                                             const cudnnTensorDescriptor_t dyd, const void *dy, const cudnnConvolutionDescriptor_t conv,
                                             cudnnConvolutionBwdFilterAlgo_t algo, void *workspace, size_t bytes, const void *beta,
                                             const cudnnFilterDescriptor_t dwd, void *dw) {
  DNN_API;
  CONVOLUTION(xd, dwd, conv, dyd);
  return start({__func__, TO_FILTER, v, {x, tensor_bytes(v.x), "x"}, {dy, tensor_bytes(v.y), "dy"}, {dw, filter_bytes(v.w), "dw"}, 0, 0, workspace,
                bytes, NULL, 0}, algo, alpha, beta, handle);
}
}
