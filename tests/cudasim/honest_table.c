/* Compiled twice: HONEST_TABLE is honest_ours with the simulator's headers, honest_real with those of the toolkit. */
#include <stddef.h>

#include <cublasLt.h>
#include <cuda_runtime_api.h>
#include <cudnn.h>

#include "cudasim/honest.h"

#define VALUE(name) {#name, (long long)(name)},
#define TYPE(name) {"sizeof " #name, (long long)sizeof(name)}, {"alignof " #name, (long long)_Alignof(name)},
#define MEMBER(type, name) {#type "." #name, (long long)offsetof(type, name)},
const struct honest_row HONEST_TABLE[] = {
#include "cudasim/honest_values.inc"
    {NULL, 0},
};
