/* Linear layers on cublasLt: torch.nn.functional.linear and its gradients.
 *
 * The library counts columns first; a row-major c [m, n] = a b is its c^T [n, m] = b^T a^T, so its first factor is our second. The bias is added by the library in the same
 * pass. With results in 16 bits the bias is rounded to them, too, as PyTorch's autocast does: CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE knows no other ("the same type as the elements
 * of output matrix", but for fp8 and int8; cublasLt.h of 13.0).
 * Algorithms are asked for once a shape, those that add up in fp32 in a fixed order (partial sums in another type are forbidden); which of them is measured in a rehearsal
 * (choices.h), and is else the library's first.
 * F32 is true F32 unless b->tf32 says otherwise.
 * What it has none for (odd sizes and addresses in 16 bits) goes through a kernel of our own. */
#include "choices.h"
#include "library.h"
#include "shapes.h"

#include <stdlib.h>
#include <string.h>

enum { SHAPES = 2048, OFFERS = 8, WORDS = sizeof(cublasLtMatmulAlgo_t) / sizeof(uint64_t) };

struct key {
  int64_t m, n, k, lda, ldb, ldc;
  int32_t ta, tb, type, out, bias, tf32, align[3];
};

struct shape {
  struct key key;
  bool known; /* the library has an algorithm */
  cublasLtMatmulDesc_t desc;
  cublasLtMatrixLayout_t a, b, c;
  cublasLtMatmulAlgo_t algo;
  size_t work;
};

struct cuda_linear {
  cublasLtHandle_t handle;
  struct cuda_shapes shapes; /* of struct shape */
};

static bool check(struct backend *b, cublasStatus_t status, const char *what) {
  if (status == CUBLAS_STATUS_SUCCESS) return true;
  return cuda_library_failed(b, "cublasLt", what, (int)status, cublaslt(b)->GetStatusString(status));
}

static void release(const struct backend *b, void *entry) {
  const struct shape *s = entry;
  if (s->desc) (void)cublaslt(b)->MatmulDescDestroy(s->desc);
  if (s->a) (void)cublaslt(b)->MatrixLayoutDestroy(s->a);
  if (s->b) (void)cublaslt(b)->MatrixLayoutDestroy(s->b);
  if (s->c) (void)cublaslt(b)->MatrixLayoutDestroy(s->c);
}

bool cuda_linear_open(struct backend *b, struct err *e) {
  struct cuda_linear *l = calloc(1, sizeof *l);
  if (!l) return err_set(e, ERR_FIT, "out of memory");
  cuda_of(b)->linear = l;
  l->shapes = (struct cuda_shapes){.bytes = sizeof(struct shape), .key_bytes = sizeof(struct key), .places = SHAPES, .release = release};
  if (!cuda_shapes_open(&l->shapes, e)) return false;
  cublasStatus_t status = cublaslt(b)->Create(&l->handle);
  if (status == CUBLAS_STATUS_SUCCESS) return true;
  l->handle = NULL;
  return err_set(e, ERR_FIT, "cublasLt does not start: status %d (%s); look for a second CUDA installation, or use --device cpu", (int)status,
                 cublaslt(b)->GetStatusString(status));
}

void cuda_linear_close(struct backend *b) {
  struct cuda_linear *l = cuda_of(b)->linear;
  if (!l) return;
  cuda_shapes_close(b, &l->shapes);
  if (l->handle) (void)cublaslt(b)->Destroy(l->handle);
  free(l);
  cuda_of(b)->linear = NULL;
}

/* --- shapes ------------------------------------------------------------------------------------------------------------------- */

static int32_t alignment(const void *p) {
  int32_t a = 16;
  while (((uintptr_t)p & (uintptr_t)(a - 1)) != 0) a /= 2;
  return a;
}

static struct key key_of(const struct backend *b, const struct matmul *p) {
  struct key k;
  memset(&k, 0, sizeof k);
  k.m = p->m, k.n = p->n, k.k = p->k, k.lda = p->lda, k.ldb = p->ldb, k.ldc = p->ldc;
  k.ta = p->ta, k.tb = p->tb, k.type = (int32_t)p->type, k.out = (int32_t)p->out, k.bias = p->with_bias, k.tf32 = b->tf32 && p->type == DT_F32;
  k.align[0] = alignment(p->a), k.align[1] = alignment(p->b), k.align[2] = alignment(p->c);
  return k;
}

static cudaDataType_t data_type(enum dtype type) {
  return type == DT_F32 ? CUDA_R_32F : type == DT_BF16 ? CUDA_R_16BF : CUDA_R_16F;
}

static bool describe(struct backend *b, struct shape *s, const struct matmul *p) {
  cublasOperation_t first = p->tb ? CUBLAS_OP_T : CUBLAS_OP_N, second = p->ta ? CUBLAS_OP_T : CUBLAS_OP_N;
  cublasComputeType_t compute = s->key.tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
  cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_BIAS;
  cudaDataType_t of_bias = data_type(p->out);
  const void *bias = p->bias ? p->bias : (const void *)(uintptr_t)256; /* in a rehearsal: only how it is aligned counts here */
  bool ok = check(b, cublaslt(b)->MatmulDescCreate(&s->desc, compute, CUDA_R_32F), "describing a product") &&
            check(b, cublaslt(b)->MatmulDescSetAttribute(s->desc, CUBLASLT_MATMUL_DESC_TRANSA, &first, sizeof first), "describing a product") &&
            check(b, cublaslt(b)->MatmulDescSetAttribute(s->desc, CUBLASLT_MATMUL_DESC_TRANSB, &second, sizeof second), "describing a product");
  if (ok && p->with_bias)
    ok = check(b, cublaslt(b)->MatmulDescSetAttribute(s->desc, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue), "describing a bias") &&
         check(b, cublaslt(b)->MatmulDescSetAttribute(s->desc, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, &of_bias, sizeof of_bias), "describing a bias") &&
         check(b, cublaslt(b)->MatmulDescSetAttribute(s->desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias), "describing a bias");
  uint64_t m = (uint64_t)p->m, n = (uint64_t)p->n, k = (uint64_t)p->k;
  return ok && check(b, cublaslt(b)->MatrixLayoutCreate(&s->a, data_type(p->type), p->tb ? k : n, p->tb ? n : k, p->ldb), "describing a matrix") &&
         check(b, cublaslt(b)->MatrixLayoutCreate(&s->b, data_type(p->type), p->ta ? m : k, p->ta ? k : m, p->lda), "describing a matrix") &&
         check(b, cublaslt(b)->MatrixLayoutCreate(&s->c, data_type(p->out), n, m, p->ldc), "describing a matrix");
}

static bool prefer(struct backend *b, cublasLtMatmulPreference_t pref, const struct key *k) {
  size_t most = CUDA_WORK;
  uint32_t scheme = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE, align[4] = {(uint32_t)k->align[1], (uint32_t)k->align[0], (uint32_t)k->align[2],
                                                                       (uint32_t)k->align[2]};
  static const cublasLtMatmulPreferenceAttributes_t name[] = {
      CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES,
      CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES};
  bool ok =
      check(b, cublaslt(b)->MatmulPreferenceSetAttribute(pref, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &most, sizeof most), "limiting a product") &&
      check(b, cublaslt(b)->MatmulPreferenceSetAttribute(pref, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &scheme, sizeof scheme), "limiting a product");
  for (int i = 0; ok && i < 4; i++)
    ok = check(b, cublaslt(b)->MatmulPreferenceSetAttribute(pref, name[i], &align[i], sizeof align[i]), "limiting a product");
  return ok;
}

/* What the library offers, best first by its own estimate; none is no failure. */
static bool offers_of(struct backend *b, const struct shape *s, cublasLtMatmulHeuristicResult_t offer[OFFERS], int *n) {
  cublasLtMatmulPreference_t pref = NULL;
  int found = 0;
  memset(offer, 0, OFFERS * sizeof *offer);
  *n = 0;
  if (!check(b, cublaslt(b)->MatmulPreferenceCreate(&pref), "limiting a product")) return false;
  bool ok = prefer(b, pref, &s->key);
  cublasStatus_t status = ok ? cublaslt(b)->MatmulAlgoGetHeuristic(cuda_of(b)->linear->handle, s->desc, s->a, s->b, s->c, s->c, pref, OFFERS, offer, &found)
                             : CUBLAS_STATUS_SUCCESS;
  (void)cublaslt(b)->MatmulPreferenceDestroy(pref);
  if (!ok || status == CUBLAS_STATUS_NOT_SUPPORTED || status == CUBLAS_STATUS_INVALID_VALUE) return ok;
  for (int i = 0; status == CUBLAS_STATUS_SUCCESS && i < found; i++)
    if (offer[i].state == CUBLAS_STATUS_SUCCESS && offer[i].workspaceSize <= CUDA_WORK) offer[(*n)++] = offer[i];
  return check(b, status, "choosing an algorithm");
}

/* --- the choice of an algorithm ----------------------------------------------------------------------------------------------- */

static bool give_bias(struct backend *b, const struct shape *s, const void *bias) {
  return !s->key.bias ||
         check(b, cublaslt(b)->MatmulDescSetAttribute(s->desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias), "giving a bias");
}

static cublasStatus_t compute(struct backend *b, const struct shape *s, const struct matmul *p, void *work) {
  return cublaslt(b)->Matmul(cuda_of(b)->linear->handle, s->desc, &p->alpha, p->b, s->a, p->a, s->b, &p->beta, p->c, s->c, p->c, s->c, &s->algo, work,
                             s->work, cuda_of(b)->stream);
}

struct trial {
  struct shape *s;
  const cublasLtMatmulHeuristicResult_t *offer;
  struct matmul p;
  size_t a, b, c, bias; /* bytes */
};

static void apply(struct shape *s, const cublasLtMatmulHeuristicResult_t *offer) {
  s->algo = offer->algo;
  s->work = offer->workspaceSize;
}

static bool try_one(struct backend *b, void *job, int i, char *memory) {
  struct trial *t = job;
  t->p.a = memory;
  t->p.b = memory + t->a;
  t->p.c = memory + t->a + t->b;
  char *bias = memory + t->a + t->b + t->c;
  apply(t->s, &t->offer[i]);
  if (!give_bias(b, t->s, bias)) return false;
  cublasStatus_t status = compute(b, t->s, &t->p, bias + t->bias);
  return status != CUBLAS_STATUS_NOT_SUPPORTED && check(b, status, "measuring a product");
}

static struct cuda_choice choice_of(const struct shape *s) {
  const struct key *k = &s->key;
  const int64_t key[] = {k->m,    k->n,   k->k,    k->lda,  k->ldb,      k->ldc,      k->ta,      k->tb,
                         k->type, k->out, k->bias, k->tf32, k->align[0], k->align[1], k->align[2]};
  struct cuda_choice c = {.what = "product", .keys = sizeof key / sizeof *key, .values = WORDS + 1};
  memcpy(c.key, key, sizeof key);
  return c;
}

static const uint64_t refused_all = UINT64_MAX; /* in the place of the workspace */

/* The algorithm itself may be kept, for the same version of the library: cublasLtMatmulAlgo_t in its documentation. */
static void keep(struct backend *b, const struct shape *s, const cublasLtMatmulHeuristicResult_t *best) {
  struct cuda_choice c = choice_of(s);
  c.value[0] = best ? best->workspaceSize : refused_all;
  if (best) memcpy(c.value + 1, &best->algo, sizeof best->algo);
  cuda_choice_keep(b, &c);
}

/* Rows are lda, ldb and ldc elements apart, the last one too. */
static int measured(struct backend *b, struct shape *s, const struct matmul *p, const cublasLtMatmulHeuristicResult_t *offer, int n) {
  size_t in = dtype_size(p->type), out = dtype_size(p->out);
  struct trial t = {.s = s,
                    .offer = offer,
                    .p = *p,
                    .a = cuda_round((size_t)((p->ta ? p->k : p->m) * p->lda) * in),
                    .b = cuda_round((size_t)((p->tb ? p->n : p->k) * p->ldb) * in),
                    .c = cuda_round((size_t)(p->m * p->ldc) * out),
                    .bias = p->with_bias ? cuda_round((size_t)p->n * out) : 0};
  struct cuda_trials trials = {.n = n, .run = try_one, .job = &t};
  bool sure;
  for (int i = 0; i < n; i++)
    if (offer[i].workspaceSize > trials.bytes) trials.bytes = offer[i].workspaceSize;
  trials.bytes += t.a + t.b + t.c + t.bias;
  int best = cuda_fastest(b, &trials, &sure);
  if (sure) keep(b, s, best < 0 ? NULL : &offer[best]);
  return best;
}

/* What was measured, now or before, and else the library's first. */
static bool choose(struct backend *b, struct shape *s, const struct matmul *p) {
  cublasLtMatmulHeuristicResult_t offer[OFFERS];
  struct cuda_choice c = choice_of(s);
  int n = 0;
  if (cuda_choice_find(b, &c)) {
    s->known = c.value[0] <= CUDA_WORK;
    s->work = (size_t)c.value[0];
    memcpy(&s->algo, c.value + 1, sizeof s->algo);
    return true;
  }
  if (!offers_of(b, s, offer, &n)) return false;
  int best = n > 1 && cuda_may_measure(b) ? measured(b, s, p, offer, n) : 0;
  s->known = n > 0 && best >= 0;
  if (s->known) apply(s, &offer[best]);
  return b->fault.code == ERR_OK;
}

/* NULL: b->fault */
static struct shape *shape_of(struct backend *b, const struct matmul *p) {
  struct key key = key_of(b, p);
  bool fresh;
  struct shape *s = cuda_shapes_find(b, &cuda_of(b)->linear->shapes, &key, &fresh);
  return !fresh || (describe(b, s, p) && choose(b, s, p)) ? s : NULL;
}

void cuda_matmul(struct backend *b, const struct matmul *p) {
  void *work = cuda_work(b, CUDA_WORK);
  if (p->m == 0 || p->n == 0) return;
  if (cuda_may_measure(b)) (void)shape_of(b, p);
  if (!work || cuda_idle(b)) return;
  bool bias_fits = alignment(p->bias) == 16; /* NULL does; the library reads it in vectors */
  struct shape *s = bias_fits ? shape_of(b, p) : NULL;
  if (bias_fits && !s) return;
  if (!s || !s->known) {
    cuda_matmul_plain(b, p);
    return;
  }
  if (!give_bias(b, s, p->bias)) return;
  cublasStatus_t status = compute(b, s, p, work);
  if (status == CUBLAS_STATUS_NOT_SUPPORTED && cuda_recording_fails(b, "a product", "cublasLt cannot be recorded")) return;
  s->known = status != CUBLAS_STATUS_NOT_SUPPORTED; /* offered and then not done after all: from now on by our own kernel */
  if (!s->known)
    cuda_matmul_plain(b, p);
  else
    check(b, status, "a matrix product");
}

/* --- slots -------------------------------------------------------------------------------------------------------------------------- */

/* y [m, n] = alpha x [m, k] w^T + bias + beta y */
void cuda_linear(struct backend *b, struct tensor *y, const struct tensor *x, struct param *w, struct param *bias, float alpha, float beta) {
  int64_t m = tensor_rows(x), n = tensor_last(y), k = tensor_last(x);
  size_t of_w = cuda_pack_room(w, x->type), of_bias = bias ? cuda_pack_room(bias, x->type) : 0;
  char *room = of_w + of_bias ? cuda_scratch(b, of_w + of_bias) : NULL;
  const void *weights = cuda_pack(b, w, x->type, room), *add = bias ? cuda_pack(b, bias, x->type, room ? room + of_w : NULL) : NULL;
  if (!cuda_of(b)->rehearsing && (!weights || (bias && !add))) return;
  cuda_matmul(b, &(struct matmul){.tb = true, .m = m, .n = n, .k = k, .lda = k, .ldb = k, .ldc = n, .type = x->type, .out = y->type, .a = x->data,
                                  .b = weights, .c = y->data, .bias = add, .with_bias = bias != NULL, .alpha = alpha, .beta = beta});
}

/* dx [m, k] = alpha dy [m, n] w + beta dx */
void cuda_linear_dx(struct backend *b, struct tensor *dx, const struct tensor *dy, struct param *w, float alpha, float beta) {
  int64_t m = tensor_rows(dy), n = tensor_last(dy), k = tensor_last(dx);
  size_t of_w = cuda_pack_room(w, dy->type);
  const void *weights = cuda_pack(b, w, dy->type, of_w ? cuda_scratch(b, of_w) : NULL);
  if (!cuda_of(b)->rehearsing && !weights) return;
  cuda_matmul(b, &(struct matmul){.m = m, .n = k, .k = n, .lda = n, .ldb = k, .ldc = k, .type = dy->type, .out = dx->type, .a = dy->data,
                                  .b = weights, .c = dx->data, .alpha = alpha, .beta = beta});
}

/* w->g [n, k] += alpha dy^T x; bias->g += column sums of dy */
void cuda_linear_dw(struct backend *b, struct param *w, struct param *bias, const struct tensor *x, const struct tensor *dy, float alpha) {
  int64_t m = tensor_rows(dy), n = tensor_last(dy);
  cuda_add_column_sums(b, bias, dy);
  if (!cuda_wants_gradient(b, w)) return;
  int64_t k = tensor_last(x);
  cuda_matmul(b, &(struct matmul){.ta = true, .m = n, .n = k, .k = m, .lda = n, .ldb = k, .ldc = k, .type = dy->type, .out = DT_F32, .a = dy->data,
                                  .b = x->data, .c = w->g, .alpha = alpha, .beta = 1});
}
