/* Torture: the program runs again and again, each time another of its calls fails; what it says and leaves is looked at. */
#ifndef PDMBOOTH_TESTS_TORTURE_H
#define PDMBOOTH_TESTS_TORTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PATHS = 4096, ARGUMENTS = 24, SAID = 1 << 16 };

/* --- scene.c: what is run, on what ------------------------------------------------------------------------------------------------ */

/* What the program does. It runs in an empty directory WORK beside which ../user/ holds the model, photographs and profile. */
struct scenario {
  const char *name;
  const char *argument[ARGUMENTS]; /* after the program's name, NULL at the end */
  bool resumes;                    /* a failed run is gone on with by --resume */
  bool digits;                     /* results may differ in their last digits */
  const char *after;               /* scenario that must have run in WORK before, NULL: none */
};
extern const struct scenario scenarios[]; /* a NULL name at the end */
const struct scenario *scenario_named(const char *name);

/* SCRATCH/user: a small model from tests/data, two photographs with masks, a profile. */
bool scene_make(const char *scratch);
void remove_all(const char *path);
bool copy_all(const char *from, const char *to);

/* --- run.c: one run ------------------------------------------------------------------------------------------------------------------ */

struct fault {
  const char *kind; /* "memory", "library", "file"; NULL: nothing fails */
  long at;          /* 0: only count */
  bool stays, half;
};

struct outcome {
  int status;        /* exit status; 128 + signal; -1: ran too long and was killed */
  long points;       /* of the kind, where the program came to its end */
  char site[128];    /* "malloc 0x1234": what failed; empty where nothing did */
  char error[SAID];  /* standard error */
  char output[SAID]; /* standard output */
};

/* Runs program with arguments (and --resume where resume is set) in directory work, with the fault. False: could not be started. */
bool run_once(const char *program, const char *library, const char *work, const struct scenario *s, bool resume, const struct fault *f,
              struct outcome *o);

/* The places of a counting run's points, FAULT_REPORT's second file; NULL where it cannot be read. To be freed. */
uint32_t *places_read(const char *work, long *n);

/* --- verify.c: what a run left --------------------------------------------------------------------------------------------------------- */

/* Every file below dir is whole and none is a temporary one; else false and what is wrong with which. */
bool verify_tree(const char *dir, char *why, size_t n);
/* Names, sizes, times and contents of everything below dir, as one number. */
uint64_t tree_signature(const char *dir);
/* The results below a and b are the same: checkpoints, samples, pictures, numbers; times and logs may differ. */
bool same_results(const char *a, const char *b, char *why, size_t n);

#endif
