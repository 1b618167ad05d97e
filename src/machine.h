/* What this machine is, beyond what the engine needs to know (engine/base/thread.h). */
#ifndef PDMBOOTH_SRC_MACHINE_H
#define PDMBOOTH_SRC_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The vector extensions that matter here, as /proc/cpuinfo names them, separated by blanks. Returns buf. */
const char *machine_simd(char *buf, size_t n);
/* Processors that the control group's quota allows (cgroup v2 and v1), 0: no quota. */
double machine_quota(void);
/* Bytes of memory in the machine, whatever the control group allows. */
int64_t machine_physical_memory(void);
/* Bytes free for this user where path is or would be; -1: cannot tell. */
int64_t machine_disk_free(const char *path);

#endif
