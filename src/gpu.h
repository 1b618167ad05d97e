/* Graphics cards and NVIDIA's libraries, as the kernel and the dynamic loader tell of them; nothing is linked. */
#ifndef PDMBOOTH_SRC_GPU_H
#define PDMBOOTH_SRC_GPU_H

#include <stdbool.h>
#include <stdint.h>

enum { MAX_GPUS = 16 };

struct gpu {
  char name[128]; /* of the card where the driver tells it, else the vendor and the PCI identity */
  bool nvidia;
  int64_t memory; /* bytes, 0: not known */
  /* What NVML tells; not known, or not of this card: -1, capability 0. */
  int64_t free;               /* bytes */
  int capability;             /* 90 is 9.0 */
  int temperature, load, ecc; /* degrees Celsius; percent; 0 or 1 */
};

struct gpu_facts {
  struct gpu gpu[MAX_GPUS];
  int n;
  char driver[64];            /* of NVIDIA's kernel module; "": none is loaded */
  int cuda;                   /* of libcuda: 12040 is 12.4; 0: it cannot be loaded */
  char cublas[32], cudnn[32]; /* the libraries that the loader finds, such as "libcublasLt.so.12"; "": none */
};

void gpu_look(struct gpu_facts *f);

#endif
