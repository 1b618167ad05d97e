#include "choices.h"
#include "library.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

enum { FORMAT = 1, MOST = 16384, RUNS = 3, HEADER = 512, LINE = 1024 };

struct cuda_choices {
  struct cuda_choice *choice;
  int n, room;
  bool frozen; /* nothing is measured any more */
  cudaEvent_t begin, end;
};

bool cuda_choices_open(struct backend *b, struct err *e) {
  cuda_of(b)->choices = calloc(1, sizeof *cuda_of(b)->choices);
  return cuda_of(b)->choices || err_set(e, ERR_FIT, "out of memory");
}

void cuda_choices_close(struct backend *b) {
  struct cuda_choices *s = cuda_of(b)->choices;
  if (!s) return;
  if (s->begin) (void)cudaEventDestroy(s->begin);
  if (s->end) (void)cudaEventDestroy(s->end);
  free(s->choice);
  free(s);
  cuda_of(b)->choices = NULL;
}

/* --- what stands ------------------------------------------------------------------------------------------------------------- */

static struct cuda_choice *standing(const struct cuda_choices *s, const struct cuda_choice *like) {
  for (int i = 0; i < s->n; i++) {
    struct cuda_choice *c = &s->choice[i];
    if (strcmp(c->what, like->what) == 0 && c->keys == like->keys && memcmp(c->key, like->key, (size_t)c->keys * sizeof *c->key) == 0) return c;
  }
  return NULL;
}

bool cuda_choice_find(const struct backend *b, struct cuda_choice *c) {
  const struct cuda_choice *found = standing(cuda_of(b)->choices, c);
  if (found) *c = *found;
  return found != NULL;
}

static bool grow(struct cuda_choices *s) {
  if (s->n < s->room) return true;
  int room = s->room ? 2 * s->room : 64;
  struct cuda_choice *more = room <= MOST ? realloc(s->choice, (size_t)room * sizeof *more) : NULL;
  if (!more) return false;
  s->choice = more;
  s->room = room;
  return true;
}

void cuda_choice_keep(struct backend *b, const struct cuda_choice *c) {
  struct cuda_choices *s = cuda_of(b)->choices;
  if (!standing(s, c) && grow(s)) s->choice[s->n++] = *c;
}

/* --- measuring --------------------------------------------------------------------------------------------------------------- */

bool cuda_may_measure(const struct backend *b) {
  return cuda_of(b)->rehearsing && !cuda_of(b)->choices->frozen;
}

static bool have_events(struct backend *b) {
  struct cuda_choices *s = cuda_of(b)->choices;
  return (s->begin || cuda_ok(b, cudaEventCreate(&s->begin), "making an event")) &&
         (s->end || cuda_ok(b, cudaEventCreate(&s->end), "making an event"));
}

/* Of one run of the i-th, in milliseconds; negative: refused, or b->fault. */
static float time_once(struct backend *b, const struct cuda_trials *t, int i, char *memory) {
  const struct cuda_choices *s = cuda_of(b)->choices;
  float ms = -1;
  bool ok = cuda_ok(b, cudaEventRecord(s->begin, cuda_of(b)->stream), "measuring") && t->run(b, t->job, i, memory) &&
            cuda_ok(b, cudaEventRecord(s->end, cuda_of(b)->stream), "measuring") && cuda_ok(b, cudaEventSynchronize(s->end), "measuring") &&
            cuda_ok(b, cudaEventElapsedTime(&ms, s->begin, s->end), "measuring");
  return ok ? ms : -1;
}

/* The smaller of some runs after one that loads code; no more of them for what is far behind the best so far. */
static float time_of(struct backend *b, const struct cuda_trials *t, int i, char *memory, float best) {
  float least = time_once(b, t, i, memory) < 0 ? -1 : time_once(b, t, i, memory);
  for (int run = 1; least >= 0 && run < RUNS && (best < 0 || least < 2 * best); run++) {
    float ms = time_once(b, t, i, memory);
    if (ms < least) least = ms;
  }
  return least;
}

int cuda_fastest(struct backend *b, const struct cuda_trials *t, bool *sure) {
  static const float clearly = 0.95f; /* the library's own order counts for more than what two measurements of the same may differ by */
  struct err ignored = {0};
  int fastest = -1;
  float best = -1;
  *sure = false;
  (void)cuda_idle(b); /* takes the device, for a thread that is new to it */
  if (b->fault.code != ERR_OK || !have_events(b)) return 0;
  char *memory = cuda_alloc(b, t->bytes, &ignored);
  for (int i = 0; memory && i < t->n && b->fault.code == ERR_OK; i++) {
    float ms = time_of(b, t, i, memory, best);
    if (ms < 0 || (best >= 0 && ms >= clearly * best)) continue;
    best = ms;
    fastest = i;
  }
  cuda_release(b, memory, t->bytes);
  *sure = memory && b->fault.code == ERR_OK;
  return *sure ? fastest : 0;
}

/* --- text -------------------------------------------------------------------------------------------------------------------- */

static void header_of(const struct backend *b, char out[HEADER]) {
  snprintf(out, HEADER, "pdmbooth-tui algorithms %d: %s; cuDNN %zu, cublasLt %zu", FORMAT, cuda_of(b)->text, cudnn(b)->GetVersion(), cublaslt(b)->GetVersion());
}

/* "convolution 1 0 ... = 1 2 # 89abcdef" */
static void write_line(const struct cuda_choice *c, char out[LINE]) {
  int n = snprintf(out, LINE, "%s", c->what);
  for (int i = 0; i < c->keys; i++) n += snprintf(out + n, LINE - (size_t)n, " %" PRId64, c->key[i]);
  n += snprintf(out + n, LINE - (size_t)n, " =");
  for (int i = 0; i < c->values; i++) n += snprintf(out + n, LINE - (size_t)n, " %" PRIx64, c->value[i]);
  snprintf(out + n, LINE - (size_t)n, " # %08x", (unsigned)hash_of(out, (size_t)n));
}

/* False: not what write_line writes, to the letter. */
static bool read_line(const char *line, struct cuda_choice *c) {
  char again[LINE], *end;
  *c = (struct cuda_choice){.keys = 0};
  size_t n = strcspn(line, " ");
  if (n == 0 || n >= sizeof c->what) return false;
  memcpy(c->what, line, n);
  const char *at = line + n;
  for (; *at == ' ' && at[1] != '=' && c->keys < CUDA_CHOICE_KEY; at = end) c->key[c->keys++] = strtoll(at + 1, &end, 10);
  if (strncmp(at, " =", 2) != 0) return false;
  for (at += 2; *at == ' ' && at[1] != '#' && c->values < CUDA_CHOICE_VALUE; at = end) c->value[c->values++] = strtoull(at + 1, &end, 16);
  write_line(c, again);
  return strcmp(line, again) == 0;
}

char *cuda_choices(struct backend *b, struct err *e) {
  const struct cuda_choices *s = cuda_of(b)->choices;
  char *text = malloc(HEADER + (size_t)s->n * LINE + 2), *at = text;
  if (!text) {
    err_set(e, ERR_FIT, "out of memory");
    return NULL;
  }
  header_of(b, at);
  for (int i = 0; i <= s->n; i++) {
    at += strlen(at);
    *at++ = '\n';
    *at = 0;
    if (i < s->n) write_line(&s->choice[i], at);
  }
  return text;
}

/* The line at *text, without its end, and *text behind it; what is too long is cut off, and so nothing that is known. */
static void next_line(const char **text, char *out, size_t room) {
  size_t n = strcspn(*text, "\n"), kept = n < room ? n : room - 1;
  memcpy(out, *text, kept);
  out[kept] = 0;
  *text += n + ((*text)[n] == '\n');
}

bool cuda_take_choices(struct backend *b, const char *text, bool no_more) {
  char own[HEADER], line[LINE];
  struct cuda_choice c;
  bool whole = true;
  header_of(b, own);
  next_line(&text, line, sizeof line);
  if (strcmp(line, own) != 0) return false;
  while (*text) {
    next_line(&text, line, sizeof line);
    if (read_line(line, &c))
      cuda_choice_keep(b, &c);
    else
      whole = false;
  }
  if (no_more && whole) cuda_of(b)->choices->frozen = true;
  return whole;
}
