/* Stands in for libFuzzer: seeds are changed at random (Philox, so the same every time) and handed to LLVMFuzzerTestOneInput.
 * usage: fuzz_NAME [--runs N] [--seconds S] [--seed N] FOLDER|FILE...
 * A file alone is run once as it is: so a finding is looked at again. Before each run the input is in memory that outlives a crash: it is written to
 * crash-NAME in the current directory when the program dies; an input that takes more than 20 seconds is a finding too. */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/rng.h"
#include "fuzz.h"

enum { MOST = 1 << 18, SEEDS = 512, PATIENCE = 20 };

struct input {
  size_t n;
  uint8_t *data;
};

static struct input seeds[SEEDS];
static int n_seeds;
static uint8_t now[MOST]; /* the input of this run */
static size_t now_n;
static struct { /* what is being changed: the input, or a part of it */
  uint8_t *data;
  size_t n, max;
} part;
static const char *program;
static struct rng_counter counter = {.stream = RNG_SHUFFLE};
static uint32_t drawn;

static uint32_t below(uint32_t bound) {
  return bound > 0 ? rng_below(&counter, drawn++, bound) : 0;
}

/* --- findings ------------------------------------------------------------------------------------------------------------------------ */

static void keep_input(void) {
  char path[256];
  const char *slash = strrchr(program, '/');
  snprintf(path, sizeof path, "crash-%s", slash != NULL ? slash + 1 : program);
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
  if (fd < 0) return;
  (void)!write(fd, now, now_n);
  close(fd);
  fprintf(stderr, "fuzz: the input is in %s\n", path);
}

#if defined(__SANITIZE_ADDRESS__)
void __sanitizer_set_death_callback(void (*f)(void));
#define ON_DEATH(f) __sanitizer_set_death_callback(f)
#else
#define ON_DEATH(f) (void)0
#endif

static void on_signal(int number) {
  fprintf(stderr, "fuzz: %s\n", number == SIGALRM ? "this input takes too long" : strsignal(number));
  keep_input();
  _exit(77);
}

/* --- seeds ------------------------------------------------------------------------------------------------------------------------------- */

static bool add_seed(const char *path) {
  FILE *f = fopen(path, "rb");
  if (f == NULL || n_seeds == SEEDS) return false;
  struct input *s = &seeds[n_seeds];
  s->data = malloc(MOST);
  s->n = s->data != NULL ? fread(s->data, 1, MOST, f) : 0;
  fclose(f);
  if (s->data != NULL) n_seeds++;
  return s->data != NULL;
}

static void add_folder(const char *folder) {
  struct dirent **entry;
  int n = scandir(folder, &entry, NULL, alphasort);
  for (int i = 0; i < n; i++) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, entry[i]->d_name);
    if (entry[i]->d_name[0] != '.') add_seed(path);
    free(entry[i]);
  }
  if (n >= 0) free(entry);
}

/* --- changes --------------------------------------------------------------------------------------------------------------------------- */

/* Room of n bytes at place at, as far as there is any; returns how many. */
static size_t open_gap(size_t at, size_t n) {
  if (n > part.max - part.n) n = part.max - part.n;
  memmove(part.data + at + n, part.data + at, part.n - at);
  part.n += n;
  return n;
}

static void put_word(size_t at) {
  static const char *const word[] = {"{",
                                     "}",
                                     "[",
                                     "]",
                                     "\"",
                                     "\\",
                                     ",",
                                     ":",
                                     "null",
                                     "true",
                                     "-1",
                                     "1e999",
                                     "0",
                                     "9007199254740993",
                                     "NaN",
                                     "\\u0000",
                                     "\\ud800",
                                     "\n",
                                     "\r\n",
                                     "[x]\n",
                                     "=",
                                     ";",
                                     "\xef\xbb\xbf",
                                     "\xff",
                                     "\xc3\xa9",
                                     "\xf0\x9f\x90\xa9",
                                     "%s%n",
                                     "../",
                                     "{token}",
                                     "<|endoftext|>",
                                     "</w>",
                                     "F32",
                                     "BF16",
                                     "__metadata__",
                                     "data_offsets",
                                     "shape",
                                     "dtype"};
  const char *w = word[below(sizeof word / sizeof *word)];
  size_t n = open_gap(at, strlen(w));
  memcpy(part.data + at, w, n);
}

/* A number at the edge of what fits, 1 to 8 bytes, either end first. */
static void put_number(size_t at) {
  static const uint64_t edge[] = {
      0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x7fffffff, 0x80000000u, 0xffffffffu, (uint64_t)1 << 53, (uint64_t)1 << 60, UINT64_MAX};
  uint64_t v = edge[below(sizeof edge / sizeof *edge)] + below(3) - 1;
  size_t size = (size_t)1 << below(4);
  bool big = below(2) != 0;
  for (size_t i = 0; i < size && at + i < part.n; i++) part.data[at + i] = (uint8_t)(v >> 8 * (big ? size - 1 - i : i));
}

static void mix_in(size_t at) {
  const struct input *s = &seeds[below((uint32_t)n_seeds)];
  if (s->n == 0) return;
  size_t from = below((uint32_t)s->n), n = open_gap(at, 1 + below((uint32_t)(s->n - from)));
  memcpy(part.data + at, s->data + from, n);
}

static void repeat(size_t at) {
  static uint8_t piece[64];
  size_t n = 1 + below(64), times = 1 + below(40);
  if (n > part.n - at) n = part.n - at;
  memcpy(piece, part.data + at, n);
  for (size_t i = 0; i < times && n > 0; i++) {
    size_t room = open_gap(at, n);
    memcpy(part.data + at, piece, room);
  }
}

static void change(void) {
  size_t at = below((uint32_t)part.n + 1), left = part.n - at, n;
  switch (below(8)) {
    case 0:
      if (left > 0) part.data[at] ^= (uint8_t)(1u << below(8));
      break;
    case 1:
      if (left > 0) part.data[at] = (uint8_t)below(256);
      break;
    case 2:
      n = 1 + below(left < 32 ? (uint32_t)left : 32);
      if (n > left) n = left;
      memmove(part.data + at, part.data + at + n, left - n);
      part.n -= n;
      break;
    case 3:
      put_word(at);
      break;
    case 4:
      put_number(at);
      break;
    case 5:
      mix_in(at);
      break;
    case 6:
      repeat(at);
      break;
    default:
      if (below(8) == 0)
        part.n = at; /* cut off */
      else if (left > 0 && part.data[at] >= '0' && part.data[at] <= '9')
        part.data[at] = (uint8_t)('0' + below(10));
  }
}

/* What libFuzzer offers to a mutator of the fuzzer's own. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t n, size_t max) {
  part.data = data;
  part.n = n;
  part.max = max;
  change();
  return part.n;
}

static void make_input(long run) {
  counter.step = (uint32_t)run;
  drawn = 0;
  const struct input *s = &seeds[below((uint32_t)n_seeds)];
  memcpy(now, s->data, s->n);
  now_n = s->n;
  for (uint32_t changes = 1 + below(1u << below(5)); changes > 0; changes--)
    now_n =
        LLVMFuzzerCustomMutator != NULL ? LLVMFuzzerCustomMutator(now, now_n, MOST, below(UINT32_MAX)) : LLVMFuzzerMutate(now, now_n, MOST);
}

/* --- runs ---------------------------------------------------------------------------------------------------------------------------------- */

/* A copy of exactly its size, so that a sanitizer sees a read beyond it. */
static void run_now(void) {
  uint8_t *exact = malloc(now_n > 0 ? now_n : 1);
  if (exact == NULL) return;
  memcpy(exact, now, now_n);
  alarm(PATIENCE);
  LLVMFuzzerTestOneInput(exact, now_n);
  alarm(0);
  free(exact);
}

static double seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int main(int argc, char **argv) {
  long runs = -1, run = 0;
  double limit = -1, begin = seconds();
  program = argv[0];
  for (int i = 1; i < argc; i++) {
    struct stat st;
    if (strcmp(argv[i], "--runs") == 0 && i + 1 < argc)
      runs = strtol(argv[++i], NULL, 10);
    else if (strcmp(argv[i], "--seconds") == 0 && i + 1 < argc)
      limit = strtod(argv[++i], NULL);
    else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
      counter.seed = strtoull(argv[++i], NULL, 10);
    else if (stat(argv[i], &st) == 0 && S_ISDIR(st.st_mode))
      add_folder(argv[i]);
    else if (!add_seed(argv[i]))
      return fprintf(stderr, "fuzz: cannot read %s\n", argv[i]), 2;
  }
  if (n_seeds == 0) return fprintf(stderr, "usage: %s [--runs N] [--seconds S] [--seed N] FOLDER|FILE...\n", program), 2;
  ON_DEATH(keep_input);
  signal(SIGALRM, on_signal);
  signal(SIGABRT, on_signal);
  for (int i = 0; i < n_seeds; i++) {
    memcpy(now, seeds[i].data, now_n = seeds[i].n);
    run_now();
  }
  for (; (runs >= 0 && run < runs) || (limit >= 0 && seconds() - begin < limit); run++) {
    make_input(run);
    run_now();
  }
  printf("%s: %ld inputs from %d seeds in %.1f s, no finding\n", program, run + n_seeds, n_seeds, seconds() - begin);
  for (int i = 0; i < n_seeds; i++) free(seeds[i].data);
  return 0;
}
