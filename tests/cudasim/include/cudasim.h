/* Control and inspection of the simulated device, for tests (C11 or C++).
 *
 * What goes wrong is a violation: one sentence, kept (the first 256) and counted; execution goes on where it can. Those that a real device does
 * not survive (an illegal access in a kernel, a deadlock) also set an error that stays until cudaDeviceReset or cudasim_reset.
 *
 * Caught for certain:
 *  - host code that touches device memory: it is not accessible outside of kernels, copies and stand-ins; the violation is noted, the page opened
 *    until the next call that runs device work;
 *  - accesses of kernels more than 255 bytes behind a block, or before it by more than what fills its first page (writes nearer than that are found
 *    when the block is freed or at cudasim_check; the address sanitizer finds every one, reads too, at once);
 *  - use after free, always: addresses are never given twice;
 *  - shared memory: the same at 16 bytes behind a variable;
 *  - barriers that some threads of a block do not reach, or reach at another line; warp operations whose mask is not met;
 *  - arguments of library calls against the documented rules; ranges that leave their block; host memory given where device memory is due.
 * Shown by wrong numbers: memory never written (it holds 0xff bytes: NaN; copies to the host and inputs of products that still hold them are
 *    violations), missing waits between streams, host reads before synchronisation, pinned memory overwritten too early: work runs as late as the
 *    calls allow, with a seed in a random order that the dependencies allow.
 * Not caught: accesses to another block's memory or to another tensor within one block; races between threads of a kernel beyond what other
 *    orders of threads show (cudasim_order); stack of a thread above 64 KiB ends the program; time. */
#ifndef CUDASIM_H
#define CUDASIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What the libraries do not support: nothing; any shape, and they say so when asked for an algorithm; any shape, but only when called; any call
 * in a capture. */
enum cudasim_refusal { CUDASIM_REFUSE_NOTHING, CUDASIM_REFUSE_SHAPES, CUDASIM_REFUSE_CALLS, CUDASIM_REFUSE_CAPTURE };
enum cudasim_order { CUDASIM_FORWARD, CUDASIM_REVERSE, CUDASIM_SHUFFLE };

/* --- control ------------------------------------------------------------------------------------------------------------------ */

/* Order in which a block's threads run and blocks of a grid; seed for SHUFFLE. */
void cudasim_order(enum cudasim_order order, unsigned seed);
/* Order in which streams run. 0 (from the start): nothing runs before somebody waits for it; else at random. */
void cudasim_interleave(unsigned seed);
/* Work runs at the call that asks for it, as if everything were followed by a synchronisation. Off at the start. */
void cudasim_eager(bool on);
/* Copies to the host that hold memory never written are violations (on at the start). */
void cudasim_check_unwritten(bool on);
/* The n-th counted call from now (1: the next) returns code, a cudaError; libraries return what they make of it. 0: none. */
void cudasim_fail(long n, int code);
/* The same for the n-th call from now of one function; "capture": made while a stream is captured. */
void cudasim_fail_in(const char *function, long n, int code);
void cudasim_refuse(enum cudasim_refusal what);
/* Events see a clock of which a library's function (cudnnConvolutionForward, ...) takes so many milliseconds when it runs an algorithm (of cuBLASLt: its rank in the
   list that it was offered in, from 0), and everything that was not
   given a time none. From the first call on until reset. */
void cudasim_time(const char *function, int algorithm, double ms);
/* The device: NULL or 0 leaves a value. "0", "1", "2", ... or "nodriver"; bytes; "8.6". Only without any memory in use. */
void cudasim_device(const char *devices, size_t memory, const char *arch);
/* Everything as at the start, environment read anew. Memory, streams, events and handles that are left count as leaks: violations. */
void cudasim_reset(void);

/* --- inspection ----------------------------------------------------------------------------------------------------------------- */

/* Runs all queued work and looks at the margins of all blocks; the number of violations since reset. */
int cudasim_check(void);
int cudasim_violations(void);          /* the number alone */
const char *cudasim_violation(int i);  /* the i-th from 0, or NULL */
bool cudasim_found(const char *text);  /* whether one of them contains the text */
void cudasim_forgive(void);            /* forgets violations and sticky errors */
/* Violations, calls, launches by kernel, peak memory. */
void cudasim_report(FILE *to);

long cudasim_calls(void);              /* runtime and library calls and launches since reset, those that only ask for errors or for the device left out */
long cudasim_calls_of(const char *function);
long cudasim_waits(void);              /* calls since reset in which the host waits for the device: synchronisation, pageable copies, memory taken or given back */
long cudasim_launches(const char *kernel); /* as LAUNCH names it; NULL: all */
size_t cudasim_bytes(void);            /* device memory in use */
size_t cudasim_peak(void);             /* the most since reset */
size_t cudasim_pinned_peak(void);
bool cudasim_is_device(const void *p, size_t bytes); /* lies within one block of device memory */

#ifdef __cplusplus
}
#endif

#endif
