#include "train/journal.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/percent.h"
#include "formats/source.h"

static const char header[] = "step,what,value,id\n";

const char *const engine_message_names[ENGINE_MESSAGES] = {[ENGINE_SET_LR] = "lr",
                                                           [ENGINE_SET_SAMPLES_EVERY] = "samples.every",
                                                           [ENGINE_SET_CHECKPOINTS_EVERY] = "checkpoints.every",
                                                           [ENGINE_CHECKPOINT] = "checkpoint",
                                                           [ENGINE_SAMPLE] = "sample",
                                                           [ENGINE_HALVE_LR] = "halve lr"};

static bool grow(struct journal *j, struct err *e) {
  if (j->n < j->cap) return true;
  int cap = j->cap ? j->cap * 2 : 16;
  struct journal_entry *more = realloc(j->entry, (size_t)cap * sizeof *more);
  if (!more) return err_set(e, ERR_FAILED, "out of memory for the journal");
  j->entry = more;
  j->cap = cap;
  return true;
}

static bool parse(const char *line, struct journal_entry *out) {
  char what[32];
  int used = 0;
  if (sscanf(line, "%d,%31[^,],%lf,%" SCNx64 "%n", &out->step, what, &out->message.value, &out->message.id, &used) != 4 || used == 0)
    return false;
  for (int i = 0; i < ENGINE_MESSAGES; i++)
    if (strcmp(what, engine_message_names[i]) == 0) {
      out->message.kind = (enum engine_message_kind)i;
      return out->step >= 0 && (line[used] != ',' || percent_decode(line + used + 1, out->message.prompt, ENGINE_PROMPT));
    }
  return false;
}

static bool read_rows(struct journal *j, FILE *f, struct err *e) {
  char line[4 * ENGINE_PROMPT];
  bool first = true;
  while (fgets(line, sizeof line, f)) {
    struct journal_entry x = {0};
    bool skip = first && strcmp(line, header) == 0;
    first = false;
    if (skip) continue;
    line[strcspn(line, "\n")] = 0;
    if (!parse(line, &x)) return err_set(e, ERR_INPUT, "%s: a row that is not understood: \"%.80s\"", j->path, line);
    if (!grow(j, e)) return false;
    j->entry[j->n++] = x;
  }
  return true;
}

bool journal_open(struct journal *j, const char *run_dir, struct err *e) {
  *j = (struct journal){.n = 0};
  snprintf(j->path, sizeof j->path, "%s/journal.csv", run_dir);
  FILE *f = fopen(j->path, "r");
  if (!f) return access(j->path, F_OK) != 0 || err_set_errno(e, ERR_INPUT, "%s: cannot be read", j->path);
  bool ok = read_rows(j, f, e);
  fclose(f);
  return ok;
}

void journal_release(struct journal *j) {
  free(j->entry);
  j->entry = NULL;
  j->n = j->cap = 0;
}

static bool write_rows(const struct journal *j, struct err *e) {
  char *text = NULL;
  size_t size = 0;
  FILE *f = open_memstream(&text, &size);
  if (!f) return err_set(e, ERR_FAILED, "out of memory for the journal");
  fputs(header, f);
  for (int i = 0; i < j->n; i++) {
    const struct engine_message *m = &j->entry[i].message;
    char prompt[3 * ENGINE_PROMPT] = "";
    if (*m->prompt) percent_encode(m->prompt, prompt, sizeof prompt);
    fprintf(f, "%d,%s,%.17g,%" PRIx64 "%s%s\n", j->entry[i].step, engine_message_names[m->kind], m->value, m->id, *prompt ? "," : "",
            prompt);
  }
  bool ok = fclose(f) == 0 ? write_file(j->path, text, size, e) : err_set(e, ERR_FAILED, "out of memory for the journal");
  free(text);
  return ok;
}

bool journal_add(struct journal *j, int step, const struct engine_message *m, struct err *e) {
  if (!grow(j, e)) return false;
  j->entry[j->n++] = (struct journal_entry){step, *m};
  if (write_rows(j, e)) return true;
  j->n--;
  return false;
}

bool journal_has(const struct journal *j, uint64_t id) {
  for (int i = 0; i < j->n && id; i++)
    if (j->entry[i].message.id == id) return true;
  return false;
}

static bool sets_lr(const struct journal_entry *x) {
  return x->message.kind == ENGINE_SET_LR || x->message.kind == ENGINE_HALVE_LR;
}

/* The last change of a kind that counts at `step`: the one of the highest step; of several there the last in the file. NULL: none. */
static const struct journal_entry *last_change(const struct journal *j, enum engine_message_kind kind, int step) {
  const struct journal_entry *best = NULL;
  for (int i = 0; i < j->n; i++) {
    const struct journal_entry *x = j->entry + i;
    bool same = x->message.kind == kind || (kind == ENGINE_SET_LR && sets_lr(x));
    if (same && x->step <= step && (!best || x->step >= best->step)) best = x;
  }
  return best;
}

static bool asked_at(const struct journal *j, enum engine_message_kind kind, int step) {
  for (int i = 0; i < j->n; i++) {
    const struct journal_entry *x = j->entry + i;
    if (x->message.kind == kind && x->step == step && !*x->message.prompt) return true;
  }
  return false;
}

/* The first entry with that prompt. */
static int first_with(const struct journal *j, const char *prompt) {
  int i = 0;
  while (i < j->n && strcmp(j->entry[i].message.prompt, prompt) != 0) i++;
  return i;
}

const char *journal_prompt(const struct journal *j, int step, int i, int *number) {
  for (int k = 0; k < j->n; k++) {
    const char *prompt = j->entry[k].message.prompt;
    if (!*prompt || j->entry[k].step != step || i-- > 0) continue;
    *number = 0;
    for (int before = first_with(j, prompt) - 1; before >= 0; before--)
      *number += *j->entry[before].message.prompt && first_with(j, j->entry[before].message.prompt) == before;
    return prompt;
  }
  return NULL;
}

static double value_at(const struct journal *j, enum engine_message_kind kind, int step, double otherwise) {
  const struct journal_entry *x = last_change(j, kind, step);
  return x ? x->message.value : otherwise;
}

struct in_effect journal_in_effect(const struct journal *j, const struct settings *s, int step) {
  return (struct in_effect){.lr = value_at(j, ENGINE_SET_LR, step, s->train.lr),
                            .samples_every = (int)value_at(j, ENGINE_SET_SAMPLES_EVERY, step, s->samples.every),
                            .checkpoints_every = (int)value_at(j, ENGINE_SET_CHECKPOINTS_EVERY, step, s->checkpoints.every),
                            .sample = asked_at(j, ENGINE_SAMPLE, step),
                            .checkpoint = asked_at(j, ENGINE_CHECKPOINT, step)};
}

bool journal_halve(struct journal *j, int step, double lr, struct err *e) {
  int n = 0;
  for (int i = 0; i < j->n; i++)
    if (!sets_lr(j->entry + i) || j->entry[i].step <= step) j->entry[n++] = j->entry[i];
  j->n = n;
  return journal_add(j, step, &(struct engine_message){.kind = ENGINE_HALVE_LR, .value = lr}, e);
}

int journal_halvings(const struct journal *j) {
  int n = 0;
  for (int i = 0; i < j->n; i++) n += j->entry[i].message.kind == ENGINE_HALVE_LR;
  return n;
}

bool engine_message_valid(const struct engine_message *m) {
  bool whole = m->value >= 0 && m->value <= 1e7 && m->value == floor(m->value);
  switch (m->kind) {
    case ENGINE_SET_LR:
      return m->value >= 0 && m->value <= 1;
    case ENGINE_SET_SAMPLES_EVERY:
    case ENGINE_SET_CHECKPOINTS_EVERY:
      return whole;
    case ENGINE_CHECKPOINT:
    case ENGINE_SAMPLE:
      return true;
    case ENGINE_HALVE_LR:
    case ENGINE_MESSAGES:
      break;
  }
  return false;
}

void journal_clear(struct journal *j) {
  j->n = 0;
  unlink(j->path);
}
