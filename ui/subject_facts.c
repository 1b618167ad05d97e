#include "ui/subject_facts.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "ui/profile_doc.h"

const struct subject_facts *facts_of(const struct facts *f, const char *subject) {
  for (int i = 0; i < f->n; i++) {
    if (!strcmp(f->of[i].subject, subject)) return &f->of[i];
  }
  return NULL;
}

/* That of the subject, a new one, or that which was not looked at for the longest time; NULL: out of memory. */
static struct subject_facts *facts_for(struct facts *f, const char *subject) {
  struct subject_facts *x = NULL;
  if (!f->of && !(f->of = calloc(KEPT_FACTS, sizeof *f->of))) return NULL;
  for (int i = 0; i < f->n && !x; i++) {
    if (!strcmp(f->of[i].subject, subject)) x = &f->of[i];
  }
  if (!x && f->n < KEPT_FACTS) x = &f->of[f->n++];
  for (int i = 0; !x && i < f->n; i++) {
    bool oldest = true;
    for (int k = 0; k < f->n; k++) oldest &= f->of[i].used <= f->of[k].used;
    if (oldest) x = &f->of[i];
  }
  if (x && strcmp(x->subject, subject)) {
    *x = (struct subject_facts){.looked = false};
    text_put(x->subject, sizeof x->subject, "%s", subject);
  }
  if (x) x->used = ++f->turn;
  return x;
}

static struct timespec changed_at(const struct subject *s) {
  char path[3200];
  struct stat st;
  return stat(subject_profile(s, path, sizeof path), &st) ? (struct timespec){0} : st.st_mtim;
}

void facts_ask(struct facts *f, struct jobs *j, const struct subject *s, int runs, void (*ended)(struct app *, const struct job_end *)) {
  char profile[3200], least[16];
  struct err ignored = {0};
  struct subject_facts *x = f->pid || *s->trouble ? NULL : facts_for(f, s->name);
  if (!x) return;
  struct timespec now = changed_at(s);
  if (x->runs != runs || x->profile.tv_sec != now.tv_sec || x->profile.tv_nsec != now.tv_nsec) x->planned = x->looked = false;
  x->runs = runs;
  x->profile = now;
  if (x->looked && x->planned) return;
  struct profile_facts p;
  profile_facts(subject_profile(s, profile, sizeof profile), &p);
  if (!p.ok) return;
  x->wants_prior = p.prior;
  x->wants_pdm = p.pdm;
  text_put(least, sizeof least, "%d", p.width < p.height ? p.width : p.height);
  const char *const photos[] = {"photos", s->images, "--least", least, NULL}, *const plan[] = {"plan", profile, "--json", NULL};
  f->asked_photos = !x->looked;
  if (!jobs_start(j, f->asked_photos ? photos : plan, false, true, s->name, &ignored)) return;
  jobs_last(j)->ended = ended;
  f->pid = jobs_last(j)->pid;
  text_put(f->asked, sizeof f->asked, "%s", s->name);
}

static const cJSON *stage(const cJSON *root, const char *name) {
  const cJSON *list = cJSON_GetObjectItemCaseSensitive(root, "stages"), *one;
  cJSON_ArrayForEach(one, list) {
    const cJSON *text = cJSON_GetObjectItemCaseSensitive(one, "name");
    if (cJSON_IsString(text) && !strcmp(text->valuestring, name)) return one;
  }
  return NULL;
}

static double units(const cJSON *root, const char *name) {
  const cJSON *n = cJSON_GetObjectItemCaseSensitive(stage(root, name), "units");
  return cJSON_IsNumber(n) ? n->valuedouble : -1;
}

/* Class images that are missing are units of their stage; photographs that have no trajectory yet are, beside one for each step, of that of the targets. */
static void take_plan(struct subject_facts *x, const char *text) {
  const char *brace = strchr(text, '{');
  cJSON *root = brace ? cJSON_Parse(brace) : NULL;
  double pdm = units(root, "pdm targets"), steps = units(root, "training");
  x->prior = x->wants_prior && units(root, "class images") == 0;
  x->pdm = x->wants_pdm && (!x->wants_prior || x->prior) && pdm > 0 && steps > 0 && pdm <= steps;
  cJSON_Delete(root);
}

void facts_end(struct facts *f, const struct job_end *end) {
  struct subject_facts *x = facts_for(f, f->asked);
  f->pid = 0;
  if (!x) return;
  if (f->asked_photos) {
    x->looked = true;
    text_put(x->photos, sizeof x->photos, "%s", end->status ? "" : end->all);
  } else {
    x->planned = true;
    take_plan(x, end->status ? "" : end->all);
  }
}

bool facts_warning(const struct subject_facts *x, int i, char *buf, size_t n) {
  for (const char *p = x->photos; *p;) {
    size_t length = strcspn(p, "\n");
    bool good = length > 6 && !strncmp(p + length - 6, ": good", 6);
    if (!good && length && i-- == 0) return text_put(buf, n, "%.*s", (int)length, p), true;
    p += length + (p[length] == '\n');
  }
  return false;
}

void facts_release(struct facts *f) {
  free(f->of);
  *f = (struct facts){.n = 0};
}
