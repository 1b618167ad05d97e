/* The part of OpenMP's runtime that the program calls (GCC's interface), over POSIX threads: the thread sanitizer knows what these order, and knows
 * nothing of libgomp, which is not instrumented. Linked in place of libgomp's functions by --enable-sanitize=thread. Each parallel region makes its
 * threads anew, so that nothing but the region orders what they do. */
#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

enum { MOST = 64 };

struct team {
  void (*body)(void *);
  void *data;
  unsigned threads;
  pthread_mutex_t lock;
  pthread_cond_t all;
  unsigned waiting, round; /* at the barrier */
  bool loop;               /* a dynamic loop is under way */
  long next, end, step, chunk;
};

struct member {
  struct team *team;
  unsigned number;
};

static _Thread_local struct member me;
static int most_threads = 4;

bool GOMP_loop_nonmonotonic_dynamic_next(long *first, long *behind);
bool GOMP_loop_nonmonotonic_dynamic_start(long from, long end, long step, long chunk, long *first, long *behind);
int omp_get_max_threads(void);
int omp_get_num_threads(void);
int omp_get_thread_num(void);
void GOMP_barrier(void);
void GOMP_loop_end(void);
void GOMP_loop_end_nowait(void);
void GOMP_parallel(void (*body)(void *), void *data, unsigned threads, unsigned flags);
void omp_set_num_threads(int n);

int omp_get_thread_num(void) {
  return (int)me.number;
}

int omp_get_num_threads(void) {
  return me.team != NULL ? (int)me.team->threads : 1;
}

int omp_get_max_threads(void) {
  return most_threads;
}

void omp_set_num_threads(int n) {
  most_threads = n < MOST ? n : MOST;
}

static void *run(void *user) {
  me = *(struct member *)user;
  me.team->body(me.team->data);
  return NULL;
}

void GOMP_parallel(void (*body)(void *), void *data, unsigned threads, unsigned flags) {
  struct member outer = me, member[MOST];
  pthread_t thread[MOST];
  struct team team = {.body = body, .data = data, .threads = threads > 0 ? threads : (unsigned)most_threads};
  (void)flags;
  if (outer.team != NULL) team.threads = 1; /* nested regions are not split, as in libgomp */
  if (team.threads > MOST) team.threads = MOST;
  pthread_mutex_init(&team.lock, NULL);
  pthread_cond_init(&team.all, NULL);
  for (unsigned i = 0; i < team.threads; i++) member[i] = (struct member){&team, i};
  for (unsigned i = 1; i < team.threads; i++)
    if (pthread_create(&thread[i], NULL, run, &member[i]) != 0) abort();
  run(&member[0]);
  for (unsigned i = 1; i < team.threads; i++) pthread_join(thread[i], NULL);
  pthread_cond_destroy(&team.all);
  pthread_mutex_destroy(&team.lock);
  me = outer;
}

void GOMP_barrier(void) {
  struct team *t = me.team;
  if (t == NULL) return;
  pthread_mutex_lock(&t->lock);
  unsigned round = t->round;
  if (++t->waiting == t->threads) {
    t->waiting = 0;
    t->round++;
    pthread_cond_broadcast(&t->all);
  }
  while (round == t->round) pthread_cond_wait(&t->all, &t->lock);
  pthread_mutex_unlock(&t->lock);
}

/* The next piece of the loop that the team is in. */
static bool take(struct team *t, long *first, long *behind) {
  bool more = t->step > 0 ? t->next < t->end : t->next > t->end;
  if (!more) return false;
  *first = t->next;
  t->next += t->step * t->chunk;
  if (t->step > 0 ? t->next > t->end : t->next < t->end) t->next = t->end;
  *behind = t->next;
  return true;
}

bool GOMP_loop_nonmonotonic_dynamic_start(long from, long end, long step, long chunk, long *first, long *behind) {
  struct team *t = me.team;
  pthread_mutex_lock(&t->lock);
  if (!t->loop) {
    t->loop = true;
    t->next = from, t->end = end, t->step = step, t->chunk = chunk;
  }
  bool more = take(t, first, behind);
  pthread_mutex_unlock(&t->lock);
  return more;
}

bool GOMP_loop_nonmonotonic_dynamic_next(long *first, long *behind) {
  pthread_mutex_lock(&me.team->lock);
  bool more = take(me.team, first, behind);
  pthread_mutex_unlock(&me.team->lock);
  return more;
}

/* Only the last loop of a region ends so, and the team ends with the region. */
void GOMP_loop_end_nowait(void) {}

void GOMP_loop_end(void) {
  GOMP_barrier();
  if (me.number == 0) me.team->loop = false;
  GOMP_barrier();
}
