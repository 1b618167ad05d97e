#include "ui/orders.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "assets/embedded.h"
#include "commands.h"
#include "profile.h"
#include "samples.h"

static bool is_base(const struct order_key *k) {
  return !k->checkpoint || k->scale == 0;
}

static const char *folder_of(const struct order_key *k, char *buf, size_t n) {
  char part[64] = "base", scale[32] = "";
  if (!is_base(k) && k->checkpoint->final) text_put(part, sizeof part, "final");
  if (!is_base(k) && !k->checkpoint->final) text_put(part, sizeof part, "step-%06d", k->checkpoint->step);
  if (!is_base(k) && k->run->lora) text_put(scale, sizeof scale, "/scale-%.2f", k->scale);
  text_put(buf, n, "%s/compare/%s%s", k->run->path, part, scale);
  return buf;
}

const char *order_picture(const struct order_key *k, const char *prompt, char *buf, size_t n) {
  char folder[3800], name[128];
  text_put(buf, n, "%s/%s", folder_of(k, folder, sizeof folder), sample_file_name(prompt, k->seed, name, sizeof name));
  return buf;
}

/* --- what waits ------------------------------------------------------------------------------------------------------------------ */

static int find(const struct orders *o, const struct order_key *k, const char *prompt) {
  char folder[3800];
  folder_of(k, folder, sizeof folder);
  for (int i = 0; i < o->n; i++) {
    if (o->order[i]->seed != k->seed || strcmp(o->order[i]->folder, folder)) continue;
    for (int p = 0; p < o->order[i]->prompts; p++) {
      if (!strcmp(o->order[i]->prompt[p], prompt)) return i;
    }
  }
  return -1;
}

enum order_state order_state(const struct orders *o, const struct order_key *k, const char *prompt) {
  int i = find(o, k, prompt);
  return i < 0 ? ORDER_NONE : i == 0 && o->pid ? ORDER_DRAWN : ORDER_WAITS;
}

/* An order of the same checkpoint and seed that has not begun, or a new one; NULL: no room. */
static struct order *order_for(struct orders *o, const struct order_key *k) {
  char folder[3800];
  folder_of(k, folder, sizeof folder);
  for (int i = o->pid ? 1 : 0; i < o->n; i++) {
    struct order *x = o->order[i];
    if (x->seed == k->seed && x->prompts < ORDER_PROMPTS && !strcmp(x->folder, folder)) return x;
  }
  struct order *x = o->n < MAX_ORDERS ? calloc(1, sizeof *x) : NULL;
  if (!x) return NULL;
  text_put(x->run, sizeof x->run, "%s", k->run->path);
  text_put(x->folder, sizeof x->folder, "%s", folder);
  if (!is_base(k)) run_checkpoint_path(k->run, k->checkpoint, x->checkpoint, sizeof x->checkpoint);
  x->scale = k->scale;
  x->seed = k->seed;
  return o->order[o->n++] = x;
}

bool order_add(struct orders *o, const struct order_key *k, const char *prompt) {
  if (find(o, k, prompt) >= 0) return true;
  struct order *x = order_for(o, k);
  char *copy = x ? strdup(prompt) : NULL;
  if (copy) x->prompt[x->prompts++] = copy;
  return copy != NULL;
}

static void drop(struct orders *o, int i) {
  struct order *x = o->order[i];
  for (int k = 0; k < x->prompts; k++) free(x->prompt[k]);
  free(x);
  memmove(o->order + i, o->order + i + 1, (size_t)(--o->n - i) * sizeof *o->order);
}

int orders_pictures(const struct orders *o) {
  int n = 0;
  for (int i = 0; i < o->n; i++) n += o->order[i]->prompts;
  return n;
}

/* --- the process ------------------------------------------------------------------------------------------------------------------- */

struct line {
  const char *word[JOB_ARGUMENTS + 1];
  int n;
  struct strings owner;
  bool full;
};

static void add(struct line *l, const char *text) {
  if (!text || l->n == JOB_ARGUMENTS) l->full = true;
  if (!l->full) l->word[l->n++] = text;
}

static void option(struct line *l, const char *name, const char *text) {
  add(l, name);
  add(l, text);
}

/* With the settings that the run draws its own samples with. */
static void add_settings(struct line *l, const struct order *x, const struct settings *s) {
  struct strings *o = &l->owner;
  option(l, "--seed", strings_printf(o, "%llu", (unsigned long long)x->seed));
  option(l, "--steps", strings_printf(o, "%d", s->samples.steps));
  option(l, "--sampler", sampler_words[s->samples.sampler]);
  option(l, "--guidance", strings_printf(o, "%.9g", s->samples.guidance));
  option(l, "--size", strings_printf(o, "%dx%d", s->train.width, s->train.height));
  option(l, "--precision", precision_words[s->train.precision]);
  option(l, "--batch-size", strings_printf(o, "%d", s->samples.batch));
  option(l, "--device", s->engine.device);
  if (*s->prompts.negative) option(l, "--negative", s->prompts.negative);
  if (*s->model.config && (s->train.mode == MODE_LORA || !*x->checkpoint)) option(l, "--config", s->model.config);
  if (s->engine.threads) option(l, "--threads", strings_printf(o, "%d", s->engine.threads));
}

static void add_model(struct line *l, const struct order *x, const struct settings *s) {
  if (!*x->checkpoint || s->train.mode == MODE_FULL) {
    add(l, *x->checkpoint ? x->checkpoint : s->model.path);
    return;
  }
  add(l, strings_printf(&l->owner, "%s/pytorch_lora_weights.safetensors", x->checkpoint));
  option(l, "--base", s->model.path);
  option(l, "--scale", strings_printf(&l->owner, "%.2f", x->scale));
}

static bool start(const struct order *x, struct jobs *j, struct err *e) {
  struct line l = {.n = 0};
  struct profile *p = calloc(1, sizeof *p);
  char profile[3600];
  text_put(profile, sizeof profile, "%s/profile.ini", x->run);
  bool ok = p ? profile_load(p, profile, embedded_files, NULL, 0, e) : err_set(e, ERR_FAILED, "out of memory");
  if (ok) {
    add(&l, "sample");
    add_model(&l, x, &p->settings);
    option(&l, "--out", x->folder);
    option(&l, "--names", "prompt");
    add_settings(&l, x, &p->settings);
    for (int i = 0; i < x->prompts; i++) option(&l, "--prompt", x->prompt[i]);
    ok = l.full ? err_set(e, ERR_FAILED, "out of memory") : jobs_start(j, l.word, false, true, x->folder, e);
  }
  if (p) profile_release(p);
  free(p);
  strings_release(&l.owner);
  return ok;
}

bool orders_start(struct orders *o, struct jobs *j, void (*ended)(struct app *, const struct job_end *), struct err *e) {
  if (o->pid || !o->n) return true;
  if (!start(o->order[0], j, e)) return drop(o, 0), false;
  jobs_last(j)->ended = ended;
  o->pid = jobs_last(j)->pid;
  return true;
}

void orders_end(struct orders *o) {
  if (o->pid && o->n) drop(o, 0);
  o->pid = 0;
}

void orders_cancel(struct orders *o, const struct jobs *j) {
  const struct job *job = o->pid ? jobs_find(j, o->pid) : NULL;
  while (o->n > (o->pid ? 1 : 0)) drop(o, o->n - 1); /* the first one is under way */
  if (job) jobs_signal(job, SIGTERM);
}

void orders_release(struct orders *o) {
  while (o->n) drop(o, 0);
}
