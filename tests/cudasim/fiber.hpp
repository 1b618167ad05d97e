/* Stacks to switch between, within one thread of the machine. */
#ifndef CUDASIM_FIBER_H
#define CUDASIM_FIBER_H

#include <stddef.h>

namespace cudasim {

struct fiber {
  void *sp;    /* while it does not run */
  void *stack; /* NULL: the stack of the thread that runs the simulator */
  size_t stack_bytes;
  size_t offset; /* where it begins: stacks that begin alike would lie on the same lines of the cache */
  void *fake; /* the address sanitizer's */
  void (*entry)();
#if !defined(__x86_64__)
  void *context;
#endif
};

/* A stack of its own; the first switch to it calls entry, which must not return. Never freed. */
fiber *fiber_new(void (*entry)());
/* To start anew what was left in the middle. */
void fiber_restart(fiber *f);
/* Leaves `from`, goes on in `to`. */
void fiber_switch(fiber *from, fiber *to);
/* The stack that the caller runs on. */
void fiber_adopt(fiber *f);

}  // namespace cudasim

#endif
