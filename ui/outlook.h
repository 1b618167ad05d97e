/* What a profile will take: memory, disk and time, as `pdmbooth-tui plan` finds them, in a process of its own. */
#ifndef PDMBOOTH_UI_OUTLOOK_H
#define PDMBOOTH_UI_OUTLOOK_H

#include "ui/jobs.h"
#include "ui/profile_doc.h"

struct outlook {
  bool running, again; /* again: the profile has changed since it began */
  int status;          /* of the one that is known: 0, or ERR_FIT where it does not fit */
  char text[6000];     /* "": not known yet */
  char summary[200];   /* "457.9 MiB, 259.8 MiB on disk, 7.0 minutes" */
};

/* Begins anew for the profile with its changes. */
void outlook_begin(struct outlook *f, struct jobs *j, const struct profile_doc *d);
/* A job that is no training has ended: it was this one. */
void outlook_end(struct outlook *f, const struct job_end *end);

#endif
