/* Small helpers for threads and the machine's facts. */
#ifndef PDMBOOTH_BASE_THREAD_H
#define PDMBOOTH_BASE_THREAD_H

#include <stddef.h>

int machine_cores(void);               /* cores this process may use (affinity mask), at least 1 */
size_t machine_memory(void);           /* bytes of RAM, cgroup limit considered */
size_t machine_memory_available(void); /* MemAvailable, cgroup limit considered */
size_t process_memory(void);           /* bytes that this process has in RAM now: VmRSS */
size_t process_memory_peak(void);      /* the most that it ever had: VmHWM */
double now_seconds(void);              /* monotonic */

#endif
