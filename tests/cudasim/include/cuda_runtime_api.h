/* The runtime alone: the same in the simulator. */
#include "cuda_runtime.h"
