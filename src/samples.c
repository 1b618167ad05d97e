#include "samples.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

const char *samples_path(const char *run_dir, const struct sample_file *f, char *buf, size_t n) {
  text_put(buf, n, "%s/samples/step-%06d/%d-%d.png", run_dir, f->step, f->prompt, f->picture);
  return buf;
}

const char *sample_file_name(const char *prompt, uint64_t seed, char *buf, size_t n) {
  enum { WORDS = 48 };
  char words[WORDS + 1];
  size_t w = 0;
  uint32_t number = 2166136261u; /* FNV-1a */
  for (const unsigned char *p = (const unsigned char *)prompt; *p; p++) {
    bool plain = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9');
    number = (number ^ *p) * 16777619u;
    if (w < WORDS && (plain || (w && words[w - 1] != '-'))) words[w++] = plain ? (char)*p : '-';
  }
  while (w && words[w - 1] == '-') w--;
  words[w] = 0;
  text_put(buf, n, "%s%s%08x-%llu.png", words, w ? "-" : "", (unsigned)number, (unsigned long long)seed);
  return buf;
}

void samples_release(struct sample_list *l) {
  free(l->file);
  *l = (struct sample_list){0};
}

static bool add(struct sample_list *l, int *cap, const struct sample_file *f) {
  if (l->n == *cap) {
    int more = *cap ? *cap * 2 : 64;
    struct sample_file *p = realloc(l->file, (size_t)more * sizeof *p);
    if (!p) return false;
    l->file = p;
    *cap = more;
  }
  l->file[l->n++] = *f;
  return true;
}

/* The pictures of one step. */
static bool list_step(struct sample_list *l, int *cap, const char *folder, int step) {
  bool ok = true;
  DIR *d = opendir(folder);
  for (struct dirent *entry; ok && d && (entry = readdir(d));) {
    struct sample_file f = {.step = step};
    int end = 0;
    if (sscanf(entry->d_name, "%d-%d.png%n", &f.prompt, &f.picture, &end) != 2 || !end || entry->d_name[end] || f.prompt < 0 ||
        f.picture < 0)
      continue;
    ok = add(l, cap, &f);
  }
  if (d) closedir(d);
  return ok;
}

static int compare(const void *a, const void *b) {
  const struct sample_file *x = a, *y = b;
  if (x->step != y->step) return x->step < y->step ? -1 : 1;
  if (x->prompt != y->prompt) return x->prompt < y->prompt ? -1 : 1;
  return (x->picture > y->picture) - (x->picture < y->picture);
}

bool samples_list(struct sample_list *l, const char *run_dir, struct err *e) {
  char folder[4096], inside[4400];
  int cap = 0;
  bool ok = true;
  *l = (struct sample_list){0};
  DIR *d = text_put(folder, sizeof folder, "%s/samples", run_dir) ? opendir(folder) : NULL;
  for (struct dirent *entry; ok && d && (entry = readdir(d));) {
    int step, end = 0;
    if (sscanf(entry->d_name, "step-%d%n", &step, &end) != 1 || entry->d_name[end] || step < 0) continue;
    ok = text_put(inside, sizeof inside, "%s/%s", folder, entry->d_name) && list_step(l, &cap, inside, step);
  }
  if (d) closedir(d);
  if (!ok) return err_set(e, ERR_FAILED, "out of memory");
  if (l->n) qsort(l->file, (size_t)l->n, sizeof *l->file, compare);
  return true;
}
