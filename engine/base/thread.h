/* Small helpers for threads and the machine's facts. */
#ifndef PDMBOOTH_BASE_THREAD_H
#define PDMBOOTH_BASE_THREAD_H

#include <stddef.h>

int machine_cores(void);               /* cores this process may use (affinity mask), at least 1 */
size_t machine_memory(void);           /* bytes of RAM, cgroup limit considered */
size_t machine_memory_available(void); /* MemAvailable, cgroup limit considered */
double now_seconds(void);              /* monotonic */

#endif
