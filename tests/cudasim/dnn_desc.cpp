/* cuDNN's handles and descriptors, and the rules of convolutions. */
#include <string.h>

#include "dnn.hpp"

namespace cudasim {

const char *const DNN_HANDLE = "cuDNN handle", *const DNN_TENSOR = "tensor descriptor", *const DNN_FILTER = "filter descriptor",
                  *const DNN_CONVOLUTION = "convolution descriptor";

cudnnStatus_t dnn_status(cudaError_t e) {
  switch ((int)e) {
    case cudaSuccess: return CUDNN_STATUS_SUCCESS;
    case cudaErrorMemoryAllocation: return CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED;
    case cudaErrorNoDevice: case cudaErrorInsufficientDriver: return CUDNN_STATUS_NOT_INITIALIZED;
    default: return CUDNN_STATUS_EXECUTION_FAILED_CUDART;
  }
}

static bool rule(const char *f, bool holds, const char *sentence) {
  if (!holds) violation("%s: %s", f, sentence);
  return holds;
}

static bool known(cudnnDataType_t t) { return t == CUDNN_DATA_FLOAT || t == CUDNN_DATA_HALF || t == CUDNN_DATA_BFLOAT16; }

static void pack(long stride[4], const long size[4], cudnnTensorFormat_t format) {
  bool last = format == CUDNN_TENSOR_NHWC; /* channels last */
  stride[1] = last ? 1 : size[2] * size[3];
  stride[3] = last ? size[1] : 1;
  stride[2] = size[3] * stride[3];
  stride[0] = size[1] * size[2] * size[3];
}

template <class T> static cudnnStatus_t create(T **out, const char *kind) {
  if (!out) return CUDNN_STATUS_BAD_PARAM_NULL_POINTER;
  *out = new T();
  library_add(*out, kind, [](void *p) { delete (T *)p; });
  return CUDNN_STATUS_SUCCESS;
}
template <class T> static cudnnStatus_t destroy(T *p, const char *kind, const char *f) {
  if (!library_remove(p, kind, f)) return CUDNN_STATUS_BAD_PARAM;
  delete p;
  return CUDNN_STATUS_SUCCESS;
}

static size_t extent(const long size[4], const long stride[4], cudnnDataType_t type) {
  long last = 0;
  for (int i = 0; i < 4; i++) last += (size[i] - 1) * stride[i];
  return (size_t)(last + 1) * (type == CUDNN_DATA_FLOAT ? 4 : 2);
}
size_t tensor_bytes(const cudnnTensorStruct &t) { return extent(t.size, t.stride, t.type); }
size_t filter_bytes(const cudnnFilterStruct &t) { return extent(t.size, t.stride, t.type); }

long output_size(const convolution &v, int axis) {
  long window = (v.w.size[2 + axis] - 1) * v.c.dilation[axis] + 1;
  return (v.x.size[2 + axis] + 2 * v.c.pad[axis] - window) / v.c.step[axis] + 1;
}

static bool fits(const convolution &v, const char *f) {
  bool last = v.x.stride[1] == 1 && v.x.size[1] > 1, filter_last = v.w.format == CUDNN_TENSOR_NHWC;
  return rule(f, known(v.x.type), "a data type that is not simulated") &&
         rule(f, v.x.type == v.w.type && v.x.type == v.y.type, "x, w and y have different types") &&
         rule(f, v.c.compute == CUDNN_DATA_FLOAT, "the convolution's compute type must be CUDNN_DATA_FLOAT") &&
         rule(f, v.c.groups == 1, "groups are not simulated") &&
         rule(f, v.x.size[1] == v.w.size[1], "x and w have different numbers of input channels") &&
         rule(f, v.x.size[1] == 1 || last == filter_last, "x and w have different layouts") &&
         rule(f, v.y.size[0] == v.x.size[0] && v.y.size[1] == v.w.size[0] && v.y.size[2] == output_size(v, 0) && v.y.size[3] == output_size(v, 1),
              "y has not the shape that the convolution gives");
}

bool get_convolution(convolution *v, cudnnHandle_t handle, const cudnnTensorDescriptor_t x, const cudnnFilterDescriptor_t w,
                     const cudnnConvolutionDescriptor_t c, const cudnnTensorDescriptor_t y, const char *f) {
  if (!library_has(handle, DNN_HANDLE, f) || !library_has(x, DNN_TENSOR, f) || !library_has(w, DNN_FILTER, f) ||
      !library_has(c, DNN_CONVOLUTION, f) || !library_has(y, DNN_TENSOR, f))
    return false;
  *v = {*x, *y, *w, *c};
  return fits(*v, f);
}

}  // namespace cudasim

using namespace cudasim;

extern "C" {

cudnnStatus_t cudnnCreate(cudnnHandle_t *handle) {
  DNN_API;
  return create(handle, DNN_HANDLE);
}
cudnnStatus_t cudnnDestroy(cudnnHandle_t handle) {
  DNN_HOST_API;
  return destroy(handle, DNN_HANDLE, __func__);
}
cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream) {
  DNN_API;
  if (!library_has(handle, DNN_HANDLE, __func__)) return CUDNN_STATUS_BAD_PARAM;
  if (!rule(__func__, stream_exists(stream), "no such stream")) return CUDNN_STATUS_BAD_PARAM;
  handle->stream = stream;
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnGetStream(cudnnHandle_t handle, cudaStream_t *stream) {
  DNN_API;
  if (!stream || !library_has(handle, DNN_HANDLE, __func__)) return CUDNN_STATUS_BAD_PARAM;
  *stream = handle->stream;
  return CUDNN_STATUS_SUCCESS;
}
size_t cudnnGetVersion(void) { return CUDNN_VERSION; }
size_t cudnnGetCudartVersion(void) { return CUDART_VERSION; }
const char *cudnnGetErrorString(cudnnStatus_t status) {
  switch ((int)status) {
#define NAME(name, value) \
  case value: return #name;
    CUDASIM_CUDNN_STATUS(NAME)
#undef NAME
    default: return "CUDNN_UNKNOWN_STATUS";
  }
}
void cudnnGetLastErrorString(char *message, size_t bytes) {
  if (message && bytes) message[0] = 0;
}

cudnnStatus_t cudnnCreateTensorDescriptor(cudnnTensorDescriptor_t *desc) {
  DNN_HOST_API;
  return create(desc, DNN_TENSOR);
}
cudnnStatus_t cudnnDestroyTensorDescriptor(cudnnTensorDescriptor_t desc) {
  DNN_HOST_API;
  return destroy(desc, DNN_TENSOR, __func__);
}
cudnnStatus_t cudnnSetTensor4dDescriptor(cudnnTensorDescriptor_t desc, cudnnTensorFormat_t format, cudnnDataType_t type, int n, int c, int h,
                                         int w) {
  DNN_HOST_API;
  if (!library_has(desc, DNN_TENSOR, __func__)) return CUDNN_STATUS_BAD_PARAM;
  if (!rule(__func__, n > 0 && c > 0 && h > 0 && w > 0, "a size that is not positive")) return CUDNN_STATUS_BAD_PARAM;
  if (!rule(__func__, format == CUDNN_TENSOR_NHWC || format == CUDNN_TENSOR_NCHW, "a layout that is not simulated")) return CUDNN_STATUS_NOT_SUPPORTED;
  *desc = {type, {n, c, h, w}, {}};
  pack(desc->stride, desc->size, format);
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnSetTensor4dDescriptorEx(cudnnTensorDescriptor_t desc, cudnnDataType_t type, int n, int c, int h, int w, int n_stride,
                                           int c_stride, int h_stride, int w_stride) {
  DNN_HOST_API;
  if (!library_has(desc, DNN_TENSOR, __func__)) return CUDNN_STATUS_BAD_PARAM;
  if (!rule(__func__, n > 0 && c > 0 && h > 0 && w > 0, "a size that is not positive")) return CUDNN_STATUS_BAD_PARAM;
  *desc = {type, {n, c, h, w}, {n_stride, c_stride, h_stride, w_stride}};
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnCreateFilterDescriptor(cudnnFilterDescriptor_t *desc) {
  DNN_HOST_API;
  return create(desc, DNN_FILTER);
}
cudnnStatus_t cudnnDestroyFilterDescriptor(cudnnFilterDescriptor_t desc) {
  DNN_HOST_API;
  return destroy(desc, DNN_FILTER, __func__);
}
cudnnStatus_t cudnnSetFilter4dDescriptor(cudnnFilterDescriptor_t desc, cudnnDataType_t type, cudnnTensorFormat_t format, int k, int c, int h,
                                         int w) {
  DNN_HOST_API;
  if (!library_has(desc, DNN_FILTER, __func__)) return CUDNN_STATUS_BAD_PARAM;
  if (!rule(__func__, k > 0 && c > 0 && h > 0 && w > 0, "a size that is not positive")) return CUDNN_STATUS_BAD_PARAM;
  if (!rule(__func__, format == CUDNN_TENSOR_NHWC || format == CUDNN_TENSOR_NCHW, "a layout that is not simulated")) return CUDNN_STATUS_NOT_SUPPORTED;
  *desc = {type, format, {k, c, h, w}, {}};
  pack(desc->stride, desc->size, format);
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnCreateConvolutionDescriptor(cudnnConvolutionDescriptor_t *desc) {
  DNN_HOST_API;
  return create(desc, DNN_CONVOLUTION);
}
cudnnStatus_t cudnnDestroyConvolutionDescriptor(cudnnConvolutionDescriptor_t desc) {
  DNN_HOST_API;
  return destroy(desc, DNN_CONVOLUTION, __func__);
}
cudnnStatus_t cudnnSetConvolution2dDescriptor(cudnnConvolutionDescriptor_t desc, int pad_h, int pad_w, int stride_h, int stride_w,
                                              int dilation_h, int dilation_w, cudnnConvolutionMode_t mode, cudnnDataType_t compute) {
  DNN_HOST_API;
  if (!library_has(desc, DNN_CONVOLUTION, __func__)) return CUDNN_STATUS_BAD_PARAM;
  if (!rule(__func__, pad_h >= 0 && pad_w >= 0, "a padding is negative") ||
      !rule(__func__, stride_h > 0 && stride_w > 0 && dilation_h > 0 && dilation_w > 0, "a stride or dilation is not positive"))
    return CUDNN_STATUS_BAD_PARAM;
  *desc = {{pad_h, pad_w}, {stride_h, stride_w}, {dilation_h, dilation_w}, 1, mode, compute, CUDNN_DEFAULT_MATH};
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnSetConvolutionMathType(cudnnConvolutionDescriptor_t desc, cudnnMathType_t math) {
  DNN_HOST_API;
  if (!library_has(desc, DNN_CONVOLUTION, __func__)) return CUDNN_STATUS_BAD_PARAM;
  desc->math = math;
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnSetConvolutionGroupCount(cudnnConvolutionDescriptor_t desc, int groups) {
  DNN_HOST_API;
  if (!library_has(desc, DNN_CONVOLUTION, __func__) || groups < 1) return CUDNN_STATUS_BAD_PARAM;
  desc->groups = groups;
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnGetConvolution2dForwardOutputDim(const cudnnConvolutionDescriptor_t desc, const cudnnTensorDescriptor_t x,
                                                    const cudnnFilterDescriptor_t w, int *n, int *c, int *h, int *width) {
  DNN_HOST_API;
  if (!n || !c || !h || !width || !library_has(desc, DNN_CONVOLUTION, __func__) || !library_has(x, DNN_TENSOR, __func__) ||
      !library_has(w, DNN_FILTER, __func__))
    return CUDNN_STATUS_BAD_PARAM;
  convolution v = {*x, {}, *w, *desc};
  if (!rule(__func__, x->size[1] == w->size[1], "x and w have different numbers of input channels")) return CUDNN_STATUS_BAD_PARAM;
  *n = (int)x->size[0];
  *c = (int)w->size[0];
  *h = (int)output_size(v, 0);
  *width = (int)output_size(v, 1);
  return CUDNN_STATUS_SUCCESS;
}
}
