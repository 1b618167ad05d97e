/* Switching stacks: six registers on x86-64, ucontext elsewhere. The address sanitizer is told of each switch. */
#include "fiber.hpp"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

#include "sim.hpp"

namespace cudasim {

#if CUDASIM_ASAN
enum : size_t { STACK = 512 << 10 };
#else
enum : size_t { STACK = 96 << 10 };
#endif
enum : size_t { STACK_GUARD = 4096 };

static fiber *arriving; /* the one that is being switched to */

static void leave(fiber *from, fiber *to) {
  arriving = to;
#if CUDASIM_ASAN
  __sanitizer_start_switch_fiber(&from->fake, to->stack, to->stack_bytes);
#else
  (void)from;
#endif
}

static void arrive(bool first) {
#if CUDASIM_ASAN
  __sanitizer_finish_switch_fiber(first ? NULL : arriving->fake, NULL, NULL);
#else
  (void)first;
#endif
}

static void enter() {
  arrive(true);
  arriving->entry();
  abort();
}

#if defined(__x86_64__)

extern "C" void cudasim_switch(void **save, void *to);
asm(".text\n"
    ".p2align 4\n"
    ".type cudasim_switch,@function\n"
    "cudasim_switch:\n"
    " push %rbp\n push %rbx\n push %r12\n push %r13\n push %r14\n push %r15\n"
    " mov %rsp,(%rdi)\n"
    " mov %rsi,%rsp\n"
    " pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbx\n pop %rbp\n"
    " ret\n"
    ".size cudasim_switch,.-cudasim_switch\n");

void fiber_restart(fiber *f) {
#if CUDASIM_ASAN
  __asan_unpoison_memory_region(f->stack, f->stack_bytes);
#endif
  void **sp = (void **)((char *)f->stack + f->stack_bytes - 64 - f->offset);
  *--sp = NULL; /* enter's return address: it never returns */
  *--sp = (void *)enter;
  for (int i = 0; i < 6; i++) *--sp = NULL;
  f->sp = sp;
  f->fake = NULL;
}

void fiber_switch(fiber *from, fiber *to) {
  leave(from, to);
  cudasim_switch(&from->sp, to->sp);
  arrive(false);
}

#else

void fiber_restart(fiber *f) {
  ucontext_t *c = (ucontext_t *)f->context;
  getcontext(c);
  c->uc_stack.ss_sp = f->stack;
  c->uc_stack.ss_size = f->stack_bytes;
  c->uc_link = NULL;
  makecontext(c, enter, 0);
  f->fake = NULL;
}

void fiber_switch(fiber *from, fiber *to) {
  leave(from, to);
  swapcontext((ucontext_t *)from->context, (ucontext_t *)to->context);
  arrive(false);
}

#endif

static fiber *fiber_empty() {
  fiber *f = (fiber *)calloc(1, sizeof *f);
  if (!f) abort();
#if !defined(__x86_64__)
  f->context = calloc(1, sizeof(ucontext_t));
  if (!f->context) abort();
#endif
  return f;
}

fiber *fiber_new(void (*entry)()) {
  fiber *f = fiber_empty();
  char *p = (char *)mmap(NULL, STACK + STACK_GUARD, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED || mprotect(p + STACK_GUARD, STACK, PROT_READ | PROT_WRITE)) abort();
  f->stack = p + STACK_GUARD;
  f->stack_bytes = STACK;
  f->entry = entry;
  static unsigned made;
  f->offset = made++ % 61 * 448;
  fiber_restart(f);
  return f;
}

void fiber_adopt(fiber *f) {
  f->fake = NULL;
#if !defined(__x86_64__)
  if (!f->context) f->context = calloc(1, sizeof(ucontext_t));
#endif
#if CUDASIM_ASAN
  pthread_attr_t a;
  if (pthread_getattr_np(pthread_self(), &a)) abort();
  pthread_attr_getstack(&a, &f->stack, &f->stack_bytes);
  pthread_attr_destroy(&a);
#endif
}

}  // namespace cudasim
