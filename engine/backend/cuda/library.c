#include "library.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)

#ifdef CUDA_LIBRARIES_LINKED /* the tests' simulation */

static bool find_all(struct cuda_libraries *l, struct err *e) {
  (void)e;
#define TAKE(name) l->cublaslt.name = cublasLt##name;
  CUBLASLT_FUNCTIONS(TAKE)
#undef TAKE
#define TAKE(name) l->cudnn.name = cudnn##name;
  CUDNN_FUNCTIONS(TAKE)
#undef TAKE
  return true;
}

#else

/* The soname of the version whose headers this was compiled with. It stays open: the libraries do not like to be closed. */
static void *open_library(const char *soname, const char *package, struct err *e) {
  void *library = dlopen(soname, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  const char *why = library ? NULL : dlerror();
  if (!library)
    err_set(e, ERR_FIT, "no GPU: %s cannot be opened (%s); install %s for CUDA %d.%d and see that the dynamic linker finds it (LD_LIBRARY_PATH), or use --device cpu",
            soname, why ? why : "no reason given", package, CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10);
  return library;
}

/* A function's address to where the pointer to it lies. */
static bool find(void *library, const char *name, void *to, struct err *e) {
  void *address = dlsym(library, name);
  if (!address) return err_set(e, ERR_FIT, "no GPU: %s is missing from its library; install the version that this program was built with, or use --device cpu", name);
  memcpy(to, &address, sizeof address);
  return true;
}

static bool find_all(struct cuda_libraries *l, struct err *e) {
  void *lt = open_library("libcublasLt.so." TEXT(CUBLAS_VER_MAJOR), "cuBLAS " TEXT(CUBLAS_VER_MAJOR), e);
  void *dnn = lt ? open_library("libcudnn.so." TEXT(CUDNN_MAJOR), "cuDNN " TEXT(CUDNN_MAJOR), e) : NULL;
  bool ok = lt && dnn;
#define TAKE(name) ok = ok && find(lt, "cublasLt" #name, &l->cublaslt.name, e);
  CUBLASLT_FUNCTIONS(TAKE)
#undef TAKE
#define TAKE(name) ok = ok && find(dnn, "cudnn" #name, &l->cudnn.name, e);
  CUDNN_FUNCTIONS(TAKE)
#undef TAKE
  return ok;
}

#endif

bool cuda_libraries_open(struct backend *b, struct err *e) {
  struct cuda_libraries *l = calloc(1, sizeof *l);
  if (!l) return err_set(e, ERR_FIT, "out of memory");
  cuda_of(b)->libraries = l;
  return find_all(l, e);
}

void cuda_libraries_close(struct backend *b) {
  free(cuda_of(b)->libraries);
  cuda_of(b)->libraries = NULL;
}
