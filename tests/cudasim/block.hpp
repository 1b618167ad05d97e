/* The threads of one block after the other, each a plain call until it has to wait for others. */
#ifndef CUDASIM_BLOCK_H
#define CUDASIM_BLOCK_H

#include <functional>
#include <string>
#include <vector>

#include "fiber.hpp"
#include "sim.hpp"

namespace cudasim {

/* n numbers in the order of the day. */
std::vector<unsigned> in_order(unsigned n, random_numbers *r);
std::string where_in_kernel();
const char *kernel_name();

struct simulated_thread {
  uint3 index;
  unsigned place; /* in its warp's turn */
  enum { NEW, READY, RUNNING, BARRIER, WARP, DONE } state;
  fiber *on;
  /* the warp operation that it waits in */
  unsigned mask;
  int source;
  bool predicate;
  unsigned ballot;
  uint64_t value, result;
  const char *file; /* of the barrier or warp operation */
  int line;
};

struct simulated_warp {
  unsigned first, lanes; /* threads [first, first + lanes) */
  unsigned runnable;     /* who is NEW or READY: bits, by places in turn */
  unsigned waiting;      /* lanes in a warp operation */
  unsigned left;         /* lanes that have not returned */
  unsigned cursor;
  std::vector<unsigned> turn; /* its threads in their order */
};

class block_runner {
 public:
  block_runner(const std::function<void()> &thread, unsigned threads, size_t dynamic, const std::vector<unsigned> &turn);
  ~block_runner();
  /* A whole block at blockIdx; the bytes of its SHARED variables. */
  size_t run();

  void barrier(const char *file, int line);
  unsigned exchange(unsigned mask, void *value, size_t bytes, int source, bool predicate, const char *file, int line);

 private:
  static void work();
  void start();
  simulated_thread *pick();
  void resume(simulated_thread *t);
  void run_thread(simulated_thread *t);
  void thread_ended(simulated_thread *t);
  void wait();
  void release_barrier();
  void check_barrier(const simulated_thread *last);
  void try_warp(simulated_warp *w, unsigned mask);
  void finish_warp(simulated_warp *w, unsigned lanes);
  void make_ready(simulated_thread *t);
  void deadlock();
  simulated_warp *warp_of(const simulated_thread *t) { return &warps_[(size_t)(t - threads_.data()) / 32]; }
  unsigned lane_of(const simulated_thread *t) { return (unsigned)(t - threads_.data()) % 32; }

  const std::function<void()> &thread_;
  std::vector<simulated_thread> threads_;
  std::vector<simulated_warp> warps_;
  std::vector<unsigned> warp_turn_;
  size_t dynamic_;
  unsigned live_, waiting_, warp_at_;
  bool warned_exit_, warned_line_;
  simulated_thread *current_, *pending_; /* pending: to be started by the fiber that is switched to */
};

/* shared.cpp */
void shared_begin(size_t dynamic); /* a new block: everything of the last one is gone */
size_t shared_end();               /* looks at the margins; bytes of SHARED variables */

}  // namespace cudasim

#endif
