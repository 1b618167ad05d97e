/* doctor: what this machine has, what would run, and what is missing. Inside src/doctor*.c only. */
#ifndef PDMBOOTH_SRC_DOCTOR_H
#define PDMBOOTH_SRC_DOCTOR_H

#include <stdio.h>

#include "gpu.h"
#include "pdmbooth.h"
#include "text.h"
#include "ui/terminal.h"

struct doctor_model {
  const char *name, *path; /* path: "" where it cannot even be found */
  struct model_facts facts;
  struct err error; /* code 0: it can be used */
};

/* Something that is not there; without it: what does not work, or works worse. */
struct doctor_lack {
  const char *what, *package; /* package: of Debian, "" where there is none */
};

enum { MAX_LACKS = 8 };

struct doctor {
  struct strings owner;
  char cpu[256], simd[256], device[256]; /* device: the engine's own line */
  int cores;
  double quota;                        /* processors, 0: none */
  int64_t physical, memory, available; /* bytes; memory: what the control group allows */
  int64_t disk_here, disk_cache;
  char cache[4096], hub[4096];
  struct gpu_facts gpu;
  struct terminal terminal;
  double rate;                /* operations a second, 0: not measured */
  struct err cuda;            /* why the CUDA engine does not run; code 0: it does */
  struct doctor_model *model; /* [models], owned; the embedded one first */
  int models;
  struct doctor_lack lack[MAX_LACKS];
  int lacks;
  const char *problem[MAX_LACKS]; /* why runs cannot work */
  int problems;
};

void doctor_print(const struct doctor *d, FILE *out);
bool doctor_print_json(const struct doctor *d, FILE *out); /* false: out of memory */

#endif
