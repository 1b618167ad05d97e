/* usage: torture [--points N] [--places] [--jobs N] [--kind memory|library|file] [--only AT] [--stays] [--half] [--say] [--keep] [SCENARIO...]
 * --points: how many points of each kind are tried, evenly spaced; 0 (the default): all. --places: only the first and the last point of each place
 * in the code, and of these as many as --points says. --jobs: so many at a time. --only: this point alone.
 * --stays: from the point on everything of the kind fails. --half: a write that fails has written half. --say: what each run said. --keep: the directory stays.
 * Prints TAP: one line for each scenario and kind, with the number of points tried.
 * Environment: TEST_BUILDDIR holds pdmbooth-tui and tests/fault/fault.so, TEST_SRCDIR the sources. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "torture.h"

enum { SITES = 1024 };

struct shared { /* between the processes that share the points of a scenario */
  long next, tried, failed, hit;
  char site[SITES][128]; /* that have been gone on from */
  int sites;
};

struct plan {
  char program[PATHS], library[PATHS], scratch[PATHS];
  const struct scenario *s;
  struct fault fault;
  long points, wanted, only;
  long *list, listed; /* the points that may be tried */
  int jobs;
  bool say, keep, places;
  uint64_t user; /* signature of the user's files */
  struct shared *shared;
};

static const char *directory(const struct plan *p, const char *name, int job, char *out) {
  snprintf(out, PATHS, "%.*s/%s%d", PATHS - 64, p->scratch, name, job);
  return out;
}

/* An empty working directory, or one in which the scenario that this one comes after has run. */
static bool prepare(const struct plan *p, const char *work) {
  char said[PATHS], before[PATHS];
  remove_all(work);
  snprintf(said, sizeof said, "%.*s.said", PATHS - 16, work);
  mkdir(said, 0777);
  if (p->s->after == NULL) return mkdir(work, 0777) == 0;
  return copy_all(directory(p, "before", 0, before), work);
}

/* --- one point ------------------------------------------------------------------------------------------------------------------------ */

static int errors_said(const char *text) {
  int n = 0;
  for (const char *at = text; (at = strstr(at, "pdmbooth-tui: error: ")) != NULL; at++) n += at == text || at[-1] == '\n';
  return n;
}

/* The words that the one sentence must hold: it says what was wrong, not what followed from it. */
static bool names_cause(const struct fault *f, const char *text) {
  static const char *const cause[] = {"No space left", "Input/output error", "Permission denied"};
  if (strcmp(f->kind, "memory") == 0) return strstr(text, "memory") != NULL;
  return strcmp(f->kind, "file") != 0 || strstr(text, cause[f->at % 3]) != NULL;
}

/* What was wrong with how the program ended; NULL: nothing. */
static const char *judge_end(const struct fault *f, const struct outcome *o) {
  if (o->status < 0) return "did not end";
  if (strstr(o->error, "AddressSanitizer") != NULL || strstr(o->error, "runtime error:") != NULL) return "the sanitizer found a fault";
  if (strstr(o->error, "LeakSanitizer") != NULL) return "leaks";
  if (o->status > 5) return "ended by a signal or with an undocumented status";
  if (o->status == 0) return NULL;
  if (errors_said(o->error) != 1) return "does not say one sentence";
  return names_cause(f, o->error) ? NULL : "does not name the cause";
}

static bool new_site(struct shared *s, const char *site) {
  for (int i = 0; i < s->sites && i < SITES; i++)
    if (strcmp(s->site[i], site) == 0) return false;
  if (s->sites < SITES) snprintf(s->site[s->sites++], sizeof s->site[0], "%s", site);
  return true;
}

/* What was wrong with what the run left, and with going on from there; empty: nothing. */
static void judge_rest(const struct plan *p, const char *work, const struct outcome *o, struct outcome *again, char *why, size_t n) {
  static const struct fault none = {0};
  char user[PATHS + 8], reference[PATHS], what[1400];
  snprintf(user, sizeof user, "%s/user", p->scratch);
  directory(p, "reference", 0, reference);
  if (tree_signature(user) != p->user) {
    snprintf(why, n, "the user's files are not what they were");
  } else if (!verify_tree(work, what, sizeof what)) {
    snprintf(why, n, "%s", what);
  } else if (o->status == 0) {
    if (!p->s->digits && !same_results(reference, work, what, sizeof what)) snprintf(why, n, "ended well, but %s", what);
  } else if (p->s->resumes && o->site[0] != 0 && (p->only > 0 || new_site(p->shared, o->site))) {
    if (!run_once(p->program, p->library, work, p->s, true, &none, again))
      snprintf(why, n, "could not be started again");
    else if (again->status != 0)
      snprintf(why, n, "--resume ended with %d: %s", again->status, again->error);
    else if (!verify_tree(work, what, sizeof what) || !same_results(reference, work, what, sizeof what))
      snprintf(why, n, "after --resume: %s", what);
  }
}

static bool try_point(const struct plan *p, int job, long at) {
  static struct outcome o, again;
  char work[PATHS], why[SAID + 64] = "";
  struct fault f = p->fault;
  f.at = at;
  if (!prepare(p, directory(p, "work", job, work)) || !run_once(p->program, p->library, work, p->s, false, &f, &o)) return false;
  const char *end = judge_end(&f, &o);
  if (end != NULL)
    snprintf(why, sizeof why, "%s", end);
  else
    judge_rest(p, work, &o, &again, why, sizeof why);
  if (o.site[0] != 0) __atomic_add_fetch(&p->shared->hit, 1, __ATOMIC_SEQ_CST);
  const char *said = strstr(o.error, "pdmbooth-tui: error: ");
  if (p->say)
    printf("# %s %ld (%s): status %d: %.*s\n", f.kind, at, o.site, o.status, said ? (int)strcspn(said + 21, "\n") : 0,
           said ? said + 21 : "");
  if (why[0] == 0) return true;
  printf("# %s, --kind %s --only %ld (%s): status %d, %s\n", p->s->name, f.kind, at, o.site, o.status, why);
  for (char *line = o.error; end != NULL && *line != 0; line += strcspn(line, "\n"), line += *line == '\n')
    printf("#   | %.*s\n", (int)strcspn(line, "\n"), line);
  return false;
}

/* --- all points ------------------------------------------------------------------------------------------------------------------------ */

/* Point number i of those that are tried, 0 behind the last. Spread evenly, never the same twice. */
static long point(const struct plan *p, long i) {
  if (p->only > 0) return i == 0 ? p->only : 0;
  long n = p->wanted > 0 && p->wanted < p->listed ? p->wanted : p->listed;
  return i < n ? p->list[i * p->listed / n] : 0;
}

static void work_through(const struct plan *p, int job) {
  for (;;) {
    long at = point(p, __atomic_fetch_add(&p->shared->next, 1, __ATOMIC_SEQ_CST));
    if (at == 0) return;
    bool ok = try_point(p, job, at);
    __atomic_add_fetch(&p->shared->tried, 1, __ATOMIC_SEQ_CST);
    if (!ok) __atomic_add_fetch(&p->shared->failed, 1, __ATOMIC_SEQ_CST);
    fflush(stdout);
  }
}

static bool share_out(const struct plan *p) {
  int good = 0;
  for (int job = 0; job < p->jobs; job++) {
    fflush(NULL);
    pid_t child = fork();
    if (child < 0) return false;
    if (child == 0) {
      work_through(p, job);
      _exit(0);
    }
  }
  for (int job = 0; job < p->jobs; job++) {
    int status;
    good += wait(&status) > 0 && status == 0;
  }
  return good == p->jobs;
}

static bool seen(const uint32_t *place, long n, uint32_t what) {
  for (long i = 0; i < n; i++)
    if (place[i] == what) return true;
  return false;
}

/* Which points: all, or those whose place comes for the first or the last time. */
static bool list_points(struct plan *p, const char *work) {
  long n = 0;
  uint32_t *place = p->places ? places_read(work, &n) : NULL;
  free(p->list);
  p->listed = 0;
  p->list = malloc(((size_t)p->points + 1) * sizeof *p->list);
  for (long i = 0; p->list != NULL && i < p->points; i++)
    if (i >= n || !seen(place, i, place[i]) || !seen(place + i + 1, n - i - 1, place[i])) p->list[p->listed++] = i + 1;
  free(place);
  return p->list != NULL;
}

/* A run without a fault: what the others are compared with, and how many points there are. */
static bool reference_run(struct plan *p, const struct scenario *before) {
  static struct outcome o;
  const struct fault none = {0};
  char dir[PATHS];
  const struct scenario *own = p->s;
  if (before != NULL) {
    directory(p, "before", 0, dir);
    p->s = before;
    bool ok = prepare(p, dir) && run_once(p->program, p->library, dir, before, false, &none, &o) && o.status == 0;
    p->s = own;
    if (!ok) return false;
  }
  struct fault count = p->fault;
  count.at = 0;
  directory(p, "reference", 0, dir);
  bool ok = prepare(p, dir) && run_once(p->program, p->library, dir, p->s, false, &count, &o) && o.status == 0;
  p->points = o.points;
  if (!ok) printf("# without a fault: status %d\n# %s\n", o.status, o.error);
  return ok && p->points > 0 && list_points(p, dir);
}

static bool torture(struct plan *p, const struct scenario *s, const char *kind) {
  p->s = s;
  p->fault.kind = kind;
  memset(p->shared, 0, sizeof *p->shared);
  if (!reference_run(p, s->after != NULL ? scenario_named(s->after) : NULL)) return false;
  return share_out(p) && p->shared->failed == 0 && p->shared->hit > 0;
}

static bool parse(struct plan *p, int *argc, char ***argv) {
  for (++*argv, --*argc; *argc > 0 && strncmp(**argv, "--", 2) == 0; ++*argv, --*argc) {
    const char *name = **argv, *value = *argc > 1 ? (*argv)[1] : "";
    if (strcmp(name, "--stays") == 0)
      p->fault.stays = true;
    else if (strcmp(name, "--half") == 0)
      p->fault.half = true;
    else if (strcmp(name, "--say") == 0)
      p->say = true;
    else if (strcmp(name, "--places") == 0)
      p->places = true;
    else if (strcmp(name, "--keep") == 0)
      p->keep = true;
    else if (strcmp(name, "--kind") == 0)
      p->fault.kind = value, ++*argv, --*argc;
    else if (strcmp(name, "--points") == 0)
      p->wanted = strtol(value, NULL, 10), ++*argv, --*argc;
    else if (strcmp(name, "--only") == 0)
      p->only = strtol(value, NULL, 10), ++*argv, --*argc;
    else if (strcmp(name, "--jobs") == 0)
      p->jobs = (int)strtol(value, NULL, 10), ++*argv, --*argc;
    else
      return false;
  }
  return p->jobs > 0 && p->jobs < 64;
}

static bool asked(int argc, char **argv, const char *name) {
  for (int i = 0; i < argc; i++)
    if (strcmp(argv[i], name) == 0) return true;
  return argc == 0;
}

static int all(struct plan *p, int argc, char **argv) {
  static const char *const kinds[] = {"memory", "file", "library"};
  const char *only = p->fault.kind;
  int n = 0, bad = 0;
  for (const struct scenario *s = scenarios; s->name != NULL; s++)
    for (int k = 0; k < 3; k++) {
      if (!asked(argc, argv, s->name) || (only != NULL && strcmp(only, kinds[k]) != 0)) continue;
      bool ok = torture(p, s, kinds[k]);
      bad += !ok;
      printf("%s %d - %s: %ld of %ld %s points fail in turn\n", ok ? "ok" : "not ok", ++n, s->name, p->shared->tried, p->points, kinds[k]);
      fflush(stdout);
    }
  printf("1..%d\n", n);
  return bad > 0 || n == 0;
}

int main(int argc, char **argv) {
  static struct plan p;
  char user[PATHS + 8];
  const char *build = getenv("TEST_BUILDDIR"), *base = getenv("TMPDIR");
  p.jobs = 1;
  if (!parse(&p, &argc, &argv)) return fputs("torture: wrong usage, see the top of torture.c\n", stderr), 2;
  snprintf(p.program, sizeof p.program, "%s/pdmbooth-tui", build != NULL ? build : ".");
  snprintf(p.library, sizeof p.library, "%s/tests/fault/fault.so", build != NULL ? build : ".");
  snprintf(p.scratch, sizeof p.scratch, "%s/pdmbooth-torture-XXXXXX", base != NULL ? base : "/tmp");
  p.shared = mmap(NULL, sizeof *p.shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (p.shared == MAP_FAILED || mkdtemp(p.scratch) == NULL || !scene_make(p.scratch)) return perror("torture"), 1;
  snprintf(user, sizeof user, "%s/user", p.scratch);
  p.user = tree_signature(user);
  int status = all(&p, argc, argv);
  if (p.keep)
    printf("# %s\n", p.scratch);
  else
    remove_all(p.scratch);
  return status;
}
