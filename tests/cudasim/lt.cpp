/* cuBLASLt: every argument against the documented rules, then a plain product in fp32. */
#include <stdlib.h>
#include <string.h>
#include <string>

#include <cublasLt.h>

#include "library.hpp"

struct cublasLtContext {
  int none;
};

namespace cudasim {

enum : size_t { FULL_ALIGNMENT = 256, WORKSPACE = 1 << 20 };
enum : uint64_t { ALGORITHM = 0x43534c54 };

struct matmul_desc {
  cublasComputeType_t compute;
  cudaDataType_t scale;
  int32_t trans_a, trans_b, trans_c, pointer_mode;
  uint32_t epilogue;
  const void *bias;
  int32_t bias_type;
  int64_t bias_stride;
};
struct layout {
  uint32_t type;
  int32_t order;
  uint64_t rows, cols;
  int64_t ld;
  int32_t batch;
  int64_t offset;
};
struct preference {
  uint64_t workspace;
  uint32_t align[4]; /* of A, B, C, D */
};
struct algorithm {
  uint64_t magic, workspace;
  uint32_t align[4];
  int32_t rank; /* in the list that it comes from */
};
static_assert(sizeof(matmul_desc) <= sizeof(cublasLtMatmulDescOpaque_t) && sizeof(layout) <= sizeof(cublasLtMatrixLayoutOpaque_t) &&
                  sizeof(preference) <= sizeof(cublasLtMatmulPreferenceOpaque_t) && sizeof(algorithm) <= sizeof(cublasLtMatmulAlgo_t),
              "kept in the caller's opaque structs");

static const char *const HANDLE = "cuBLASLt handle", *const DESC = "matmul descriptor", *const LAYOUT = "matrix layout",
                         *const PREFERENCE = "matmul preference";

static cublasStatus_t status_of(cudaError_t e) {
  return e == cudaSuccess                     ? CUBLAS_STATUS_SUCCESS
         : e == cudaErrorMemoryAllocation     ? CUBLAS_STATUS_ALLOC_FAILED
         : e == cudaErrorNoDevice || e == cudaErrorInsufficientDriver ? CUBLAS_STATUS_NOT_INITIALIZED
                                              : CUBLAS_STATUS_EXECUTION_FAILED;
}
#define LT_API                          \
  cudasim::call api_call(__func__, true); \
  if (api_call.error != cudaSuccess) return status_of(api_call.error)
/* Descriptors can be made without a device. */
#define LT_HOST_API                        \
  cudasim::call api_call(__func__, false); \
  if (api_call.error != cudaSuccess) return status_of(api_call.error)

template <class T, class O> static cublasStatus_t create(O **out, const T &value, const char *kind) {
  if (!out) return CUBLAS_STATUS_INVALID_VALUE;
  *out = (O *)calloc(1, sizeof(O));
  if (!*out) return CUBLAS_STATUS_ALLOC_FAILED;
  memcpy((void *)*out, &value, sizeof value);
  library_add(*out, kind, free);
  return CUBLAS_STATUS_SUCCESS;
}
template <class O> static cublasStatus_t destroy(O *p, const char *kind, const char *function) {
  if (!library_remove(p, kind, function)) return CUBLAS_STATUS_INVALID_VALUE;
  free(p);
  return CUBLAS_STATUS_SUCCESS;
}
template <class T, class O> static T get(const O *p) {
  T v;
  memcpy(&v, (const void *)p, sizeof v);
  return v;
}

/* An attribute's value of the size that it must have. */
template <class T> static cublasStatus_t set(T *to, const void *value, size_t bytes, const char *function) {
  if (!value || bytes != sizeof *to) {
    violation("%s: an attribute of %zu bytes was given %zu", function, sizeof *to, bytes);
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  memcpy(to, value, sizeof *to);
  return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t set_desc(matmul_desc *d, cublasLtMatmulDescAttributes_t attr, const void *value, size_t bytes, const char *f) {
  switch (attr) {
    case CUBLASLT_MATMUL_DESC_COMPUTE_TYPE: return set(&d->compute, value, bytes, f);
    case CUBLASLT_MATMUL_DESC_SCALE_TYPE: return set(&d->scale, value, bytes, f);
    case CUBLASLT_MATMUL_DESC_POINTER_MODE: return set(&d->pointer_mode, value, bytes, f);
    case CUBLASLT_MATMUL_DESC_TRANSA: return set(&d->trans_a, value, bytes, f);
    case CUBLASLT_MATMUL_DESC_TRANSB: return set(&d->trans_b, value, bytes, f);
    case CUBLASLT_MATMUL_DESC_TRANSC: return set(&d->trans_c, value, bytes, f);
    case CUBLASLT_MATMUL_DESC_EPILOGUE: return set(&d->epilogue, value, bytes, f);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER: return set(&d->bias, value, bytes, f);
    case CUBLASLT_MATMUL_DESC_BIAS_BATCH_STRIDE: return set(&d->bias_stride, value, bytes, f);
    case CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE: return set(&d->bias_type, value, bytes, f);
    default: violation("%s: attribute %d is not simulated", f, (int)attr); return CUBLAS_STATUS_NOT_SUPPORTED;
  }
}

static cublasStatus_t set_layout(layout *l, cublasLtMatrixLayoutAttribute_t attr, const void *value, size_t bytes, const char *f) {
  switch (attr) {
    case CUBLASLT_MATRIX_LAYOUT_TYPE: return set(&l->type, value, bytes, f);
    case CUBLASLT_MATRIX_LAYOUT_ORDER: return set(&l->order, value, bytes, f);
    case CUBLASLT_MATRIX_LAYOUT_ROWS: return set(&l->rows, value, bytes, f);
    case CUBLASLT_MATRIX_LAYOUT_COLS: return set(&l->cols, value, bytes, f);
    case CUBLASLT_MATRIX_LAYOUT_LD: return set(&l->ld, value, bytes, f);
    case CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT: return set(&l->batch, value, bytes, f);
    case CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET: return set(&l->offset, value, bytes, f);
  }
  violation("%s: attribute %d is not simulated", f, (int)attr);
  return CUBLAS_STATUS_NOT_SUPPORTED;
}

/* --- the rules ------------------------------------------------------------------------------------------------------------------------------- */

struct problem {
  matmul_desc d;
  layout l[4]; /* A, B, C, D */
  uint64_t m, n, k;
};

static bool rule(bool holds, const char *sentence) {
  if (!holds) violation("cublasLtMatmul: %s", sentence);
  return holds;
}

static bool known(uint32_t type) { return type == CUDA_R_32F || type == CUDA_R_16F || type == CUDA_R_16BF; }
static number number_of(uint32_t type) { return type == CUDA_R_32F ? number::f32 : type == CUDA_R_16F ? number::f16 : number::bf16; }

static bool types_hold(const problem &p) {
  const matmul_desc &d = p.d;
  uint32_t a = p.l[0].type, c = p.l[2].type;
  bool fast = d.compute == CUBLAS_COMPUTE_32F_FAST_TF32 || d.compute == CUBLAS_COMPUTE_32F_FAST_16F || d.compute == CUBLAS_COMPUTE_32F_FAST_16BF;
  return rule(d.compute == CUBLAS_COMPUTE_32F || d.compute == CUBLAS_COMPUTE_32F_PEDANTIC || fast, "this compute type is not simulated") &&
         rule(d.scale == CUDA_R_32F, "alpha and beta must be CUDA_R_32F where the compute type is a 32F one") &&
         rule(known(a) && known(c), "a type that is not simulated") && rule(a == p.l[1].type, "A and B have different types") &&
         rule(c == p.l[3].type, "C and D have different types") && rule(c == a || c == CUDA_R_32F, "C and D must have the type of A and B, or CUDA_R_32F") &&
         rule(!fast || a == CUDA_R_32F, "the fast 32F compute types are for CUDA_R_32F matrices");
}

static bool layout_holds(const layout &l) {
  uint64_t least = l.order == CUBLASLT_ORDER_ROW ? l.cols : l.rows;
  return rule(l.rows && l.cols, "a matrix without rows or columns") &&
         rule(l.order == CUBLASLT_ORDER_COL || l.order == CUBLASLT_ORDER_ROW, "this order is not simulated") &&
         rule(l.ld > 0 && (uint64_t)l.ld >= least, "a leading dimension is smaller than what it leads over") && rule(l.batch >= 1, "a batch of none");
}

static bool shapes_hold(problem *p) {
  const layout &a = p->l[0], &b = p->l[1], &c = p->l[2], &d = p->l[3];
  bool ta = p->d.trans_a != CUBLAS_OP_N, tb = p->d.trans_b != CUBLAS_OP_N;
  p->m = ta ? a.cols : a.rows;
  p->k = ta ? a.rows : a.cols;
  p->n = tb ? b.rows : b.cols;
  return rule((tb ? b.cols : b.rows) == p->k, "the inner dimensions of A and B differ") &&
         rule(d.rows == p->m && d.cols == p->n, "D has not the shape of the product") &&
         rule(c.rows == d.rows && c.cols == d.cols && c.order == d.order, "C has not the shape and order of D") &&
         rule(a.batch == b.batch && a.batch == c.batch && a.batch == d.batch, "the batch counts differ");
}

static bool epilogue_holds(const problem &p) {
  const matmul_desc &d = p.d;
  if (d.epilogue == CUBLASLT_EPILOGUE_DEFAULT) return true;
  if (!rule(d.epilogue == CUBLASLT_EPILOGUE_BIAS, "this epilogue is not simulated")) return false;
  uint32_t type = d.bias_type < 0 ? p.l[3].type : (uint32_t)d.bias_type;
  return rule(p.l[3].order == CUBLASLT_ORDER_COL, "an epilogue needs D in column order") &&
         rule(type == p.l[3].type, "the bias must have the type of D");
}

static bool rules_hold(problem *p) {
  for (const layout &l : p->l)
    if (!layout_holds(l)) return false;
  return rule(p->d.pointer_mode == CUBLASLT_POINTER_MODE_HOST, "only alpha and beta on the host are simulated") &&
         rule(p->d.trans_c == CUBLAS_OP_N, "C cannot be transposed") && types_hold(*p) && shapes_hold(p) && epilogue_holds(*p);
}

/* Of a pointer: the elements between the first and the last that a matrix has. */
static size_t bytes_of(const layout &l) {
  uint64_t major = l.order == CUBLASLT_ORDER_ROW ? l.rows : l.cols, minor = l.order == CUBLASLT_ORDER_ROW ? l.cols : l.rows;
  uint64_t one = (major - 1) * (uint64_t)l.ld + minor;
  return (size_t)((uint64_t)(l.batch - 1) * (uint64_t)(l.offset > 0 ? l.offset : 0) + one) * size_of(number_of(l.type));
}

static bool get_problem(problem *p, cublasLtHandle_t handle, cublasLtMatmulDesc_t desc, const cublasLtMatrixLayout_t l[4], const char *f) {
  if (!library_has(handle, HANDLE, f) || !library_has(desc, DESC, f)) return false;
  for (int i = 0; i < 4; i++)
    if (!library_has(l[i], LAYOUT, f)) return false;
  p->d = get<matmul_desc>(desc);
  for (int i = 0; i < 4; i++) p->l[i] = get<layout>(l[i]);
  return rules_hold(p);
}

/* --- the product --------------------------------------------------------------------------------------------------------------------------------- */

struct operation {
  problem p;
  float alpha, beta;
  const char *a, *b, *c;
  char *d;
  void *workspace;
  size_t workspace_bytes;
  int rank;
};

/* to [rows, cols] = op(matrix), batch i */
static std::vector<float> load(const layout &l, bool transposed, const char *p, int64_t i) {
  uint64_t rows = transposed ? l.cols : l.rows, cols = transposed ? l.rows : l.cols;
  bool rows_apart = (l.order == CUBLASLT_ORDER_ROW) != transposed; /* consecutive elements of a row are neighbours */
  std::vector<float> v(rows * cols);
  const char *from = p + (size_t)(i * l.offset) * size_of(number_of(l.type));
  for (uint64_t r = 0; r < rows; r++)
    read_numbers(&v[r * cols], from + (rows_apart ? r * (uint64_t)l.ld : r) * size_of(number_of(l.type)), number_of(l.type), cols,
                 rows_apart ? 1 : (size_t)l.ld);
  return v;
}

static size_t place_in(const layout &l, uint64_t r, uint64_t c, int64_t batch) {
  return (size_t)(batch * l.offset) + (l.order == CUBLASLT_ORDER_ROW ? r * (size_t)l.ld + c : c * (size_t)l.ld + r);
}

static void store(const operation &o, const std::vector<float> &product, int64_t i) {
  const problem &p = o.p;
  const layout &lc = p.l[2], &ld = p.l[3];
  bool bias = p.d.epilogue == CUBLASLT_EPILOGUE_BIAS;
  for (uint64_t r = 0; r < p.m; r++) {
    float add = bias ? read_number(p.d.bias, number_of(ld.type), (size_t)(i * p.d.bias_stride) + r) : 0.0f;
    for (uint64_t c = 0; c < p.n; c++) {
      float v = o.alpha * product[r * p.n + c] + add;
      if (o.beta != 0) v += o.beta * read_number(o.c, number_of(lc.type), place_in(lc, r, c, i));
      write_number(o.d, number_of(ld.type), place_in(ld, r, c, i), v);
    }
  }
}

static void look_for_unwritten(const operation &o) {
  for (int i = 0; i < 2; i++) { /* gaps between rows may hold anything */
    const layout &l = o.p.l[i];
    if ((uint64_t)l.ld == (l.order == CUBLASLT_ORDER_ROW ? l.cols : l.rows) && l.batch == 1)
      expect_written(i ? o.b : o.a, bytes_of(l), i ? "cublasLtMatmul: B" : "cublasLtMatmul: A");
  }
}

/* Of zeros, to a matrix without gaps that takes nothing else up. */
static bool is_nothing(const operation &o) {
  const problem &p = o.p;
  number out = number_of(p.l[3].type);
  return p.l[3].batch == 1 && o.beta == 0 && bytes_of(p.l[3]) == p.m * p.n * size_of(out) &&
         (p.d.epilogue != CUBLASLT_EPILOGUE_BIAS || all_zero(p.d.bias, p.m * size_of(out))) && all_zero(o.a, bytes_of(p.l[0])) &&
         all_zero(o.b, bytes_of(p.l[1]));
}

static void multiply_all(const operation &o) {
  const problem &p = o.p;
  for (int64_t i = 0; i < p.l[3].batch; i++) {
    std::vector<float> a = load(p.l[0], p.d.trans_a != CUBLAS_OP_N, o.a, i), b = load(p.l[1], p.d.trans_b != CUBLAS_OP_N, o.b, i);
    if (p.d.compute == CUBLAS_COMPUTE_32F_FAST_TF32) {
      round_to_tf32(a.data(), a.size());
      round_to_tf32(b.data(), b.size());
    }
    std::vector<float> c(p.m * p.n);
    multiply(p.m, p.n, p.k, a.data(), b.data(), c.data());
    store(o, c, i);
  }
}

static void run_matmul(const operation &o) {
  open_memory open;
  set_running([]() { return std::string("cublasLtMatmul"); });
  spoil_workspace(o.workspace, o.workspace_bytes);
  look_for_unwritten(o);
  if (is_nothing(o))
    memset(o.d, 0, bytes_of(o.p.l[3]));
  else
    multiply_all(o);
  set_running(nullptr);
  pass_time("cublasLtMatmul", o.rank);
}

static bool overlap(const void *p, size_t n, const void *q, size_t m) {
  return (const char *)p < (const char *)q + m && (const char *)q < (const char *)p + n;
}

static bool pointers_hold(const operation &o, const algorithm &g) {
  const layout *l = o.p.l;
  size_t a = bytes_of(l[0]), b = bytes_of(l[1]), d = bytes_of(l[3]);
  if (!expect_operand(o.a, a, g.align[0], "cublasLtMatmul: A") || !expect_operand(o.b, b, g.align[1], "cublasLtMatmul: B") ||
      !expect_operand(o.d, d, g.align[3], "cublasLtMatmul: D") ||
      (o.beta != 0 && !expect_operand(o.c, bytes_of(l[2]), g.align[2], "cublasLtMatmul: C")))
    return false;
  if (o.p.d.epilogue == CUBLASLT_EPILOGUE_BIAS && !expect_operand(o.p.d.bias, o.p.m * size_of(number_of(l[3].type)), 16, "cublasLtMatmul: the bias"))
    return false;
  bool same = l[2].ld == l[3].ld && l[2].offset == l[3].offset;
  return rule(!overlap(o.d, d, o.a, a) && !overlap(o.d, d, o.b, b), "D overlaps A or B") &&
         rule(o.beta == 0 || (o.c == o.d ? same : !overlap(o.d, d, o.c, bytes_of(l[2]))), "D overlaps C without being the same matrix");
}

static bool workspace_holds(const operation &o, const algorithm &g) {
  if (!rule(o.workspace_bytes >= g.workspace, "the workspace is smaller than the algorithm's")) return false;
  return o.workspace_bytes == 0 || expect_operand(o.workspace, o.workspace_bytes, FULL_ALIGNMENT, "cublasLtMatmul: the workspace");
}

static void clear(cublasLtMatmulHeuristicResult_t *r, const preference &p, uint64_t workspace, int rank) {
  algorithm g = {ALGORITHM, workspace, {p.align[0], p.align[1], p.align[2], p.align[3]}, rank};
  memset((void *)r, 0, sizeof *r);
  memcpy((void *)&r->algo, &g, sizeof g);
  r->workspaceSize = workspace;
  r->state = CUBLAS_STATUS_SUCCESS;
  r->wavesCount = 1;
}

}  // namespace cudasim

using namespace cudasim;

extern "C" {

cublasStatus_t cublasLtCreate(cublasLtHandle_t *handle) {
  LT_API;
  if (!handle) return CUBLAS_STATUS_INVALID_VALUE;
  *handle = new cublasLtContext{0};
  library_add(*handle, HANDLE, [](void *p) { delete (cublasLtContext *)p; });
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  LT_HOST_API;
  if (!library_remove(handle, HANDLE, __func__)) return CUBLAS_STATUS_INVALID_VALUE;
  delete handle;
  return CUBLAS_STATUS_SUCCESS;
}
const char *cublasLtGetStatusName(cublasStatus_t status) {
  switch (status) {
#define NAME(name, value) \
  case name: return #name;
    CUDASIM_CUBLAS_STATUS(NAME)
#undef NAME
  }
  return "<unknown>";
}
const char *cublasLtGetStatusString(cublasStatus_t status) { return cublasLtGetStatusName(status); }
size_t cublasLtGetVersion(void) { return CUBLAS_VERSION; }

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *desc, cublasComputeType_t compute, cudaDataType_t scale) {
  LT_HOST_API;
  matmul_desc d = {compute, scale, CUBLAS_OP_N, CUBLAS_OP_N, CUBLAS_OP_N, CUBLASLT_POINTER_MODE_HOST, CUBLASLT_EPILOGUE_DEFAULT, NULL, -1, 0};
  return create(desc, d, DESC);
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t desc) {
  LT_HOST_API;
  return destroy(desc, DESC, __func__);
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc, cublasLtMatmulDescAttributes_t attr, const void *value, size_t bytes) {
  LT_HOST_API;
  if (!library_has(desc, DESC, __func__)) return CUBLAS_STATUS_INVALID_VALUE;
  matmul_desc d = get<matmul_desc>(desc);
  cublasStatus_t s = set_desc(&d, attr, value, bytes, __func__);
  memcpy((void *)desc, &d, sizeof d);
  return s;
}
cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *out, cudaDataType type, uint64_t rows, uint64_t cols, int64_t ld) {
  LT_HOST_API;
  layout l = {(uint32_t)type, CUBLASLT_ORDER_COL, rows, cols, ld, 1, 0};
  return create(out, l, LAYOUT);
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t l) {
  LT_HOST_API;
  return destroy(l, LAYOUT, __func__);
}
cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t to, cublasLtMatrixLayoutAttribute_t attr, const void *value, size_t bytes) {
  LT_HOST_API;
  if (!library_has(to, LAYOUT, __func__)) return CUBLAS_STATUS_INVALID_VALUE;
  layout l = get<layout>(to);
  cublasStatus_t s = set_layout(&l, attr, value, bytes, __func__);
  memcpy((void *)to, &l, sizeof l);
  return s;
}
cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *pref) {
  LT_HOST_API;
  preference p = {0, {FULL_ALIGNMENT, FULL_ALIGNMENT, FULL_ALIGNMENT, FULL_ALIGNMENT}};
  return create(pref, p, PREFERENCE);
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t pref) {
  LT_HOST_API;
  return destroy(pref, PREFERENCE, __func__);
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t to, cublasLtMatmulPreferenceAttributes_t attr, const void *value,
                                                    size_t bytes) {
  LT_HOST_API;
  if (!library_has(to, PREFERENCE, __func__)) return CUBLAS_STATUS_INVALID_VALUE;
  preference p = get<preference>(to);
  cublasStatus_t s = CUBLAS_STATUS_SUCCESS;
  if (attr == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES)
    s = set(&p.workspace, value, bytes, __func__);
  else if (attr >= CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES && attr <= CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES)
    s = set(&p.align[attr - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES], value, bytes, __func__);
  for (uint32_t a : p.align)
    if (a == 0 || a > FULL_ALIGNMENT || (a & (a - 1))) s = CUBLAS_STATUS_INVALID_VALUE;
  if (s == CUBLAS_STATUS_SUCCESS) memcpy((void *)to, &p, sizeof p);
  return s;
}

/* Two algorithms: one that wants a workspace where there may be one, one that needs none. */
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc, cublasLtMatrixLayout_t a,
                                              cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t pref, int wanted, cublasLtMatmulHeuristicResult_t results[],
                                              int *returned) {
  LT_API;
  problem p;
  const cublasLtMatrixLayout_t l[4] = {a, b, c, d};
  if (!returned || !results || wanted < 1 || !library_has(pref, PREFERENCE, __func__)) return CUBLAS_STATUS_INVALID_VALUE;
  *returned = 0;
  /* the bias may come later */
  if (refuses_shapes() || !get_problem(&p, handle, desc, l, __func__)) return CUBLAS_STATUS_NOT_SUPPORTED;
  preference f = get<preference>(pref);
  if (f.workspace >= WORKSPACE) clear(&results[(*returned)++], f, WORKSPACE, 0);
  if (*returned < wanted) clear(&results[(*returned)++], f, 0, 1);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc, const void *alpha, const void *A, cublasLtMatrixLayout_t a,
                              const void *B, cublasLtMatrixLayout_t b, const void *beta, const void *C, cublasLtMatrixLayout_t c, void *D,
                              cublasLtMatrixLayout_t d, const cublasLtMatmulAlgo_t *algo, void *workspace, size_t workspace_bytes,
                              cudaStream_t stream) {
  LT_API;
  operation o;
  const cublasLtMatrixLayout_t l[4] = {a, b, c, d};
  algorithm g = {ALGORITHM, 0, {4, 4, 4, 4}, 0};
  if (!get_problem(&o.p, handle, desc, l, __func__)) return CUBLAS_STATUS_INVALID_VALUE;
  if (o.p.l[0].type != CUDA_R_32F) g.align[0] = g.align[1] = g.align[2] = g.align[3] = 2;
  if (algo) g = get<algorithm>(algo);
  if (!rule(g.magic == ALGORITHM, "the algorithm does not come from cublasLtMatmulAlgoGetHeuristic")) return CUBLAS_STATUS_INVALID_VALUE;
  if (!expect_host(alpha, 4, "cublasLtMatmul: alpha") || !expect_host(beta, 4, "cublasLtMatmul: beta")) return CUBLAS_STATUS_INVALID_VALUE;
  o.alpha = *(const float *)alpha;
  o.beta = *(const float *)beta;
  o.a = (const char *)A;
  o.b = (const char *)B;
  o.c = (const char *)C;
  o.d = (char *)D;
  o.workspace = workspace;
  o.workspace_bytes = workspace_bytes;
  o.rank = g.rank;
  if (!pointers_hold(o, g) || !workspace_holds(o, g)) return CUBLAS_STATUS_INVALID_VALUE;
  if (refuses_calls()) return CUBLAS_STATUS_NOT_SUPPORTED;
  return status_of(enqueue(stream, {"cublasLtMatmul", [o]() { run_matmul(o); }, NULL, 0}));
}
}
