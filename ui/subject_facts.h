/* What takes a while to find out of a subject: what is wrong with its photographs (`pdmbooth-tui photos`), and whether class images and PDM targets are there already
 * (`pdmbooth-tui plan --json`). Processes at the lowest priority find it, for the subject that is looked at; it is kept until its profile changes. */
#ifndef PDMBOOTH_UI_SUBJECT_FACTS_H
#define PDMBOOTH_UI_SUBJECT_FACTS_H

#include <time.h>

#include "ui/jobs.h"
#include "ui/store.h"

enum { KEPT_FACTS = 64 };

struct subject_facts {
  char subject[128];
  struct timespec profile; /* when its profile was changed */
  int runs;                /* how many it had: a run makes class images and targets */
  bool looked, planned;    /* photos, and prior and pdm, are known */
  bool wants_prior, wants_pdm;
  char photos[6000]; /* a line for each photograph */
  bool prior, pdm;   /* class images, PDM targets: are wanted and there */
  unsigned used;
};
struct facts {
  struct subject_facts *of; /* [n], owned */
  int n;
  unsigned turn;
  pid_t pid;         /* of the process under way; 0: none */
  char asked[128];   /* the subject that it is about */
  bool asked_photos; /* what it finds: photos, or else plan */
};

/* What is known of the subject; NULL: nothing. */
const struct subject_facts *facts_of(const struct facts *f, const char *subject);
/* Begins to find out what is not known yet; one process at a time. */
void facts_ask(struct facts *f, struct jobs *j, const struct subject *s, int runs, void (*ended)(struct app *, const struct job_end *));
void facts_end(struct facts *f, const struct job_end *end);
/* The i-th line of what is wrong with a photograph, "NAME: what"; false: there are no more. */
bool facts_warning(const struct subject_facts *x, int i, char *buf, size_t n);
void facts_release(struct facts *f);

#endif
