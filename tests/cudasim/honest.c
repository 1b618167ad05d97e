/* Are the simulator's headers and stand-ins what the real ones are? Linked with the toolkit's libraries; needs no device, and says so where
 * there is one: the refusals that are expected here are those of a machine without a driver. */
#include <cublasLt.h>
#include <cuda_runtime_api.h>
#include <cudnn.h>

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "cudasim/honest.h"
#ifdef CUDASIM /* the stand-ins themselves, asked the same questions */
#include "cudasim.h"
#define honest_real honest_ours
#endif

static int number, bad;

static void result(bool ok, const char *name) {
  printf("%s %d - %s\n", ok ? "ok" : "not ok", ++number, name);
  bad += !ok;
}

static void same_numbers(void) {
  int different = 0, n = 0;
  for (; honest_ours[n].name && honest_real[n].name; n++) {
    if (honest_ours[n].value == honest_real[n].value) continue;
    printf("# %s is %lld here, %lld in the toolkit\n", honest_ours[n].name, honest_ours[n].value, honest_real[n].value);
    different++;
  }
  printf("# %d numbers compared\n", n);
  result(different == 0 && n > 300, "constants, sizes and places of members are the toolkit's");
}

static void refusals(int count) {
  cublasLtHandle_t lt = NULL;
  cudnnHandle_t dnn = NULL;
  if (count > 0) {
    printf("ok %d # SKIP there is a device: nothing is refused\n", ++number);
    return;
  }
  result(cublasLtCreate(&lt) == CUBLAS_STATUS_NOT_INITIALIZED, "cublasLtCreate without a device gives 1");
  result(cudnnCreate(&dnn) == CUDNN_STATUS_NOT_INITIALIZED, "cudnnCreate without a device gives 1001");
}

static bool matmul_descriptors(void) {
  cublasLtMatmulDesc_t d;
  cublasLtMatrixLayout_t l;
  cublasLtMatmulPreference_t p;
  int32_t op = CUBLAS_OP_T, order = CUBLASLT_ORDER_ROW, batch = 2, type = CUDA_R_32F;
  int64_t offset = 4096;
  uint32_t epilogue = CUBLASLT_EPILOGUE_BIAS, align = 16;
  uint64_t bytes = 1 << 20;
  void *bias = &op;
  bool ok = !cublasLtMatmulDescCreate(&d, CUBLAS_COMPUTE_32F, CUDA_R_32F) && !cublasLtMatrixLayoutCreate(&l, CUDA_R_16BF, 64, 32, 64) &&
            !cublasLtMatmulPreferenceCreate(&p);
  if (!ok) return false;
  ok = !cublasLtMatmulDescSetAttribute(d, CUBLASLT_MATMUL_DESC_TRANSA, &op, sizeof op) &&
       !cublasLtMatmulDescSetAttribute(d, CUBLASLT_MATMUL_DESC_TRANSB, &op, sizeof op) &&
       !cublasLtMatmulDescSetAttribute(d, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue) &&
       !cublasLtMatmulDescSetAttribute(d, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias) &&
       !cublasLtMatmulDescSetAttribute(d, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, &type, sizeof type) &&
       cublasLtMatmulDescSetAttribute(d, CUBLASLT_MATMUL_DESC_TRANSA, &op, 1) == CUBLAS_STATUS_INVALID_VALUE &&
       !cublasLtMatrixLayoutSetAttribute(l, CUBLASLT_MATRIX_LAYOUT_ORDER, &order, sizeof order) &&
       !cublasLtMatrixLayoutSetAttribute(l, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &batch, sizeof batch) &&
       !cublasLtMatrixLayoutSetAttribute(l, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &offset, sizeof offset) &&
       !cublasLtMatmulPreferenceSetAttribute(p, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &bytes, sizeof bytes) &&
       !cublasLtMatmulPreferenceSetAttribute(p, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, &align, sizeof align);
  return !cublasLtMatmulDescDestroy(d) && !cublasLtMatrixLayoutDestroy(l) && !cublasLtMatmulPreferenceDestroy(p) && ok;
}

static bool convolution_descriptors(void) {
  cudnnTensorDescriptor_t x;
  cudnnFilterDescriptor_t w;
  cudnnConvolutionDescriptor_t c;
  int n = 0, k = 0, h = 0, width = 0;
  bool ok = !cudnnCreateTensorDescriptor(&x) && !cudnnCreateFilterDescriptor(&w) && !cudnnCreateConvolutionDescriptor(&c);
  if (!ok) return false;
  ok = !cudnnSetTensor4dDescriptor(x, CUDNN_TENSOR_NHWC, CUDNN_DATA_BFLOAT16, 2, 320, 9, 6) &&
       !cudnnSetFilter4dDescriptor(w, CUDNN_DATA_BFLOAT16, CUDNN_TENSOR_NHWC, 640, 320, 3, 3) &&
       !cudnnSetConvolution2dDescriptor(c, 1, 1, 2, 2, 1, 1, CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT) &&
       !cudnnSetConvolutionMathType(c, CUDNN_FMA_MATH) && !cudnnSetConvolutionGroupCount(c, 1) &&
       !cudnnGetConvolution2dForwardOutputDim(c, x, w, &n, &k, &h, &width) && n == 2 && k == 640 && h == 5 && width == 3 &&
       cudnnSetTensor4dDescriptor(x, CUDNN_TENSOR_NHWC, CUDNN_DATA_BFLOAT16, 2, 0, 9, 6) != CUDNN_STATUS_SUCCESS;
  return !cudnnDestroyTensorDescriptor(x) && !cudnnDestroyFilterDescriptor(w) && !cudnnDestroyConvolutionDescriptor(c) && ok;
}

int main(void) {
  int count = 0, differing = 0;
#ifdef CUDASIM
  cudasim_device("nodriver", 0, NULL);
#endif
  cudaError_t e = cudaGetDeviceCount(&count);
  same_numbers();
  for (int i = 0; i < 1000; i++) differing += cudaGetErrorName((cudaError_t)i) == NULL;
  result(differing == 0, "every number has an error's name");
  result(e == cudaSuccess || e == cudaErrorInsufficientDriver || e == cudaErrorNoDevice, "cudaGetDeviceCount refuses in a known way");
  refusals(count);
  result(matmul_descriptors(), "descriptors of matmuls can be made");
  result(convolution_descriptors(), "descriptors of convolutions can be made, and give the shape that the stand-in gives");
  printf("1..%d\n", number);
  return bad != 0;
}
