#include "ui/outlook.h"

#include <string.h>

/* What stands between two words of text; false: they are not there. */
static bool between(const char *text, const char *before, const char *after, char *out, size_t n) {
  const char *a = strstr(text, before), *b = a ? strstr(a + strlen(before), after) : NULL;
  if (!b) return false;
  a += strlen(before);
  return text_put(out, n, "%.*s", (int)(b - a), a);
}

void outlook_begin(struct outlook *f, struct jobs *j, const struct profile_doc *d) {
  enum { ROOM = JOB_ARGUMENTS / 2 - 4 };
  const char *argument[JOB_ARGUMENTS + 1] = {"plan", d->path}, *set[ROOM];
  struct strings owner = {0};
  struct err ignored = {0};
  if (f->running || *d->trouble) {
    f->again = f->running;
    return;
  }
  int n = doc_sets(d, &owner, set, ROOM), at = 2;
  for (int i = 0; i < n && set[i]; i++) {
    argument[at++] = "--set";
    argument[at++] = set[i];
  }
  f->again = false;
  f->running = jobs_start(j, argument, false, false, "plan", &ignored);
  strings_release(&owner);
}

void outlook_end(struct outlook *f, const struct job_end *end) {
  char memory[40], disk[40], time[40];
  f->running = false;
  f->status = end->status;
  text_put(f->text, sizeof f->text, "%s", end->status ? end->text : end->all);
  const char *of = strstr(end->all, "memory of the card: ") ? " of the card" : "";
  bool known = (between(end->all, "memory: ", " at the peak", memory, sizeof memory) ||
                between(end->all, "memory of the card: ", " at the peak", memory, sizeof memory)) &&
               between(end->all, "disk: up to ", " below", disk, sizeof disk) && between(end->all, "time: ", " (", time, sizeof time);
  if (known && !end->status)
    text_put(f->summary, sizeof f->summary, "%s%s, %s on disk, %s", memory, of, disk, time);
  else
    text_put(f->summary, sizeof f->summary, "%s", end->status ? "it cannot be run like this" : "");
}
