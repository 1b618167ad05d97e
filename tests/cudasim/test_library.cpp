/* cuBLASLt and cuDNN: numbers against plain loops, and arguments that the documentation forbids. */
#include "test.hpp"

#include <math.h>

static float value(int i) { return (float)((i * 37 + 11) % 101 - 50) / 32.0f; }

template <class T> static T *values_on_device(size_t n) {
  std::vector<T> v(n);
  for (size_t i = 0; i < n; i++) v[i] = T(value((int)i));
  return on_device(v);
}

/* --- cuBLASLt -------------------------------------------------------------------------------------------------------------------------------- */

struct matmul_case {
  cublasLtHandle_t handle;
  cublasLtMatmulDesc_t desc;
  cublasLtMatrixLayout_t a, b, c;
  cublasLtMatmulPreference_t pref;
  cublasLtMatmulHeuristicResult_t results[4];
  int n_results;
  char *workspace;

  matmul_case(cudaDataType in, cudaDataType out, int m, int n, int k, bool ta, bool tb, int batch) {
    int32_t ops[2] = {ta ? CUBLAS_OP_T : CUBLAS_OP_N, tb ? CUBLAS_OP_T : CUBLAS_OP_N};
    int64_t offset = 64 * 64;
    cublasLtCreate(&handle);
    cublasLtMatmulDescCreate(&desc, CUBLAS_COMPUTE_32F, CUDA_R_32F);
    cublasLtMatmulDescSetAttribute(desc, CUBLASLT_MATMUL_DESC_TRANSA, &ops[0], 4);
    cublasLtMatmulDescSetAttribute(desc, CUBLASLT_MATMUL_DESC_TRANSB, &ops[1], 4);
    cublasLtMatrixLayoutCreate(&a, in, (uint64_t)(ta ? k : m), (uint64_t)(ta ? m : k), 64);
    cublasLtMatrixLayoutCreate(&b, in, (uint64_t)(tb ? n : k), (uint64_t)(tb ? k : n), 64);
    cublasLtMatrixLayoutCreate(&c, out, (uint64_t)m, (uint64_t)n, 64);
    for (cublasLtMatrixLayout_t l : {a, b, c}) {
      cublasLtMatrixLayoutSetAttribute(l, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &batch, sizeof batch);
      cublasLtMatrixLayoutSetAttribute(l, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &offset, sizeof offset);
    }
    cublasLtMatmulPreferenceCreate(&pref);
    uint64_t bytes = 4 << 20;
    cublasLtMatmulPreferenceSetAttribute(pref, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &bytes, sizeof bytes);
    workspace = device_memory<char>(bytes);
  }
  ~matmul_case() {
    cublasLtDestroy(handle), cublasLtMatmulDescDestroy(desc), cublasLtMatmulPreferenceDestroy(pref), cudaFree(workspace);
    for (cublasLtMatrixLayout_t l : {a, b, c}) cublasLtMatrixLayoutDestroy(l);
  }
  void choose() {
    EXPECT(cublasLtMatmulAlgoGetHeuristic(handle, desc, a, b, c, c, pref, 4, results, &n_results) == CUBLAS_STATUS_SUCCESS && n_results == 2);
  }
  cublasStatus_t run(const void *x, const void *y, void *z, float alpha, float beta, size_t bytes) {
    return cublasLtMatmul(handle, desc, &alpha, x, a, y, b, &beta, z, c, z, c, &results[0].algo, workspace, bytes, 0);
  }
};

template <class T> static void one_product(cudaDataType type, bool ta, bool tb, double tolerance) {
  enum { M = 13, N = 35, K = 29, BATCH = 2, ONE = 64 * 64 };
  T *a = values_on_device<T>(BATCH * ONE), *b = values_on_device<T>(BATCH * ONE), *c = values_on_device<T>(BATCH * ONE), *bias = values_on_device<T>(M);
  matmul_case t(type, type, M, N, K, ta, tb, BATCH);
  uint32_t epilogue = CUBLASLT_EPILOGUE_BIAS;
  cublasLtMatmulDescSetAttribute(t.desc, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue);
  cublasLtMatmulDescSetAttribute(t.desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias);
  t.choose();
  EXPECT(t.run(a, b, c, 0.5f, 2.0f, 4 << 20) == CUBLAS_STATUS_SUCCESS);
  std::vector<T> ha = on_host(a, BATCH * ONE), hc = on_host(c, BATCH * ONE);
  double worst = 0;
  for (int i = 0; i < BATCH; i++)
    for (int m = 0; m < M; m++)
      for (int n = 0; n < N; n++) {
        double s = 0;
        for (int k = 0; k < K; k++) s += (double)(float)ha[i * ONE + (ta ? m * 64 + k : k * 64 + m)] * (float)ha[i * ONE + (tb ? k * 64 + n : n * 64 + k)];
        double want = 0.5 * s + 2 * (float)T(value(i * ONE + n * 64 + m)) + (float)T(value(m));
        worst = fmax(worst, fabs((float)hc[i * ONE + n * 64 + m] - want) / fmax(1, fabs(want)));
      }
  EXPECT(worst < tolerance);
  cudaFree(a), cudaFree(b), cudaFree(c), cudaFree(bias);
}

static void products() {
  for (int i = 0; i < 4; i++) {
    one_product<float>(CUDA_R_32F, i & 1, i & 2, 1e-5);
    one_product<__nv_bfloat16>(CUDA_R_16BF, i & 1, i & 2, 0.00391);
    one_product<__half>(CUDA_R_16F, i & 1, i & 2, 0.000489);
  }
}

/* Row-major matrices, bf16 in, fp32 out. */
static void row_order() {
  matmul_case t(CUDA_R_16BF, CUDA_R_32F, 8, 8, 8, false, false, 1);
  int32_t row = CUBLASLT_ORDER_ROW;
  for (cublasLtMatrixLayout_t l : {t.a, t.b, t.c}) cublasLtMatrixLayoutSetAttribute(l, CUBLASLT_MATRIX_LAYOUT_ORDER, &row, sizeof row);
  t.choose();
  __nv_bfloat16 *a = values_on_device<__nv_bfloat16>(512);
  float *c = values_on_device<float>(512);
  EXPECT(t.run(a, a, c, 1, 0, 4 << 20) == CUBLAS_STATUS_SUCCESS);
  std::vector<float> h = on_host(c, 512);
  float s = 0;
  for (int k = 0; k < 8; k++) s += (float)__nv_bfloat16(value(2 * 64 + k)) * (float)__nv_bfloat16(value(k * 64 + 5));
  EXPECT(fabsf(h[2 * 64 + 5] - s) < 1e-5f);
  cudaFree(a), cudaFree(c);
}

static void wrong_products() {
  matmul_case t(CUDA_R_32F, CUDA_R_32F, 8, 8, 8, false, false, 1);
  float *a = values_on_device<float>(600), *c = values_on_device<float>(600), host[600];
  t.choose();
  EXPECT(t.run(a + 1, a, c, 1, 0, 4 << 20) != CUBLAS_STATUS_SUCCESS);
  FOUND("A is not aligned to 256 bytes");
  EXPECT(t.run(a, host, c, 1, 0, 4 << 20) != CUBLAS_STATUS_SUCCESS);
  EXPECT(cudasim_violations() == 1); /* its address decides which: not aligned, or on the host */
  cudasim_forgive();
  EXPECT(t.run(a, a, c, 1, 0, 1000) != CUBLAS_STATUS_SUCCESS);
  FOUND("the workspace is smaller than the algorithm's");
  EXPECT(t.run(a, a, a, 1, 0, 4 << 20) != CUBLAS_STATUS_SUCCESS);
  FOUND("D overlaps A or B");
  EXPECT(t.run(a, a, c + 192, 1, 0, 4 << 20) != CUBLAS_STATUS_SUCCESS); /* 7 columns of 64 and one of 8 */
  FOUND("D: 1824 bytes where the block has 1632 left");
  cudaFree(a), cudaFree(c);
}

static void wrong_descriptors() {
  matmul_case t(CUDA_R_32F, CUDA_R_32F, 8, 8, 8, false, false, 1);
  float *a = values_on_device<float>(600), *c = values_on_device<float>(600);
  int64_t ld = 7;
  t.choose();
  cublasLtMatrixLayoutSetAttribute(t.b, CUBLASLT_MATRIX_LAYOUT_LD, &ld, sizeof ld);
  EXPECT(t.run(a, a, c, 1, 0, 4 << 20) != CUBLAS_STATUS_SUCCESS);
  FOUND("a leading dimension is smaller");
  EXPECT(cublasLtMatrixLayoutSetAttribute(t.b, CUBLASLT_MATRIX_LAYOUT_LD, &ld, 4) == CUBLAS_STATUS_INVALID_VALUE);
  FOUND("an attribute of 8 bytes was given 4");
  ld = 64;
  cublasLtMatrixLayoutSetAttribute(t.b, CUBLASLT_MATRIX_LAYOUT_LD, &ld, sizeof ld);
  uint64_t rows = 9;
  cublasLtMatrixLayoutSetAttribute(t.b, CUBLASLT_MATRIX_LAYOUT_ROWS, &rows, sizeof rows);
  t.run(a, a, c, 1, 0, 4 << 20);
  FOUND("the inner dimensions of A and B differ");
  rows = 8;
  cublasLtMatrixLayoutSetAttribute(t.b, CUBLASLT_MATRIX_LAYOUT_ROWS, &rows, sizeof rows);
  uint32_t epilogue = CUBLASLT_EPILOGUE_BIAS, type = CUDA_R_16BF;
  cublasLtMatmulDescSetAttribute(t.desc, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue);
  t.run(a, a, c, 1, 0, 4 << 20);
  FOUND("the bias is NULL");
  cublasLtMatmulDescSetAttribute(t.desc, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, &type, sizeof type);
  t.run(a, a, c, 1, 0, 4 << 20);
  FOUND("the bias must have the type of D");
  cublasLtMatrixLayoutSetAttribute(t.b, CUBLASLT_MATRIX_LAYOUT_TYPE, &type, sizeof type);
  t.run(a, a, c, 1, 0, 4 << 20);
  FOUND("A and B have different types");
  EXPECT(cublasLtMatmulDescDestroy(NULL) != CUBLAS_STATUS_SUCCESS);
  FOUND("the matmul descriptor is NULL");
  cudaFree(a), cudaFree(c);
}

static void unwritten_input() {
  matmul_case t(CUDA_R_32F, CUDA_R_32F, 64, 8, 64, false, false, 1);
  float *a = device_memory<float>(64 * 64), *c = values_on_device<float>(600);
  t.choose();
  cudaMemset(a, 0, 64 * 64 * 4 - 4);
  EXPECT(t.run(a, a, c, 1, 0, 4 << 20) == CUBLAS_STATUS_SUCCESS);
  cudaDeviceSynchronize();
  FOUND("cublasLtMatmul: A holds memory that was never written (byte 16380 of 16384)");
  cudaFree(a), cudaFree(c);
}

/* --- cuDNN --------------------------------------------------------------------------------------------------------------------------------------- */

struct convolution_case {
  enum { N = 2, C = 5, K = 7, H = 9, W = 6 };
  cudnnHandle_t handle;
  cudnnTensorDescriptor_t x, y;
  cudnnFilterDescriptor_t w;
  cudnnConvolutionDescriptor_t c;
  int step, oh, ow, n, k;
  void *workspace;
  enum { BYTES = 1 << 20 };

  convolution_case(cudnnTensorFormat_t format, cudnnDataType_t type, int stride) : step(stride) {
    cudnnCreate(&handle), cudnnCreateTensorDescriptor(&x), cudnnCreateTensorDescriptor(&y), cudnnCreateFilterDescriptor(&w);
    cudnnCreateConvolutionDescriptor(&c);
    cudnnSetTensor4dDescriptor(x, format, type, N, C, H, W);
    cudnnSetFilter4dDescriptor(w, type, format, K, C, 3, 3);
    cudnnSetConvolution2dDescriptor(c, 1, 1, step, step, 1, 1, CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT);
    cudnnSetConvolutionMathType(c, CUDNN_FMA_MATH);
    EXPECT(cudnnGetConvolution2dForwardOutputDim(c, x, w, &n, &k, &oh, &ow) == CUDNN_STATUS_SUCCESS && n == N && k == K);
    cudnnSetTensor4dDescriptor(y, format, type, n, k, oh, ow);
    workspace = device_memory<char>(BYTES);
  }
  ~convolution_case() {
    cudnnDestroy(handle), cudnnDestroyTensorDescriptor(x), cudnnDestroyTensorDescriptor(y), cudnnDestroyFilterDescriptor(w);
    cudnnDestroyConvolutionDescriptor(c), cudaFree(workspace);
  }
};

/* Offsets in NHWC or NCHW. */
static int place(cudnnTensorFormat_t f, int c_count, int h_count, int w_count, int n, int c, int h, int w) {
  return f == CUDNN_TENSOR_NHWC ? ((n * h_count + h) * w_count + w) * c_count + c : ((n * c_count + c) * h_count + h) * w_count + w;
}

template <class F> static void each_product(const convolution_case &t, cudnnTensorFormat_t f, F use) {
  typedef convolution_case q;
  for (int n = 0; n < q::N; n++)
    for (int k = 0; k < q::K; k++)
      for (int i = 0; i < t.oh; i++)
        for (int j = 0; j < t.ow; j++)
          for (int c = 0; c < q::C; c++)
            for (int r = 0; r < 3; r++)
              for (int s = 0; s < 3; s++) {
                int h = i * t.step - 1 + r, w = j * t.step - 1 + s;
                if (h < 0 || w < 0 || h >= q::H || w >= q::W) continue;
                use(place(f, q::C, q::H, q::W, n, c, h, w), place(f, q::C, 3, 3, k, c, r, s), place(f, q::K, t.oh, t.ow, n, k, i, j));
              }
}

template <class T> static double difference(const T *device, const std::vector<double> &want) {
  std::vector<T> h = on_host(device, want.size());
  double worst = 0;
  for (size_t i = 0; i < want.size(); i++) worst = fmax(worst, fabs((float)h[i] - want[i]) / fmax(1, fabs(want[i])));
  return worst;
}

template <class T> static void one_convolution(cudnnTensorFormat_t f, cudnnDataType_t type, int step, double tolerance) {
  convolution_case t(f, type, step);
  typedef convolution_case q;
  size_t nx = q::N * q::C * q::H * q::W, nw = q::K * q::C * 9, ny = (size_t)(q::N * q::K * t.oh * t.ow);
  T *x = values_on_device<T>(nx), *w = values_on_device<T>(nw), *y = values_on_device<T>(ny), *dx = device_memory<T>(nx), *dw = values_on_device<T>(nw);
  std::vector<T> vx = on_host(x, nx), vw = on_host(w, nw), vy = on_host(y, ny);
  std::vector<double> sx(nx), sw(nw), sy(ny);
  each_product(t, f, [&](int ix, int iw, int iy) {
    sy[iy] += (double)(float)vx[ix] * (float)vw[iw];
    sx[ix] += (double)(float)vy[iy] * (float)vw[iw];
    sw[iw] += (double)(float)vy[iy] * (float)vx[ix];
  });
  for (size_t i = 0; i < nw; i++) sw[i] += (float)vw[i]; /* beta 1 */
  float one = 1, none = 0;
  EXPECT(!cudnnConvolutionBackwardData(t.handle, &one, t.w, w, t.y, y, t.c, CUDNN_CONVOLUTION_BWD_DATA_ALGO_1, t.workspace, q::BYTES, &none, t.x, dx));
  EXPECT(!cudnnConvolutionBackwardFilter(t.handle, &one, t.x, x, t.y, y, t.c, CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1, t.workspace, q::BYTES, &one, t.w, dw));
  EXPECT(!cudnnConvolutionForward(t.handle, &one, t.x, x, t.w, w, t.c, CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM, t.workspace, q::BYTES, &none, t.y, y));
  EXPECT(difference(dx, sx) < tolerance && difference(dw, sw) < tolerance && difference(y, sy) < tolerance);
  cudaFree(x), cudaFree(w), cudaFree(y), cudaFree(dx), cudaFree(dw);
}

static void convolutions() {
  for (int step = 1; step < 3; step++) {
    one_convolution<float>(CUDNN_TENSOR_NHWC, CUDNN_DATA_FLOAT, step, 1e-5);
    one_convolution<float>(CUDNN_TENSOR_NCHW, CUDNN_DATA_FLOAT, step, 1e-5);
    one_convolution<__nv_bfloat16>(CUDNN_TENSOR_NHWC, CUDNN_DATA_BFLOAT16, step, 0.00391);
    one_convolution<__half>(CUDNN_TENSOR_NHWC, CUDNN_DATA_HALF, step, 0.000489);
  }
}

static void algorithms() {
  convolution_case t(CUDNN_TENSOR_NHWC, CUDNN_DATA_FLOAT, 1);
  cudnnConvolutionBwdDataAlgoPerf_t r[4];
  int n = 0;
  size_t bytes = 0;
  EXPECT(!cudnnGetConvolutionBackwardDataAlgorithm_v7(t.handle, t.w, t.y, t.c, t.x, 4, &n, r) && n == 2);
  EXPECT(r[0].determinism == CUDNN_DETERMINISTIC && r[1].determinism == CUDNN_NON_DETERMINISTIC);
  EXPECT(!cudnnGetConvolutionBackwardDataWorkspaceSize(t.handle, t.w, t.y, t.c, t.x, r[0].algo, &bytes) && bytes == r[0].memory);
  float *x = values_on_device<float>(600), *w = values_on_device<float>(400), *y = values_on_device<float>(800), one = 1, none = 0;
  EXPECT(!cudnnFindConvolutionBackwardDataAlgorithmEx(t.handle, t.w, w, t.y, y, t.c, t.x, x, 4, &n, r, t.workspace, 1000) && n == 1);
  EXPECT(cudnnConvolutionForward(t.handle, &one, t.x, x, t.w, w, t.c, CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM, t.workspace, 100, &none, t.y, y));
  FOUND("the workspace has 100 bytes");
  EXPECT(cudnnConvolutionForward(t.handle, &one, t.x, x, t.w, w, t.c, CUDNN_CONVOLUTION_FWD_ALGO_FFT, NULL, 0, &none, t.y, y));
  FOUND("is not one for this layout");
  EXPECT(cudnnConvolutionForward(t.handle, &one, t.x, x + 1, t.w, w, t.c, CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM, NULL, 0, &none, t.y, y));
  FOUND("x is not aligned to 16 bytes");
  EXPECT(cudnnConvolutionForward(t.handle, &one, t.x, x, t.w, w, t.c, CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM, NULL, 0, &none, t.x, y));
  FOUND("y has not the shape");
  EXPECT(cudnnConvolutionForward(t.handle, &one, NULL, x, t.w, w, t.c, CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM, NULL, 0, &none, t.y, y));
  FOUND("the tensor descriptor is NULL");
  cudaFree(x), cudaFree(w), cudaFree(y);
}

/* A forward convolution's milliseconds between two events. */
static float seen(const convolution_case &t, cudnnConvolutionFwdAlgo_t algo, const float *x, const float *w, float *y) {
  cudaEvent_t begin, end;
  float one = 1, none = 0, ms = -1;
  cudaEventCreate(&begin), cudaEventCreate(&end);
  EXPECT(!cudaEventRecord(begin, NULL));
  EXPECT(!cudnnConvolutionForward(t.handle, &one, t.x, x, t.w, w, t.c, algo, t.workspace, t.BYTES, &none, t.y, y));
  EXPECT(!cudaEventRecord(end, NULL) && !cudaEventSynchronize(end) && !cudaEventElapsedTime(&ms, begin, end));
  cudaEventDestroy(begin), cudaEventDestroy(end);
  return ms;
}

static void made_up_times() {
  convolution_case t(CUDNN_TENSOR_NHWC, CUDNN_DATA_FLOAT, 1);
  float *x = values_on_device<float>(600), *w = values_on_device<float>(400), *y = values_on_device<float>(800);
  cudasim_time("cudnnConvolutionForward", CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM, 7);
  EXPECT(seen(t, CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM, x, w, y) == 7);
  EXPECT(seen(t, CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM, x, w, y) == 0);
  cudaFree(x), cudaFree(w), cudaFree(y);
}

const std::vector<test> library_tests = {
    {"products of every type and transposition", products},
    {"row order, fp32 from bf16", row_order},
    {"products with wrong memory are found", wrong_products},
    {"products with wrong descriptors are found", wrong_descriptors},
    {"products of memory never written are found", unwritten_input},
    {"convolutions of every type, forward and backward", convolutions},
    {"algorithms; wrong convolutions are found", algorithms},
    {"times that are made up", made_up_times},
};
