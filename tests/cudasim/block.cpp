/* A block's threads. All that do not wait run on one stack, one after the other; one that waits keeps its stack and the next goes on elsewhere.
 * Who goes on is decided where one stops: within the warp first, then the next warp, so that few stacks are in use at a time. */
#include "block.hpp"

#include <string.h>

namespace cudasim {

static block_runner *running;
static fiber host_stack;
static fiber *current_fiber;

static std::vector<fiber *> &idle() {
  static std::vector<fiber *> *v = new std::vector<fiber *>;
  return *v;
}

static void switch_to(fiber *to) {
  fiber *from = current_fiber;
  current_fiber = to;
  fiber_switch(from, to);
}

/* --- life ------------------------------------------------------------------------------------------------------------------------------- */

static uint3 index_of(unsigned i) {
  uint3 v = {i % blockDim.x, i / blockDim.x % blockDim.y, i / blockDim.x / blockDim.y};
  return v;
}

block_runner::block_runner(const std::function<void()> &thread, unsigned threads, size_t dynamic, const std::vector<unsigned> &turn)
    : thread_(thread), threads_(threads), warps_((threads + 31) / 32), dynamic_(dynamic), live_(0), waiting_(0), warp_at_(0),
      warned_exit_(false), warned_line_(false), current_(NULL), pending_(NULL) {
  for (unsigned i = 0; i < threads; i++) threads_[i].index = index_of(i);
  for (unsigned i = 0; i < warps_.size(); i++) {
    warps_[i].first = 32 * i;
    warps_[i].lanes = threads - 32 * i < 32 ? threads - 32 * i : 32;
  }
  for (unsigned i : turn) { /* warps come in the order of their first thread's turn */
    simulated_warp &w = warps_[i / 32];
    if (w.turn.empty()) warp_turn_.push_back(i / 32);
    threads_[i].place = (unsigned)w.turn.size();
    w.turn.push_back(i);
  }
}

block_runner::~block_runner() { running = NULL; }

void block_runner::start() {
  for (auto &t : threads_) {
    t.state = simulated_thread::NEW;
    t.on = NULL;
  }
  for (auto &w : warps_) {
    w.cursor = w.waiting = 0;
    w.left = w.runnable = w.lanes == 32 ? ~0u : (1u << w.lanes) - 1;
  }
  live_ = (unsigned)threads_.size();
  waiting_ = warp_at_ = 0;
  pending_ = current_ = NULL;
}

static fiber *idle_fiber(void (*entry)()) {
  if (idle().empty()) return fiber_new(entry);
  fiber *f = idle().back();
  idle().pop_back();
  return f;
}

size_t block_runner::run() {
  running = this;
  start();
  shared_begin(dynamic_);
  fiber_adopt(&host_stack);
  current_fiber = &host_stack;
  switch_to(idle_fiber(work));
  if (live_) deadlock();
  return shared_end();
}

/* What every stack of a thread does: threads, until none can run. */
void block_runner::work() {
  fiber *self = current_fiber;
  for (;;) {
    block_runner *b = running;
    simulated_thread *t = b->pending_ ? b->pending_ : b->pick();
    b->pending_ = NULL;
    if (t && t->state == simulated_thread::NEW) {
      t->on = self;
      b->run_thread(t);
      continue;
    }
    idle().push_back(self);
    if (t) b->resume(t);
    switch_to(t ? t->on : &host_stack);
  }
}

/* --- whose turn it is ---------------------------------------------------------------------------------------------------------------------- */

simulated_thread *block_runner::pick() {
  for (size_t k = 0; k < warps_.size(); k++) {
    simulated_warp &w = warps_[warp_turn_[warp_at_]];
    if (w.runnable) {
      unsigned later = w.runnable >> w.cursor << w.cursor, place = (unsigned)__builtin_ctz(later ? later : w.runnable);
      w.runnable &= ~(1u << place);
      w.cursor = (place + 1) % 32;
      return &threads_[w.turn[place]];
    }
    warp_at_ = (warp_at_ + 1) % (unsigned)warps_.size();
  }
  return NULL;
}

void block_runner::resume(simulated_thread *t) {
  t->state = simulated_thread::RUNNING;
  current_ = t;
  threadIdx = t->index;
}

void block_runner::run_thread(simulated_thread *t) {
  resume(t);
  thread_();
  thread_ended(current_);
}

/* The running thread cannot go on: others do until it is made ready. */
void block_runner::wait() {
  simulated_thread *next = pick();
  fiber *to = &host_stack;
  if (next && next->state == simulated_thread::NEW) {
    pending_ = next;
    to = idle_fiber(work);
  } else if (next) {
    resume(next);
    to = next->on;
  }
  switch_to(to);
}

void block_runner::make_ready(simulated_thread *t) {
  if (t == current_) {
    t->state = simulated_thread::RUNNING;
    return;
  }
  t->state = simulated_thread::READY;
  warp_of(t)->runnable |= 1u << t->place;
}

void block_runner::thread_ended(simulated_thread *t) {
  t->state = simulated_thread::DONE;
  current_ = NULL;
  live_--;
  simulated_warp *w = warp_of(t);
  w->left &= ~(1u << lane_of(t));
  for (unsigned l = 0; w->waiting && l < w->lanes; l++)
    if (threads_[w->first + l].state == simulated_thread::WARP) try_warp(w, threads_[w->first + l].mask);
  if (waiting_ && waiting_ == live_) release_barrier();
}

/* --- __syncthreads ---------------------------------------------------------------------------------------------------------------------------- */

void block_runner::check_barrier(const simulated_thread *one) {
  if (live_ < threads_.size() && !warned_exit_) {
    warned_exit_ = true;
    violation("kernel %s: __syncthreads at %s:%d is not reached by %zu threads of a block of %zu, which have returned", kernel_name(), one->file,
              one->line, threads_.size() - live_, threads_.size());
  }
  for (auto &t : threads_)
    if (t.state == simulated_thread::BARRIER && (t.line != one->line || (t.file != one->file && strcmp(t.file, one->file) != 0)) && !warned_line_) {
      warned_line_ = true;
      violation("kernel %s: threads of one block meet at different __syncthreads: %s:%d and %s:%d", kernel_name(), one->file, one->line, t.file,
                t.line);
    }
}

void block_runner::release_barrier() {
  const simulated_thread *one = NULL;
  for (auto &t : threads_)
    if (t.state == simulated_thread::BARRIER) one = &t;
  check_barrier(one);
  waiting_ = 0;
  for (auto &t : threads_)
    if (t.state == simulated_thread::BARRIER) make_ready(&t);
}

void block_runner::barrier(const char *file, int line) {
  simulated_thread *t = current_;
  t->state = simulated_thread::BARRIER;
  t->file = file;
  t->line = line;
  if (++waiting_ == live_)
    release_barrier();
  else
    wait();
}

/* --- warp operations ---------------------------------------------------------------------------------------------------------------------------- */

/* Where all of mask's lanes that are left have come with the same mask, they get what they came for. */
void block_runner::try_warp(simulated_warp *w, unsigned mask) {
  unsigned lanes = mask & w->left;
  if ((w->waiting & lanes) != lanes) return;
  for (unsigned left = lanes; left; left &= left - 1) {
    const simulated_thread &t = threads_[w->first + (unsigned)__builtin_ctz(left)];
    if (t.mask != mask) {
      violation("kernel %s: lanes of a warp meet with different masks, %08x at %s:%d and %08x", kernel_name(), t.mask, t.file, t.line, mask);
      return;
    }
  }
  finish_warp(w, lanes);
}

void block_runner::finish_warp(simulated_warp *w, unsigned lanes) {
  unsigned ballot = 0;
  w->waiting &= ~lanes;
  simulated_thread *warp = &threads_[w->first];
  for (unsigned left = lanes; left; left &= left - 1) ballot |= warp[__builtin_ctz(left)].predicate ? left & -left : 0;
  for (unsigned left = lanes; left; left &= left - 1) {
    simulated_thread &t = warp[__builtin_ctz(left)];
    bool there = t.source >= 0 && t.source < 32 && (lanes >> t.source & 1);
    t.result = there ? warp[t.source].value : ~(uint64_t)0; /* a lane that does not take part has nothing to give */
    t.ballot = ballot;
    make_ready(&t);
  }
}

/* Most are of four bytes: no call for those. */
static void copy_value(void *to, const void *from, size_t bytes) {
  if (bytes == 4)
    memcpy(to, from, 4);
  else
    memcpy(to, from, bytes);
}

unsigned block_runner::exchange(unsigned mask, void *value, size_t bytes, int source, bool predicate, const char *file, int line) {
  simulated_thread *t = current_;
  simulated_warp *w = warp_of(t);
  if (!(mask >> lane_of(t) & 1)) {
    violation("kernel %s: lane %u calls a warp operation at %s:%d whose mask %08x lacks it", kernel_name(), lane_of(t), file, line, mask);
    return 0;
  }
  t->state = simulated_thread::WARP;
  t->mask = mask;
  t->source = source;
  t->predicate = predicate;
  t->file = file;
  t->line = line;
  t->value = 0;
  if (bytes) copy_value(&t->value, value, bytes);
  w->waiting |= 1u << lane_of(t);
  try_warp(w, mask);
  if (t->state == simulated_thread::WARP) wait();
  if (bytes) copy_value(value, &t->result, bytes);
  return t->ballot;
}

/* --- nobody can go on ------------------------------------------------------------------------------------------------------------------------------ */

void block_runner::deadlock() {
  unsigned in_warp = 0;
  const simulated_thread *barrier = NULL, *warp = NULL;
  for (auto &t : threads_) {
    if (t.state == simulated_thread::BARRIER) barrier = &t;
    if (t.state == simulated_thread::WARP) warp = &t;
    in_warp += t.state == simulated_thread::WARP;
    if (t.state == simulated_thread::DONE || !t.on) continue;
    fiber_restart(t.on);
    idle().push_back(t.on);
  }
  violation("kernel %s, block (%u,%u,%u): deadlock: %u threads wait in __syncthreads (line %d), %u in a warp operation (line %d), %zu have returned",
            kernel_name(), blockIdx.x, blockIdx.y, blockIdx.z, waiting_, barrier ? barrier->line : 0, in_warp, warp ? warp->line : 0,
            threads_.size() - live_);
  set_sticky(cudaErrorLaunchFailure);
}

void block_barrier(const char *file, int line) { running->barrier(file, line); }
unsigned warp_exchange(unsigned mask, void *value, size_t bytes, int source, bool predicate, const char *file, int line) {
  return running->exchange(mask, value, bytes, source, predicate, file, line);
}

}  // namespace cudasim
