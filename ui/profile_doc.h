/* A profile while it is changed: the file, what has been changed and not been saved, and what comes of both. */
#ifndef PDMBOOTH_UI_PROFILE_DOC_H
#define PDMBOOTH_UI_PROFILE_DOC_H

#include "profile.h"

enum { MAX_CHANGES = 128 };
enum key_origin { ORIGIN_DEFAULT, ORIGIN_BASE, ORIGIN_FILE, ORIGIN_CHANGED };

struct profile_doc {
  char path[3200];
  const struct key *change[MAX_CHANGES];
  char *value[MAX_CHANGES]; /* owned; of a list: one line for each, "" for none */
  int changes;
  struct profile effective; /* with the changes; not valid where trouble says why */
  bool loaded;
  char trouble[1024];
  char *text; /* of the file, owned; NULL: it could not be read */
};

/* Reads path; false and trouble where it is wrong (the text is then still there to be changed). */
bool doc_open(struct profile_doc *d, const char *path);
void doc_close(struct profile_doc *d);
/* Value as text; a list's items are joined by new lines. Returns buf. */
const char *doc_value(const struct profile_doc *d, const struct key *k, char *buf, size_t n);
enum key_origin doc_origin(const struct profile_doc *d, const struct key *k);
/* Whether the key alone may have that value; why it may not into why. */
bool doc_allowed(const struct key *k, const char *value, char *why, size_t n);
/* Notes a change and looks what comes of it; false: too many, or out of memory. */
bool doc_set(struct profile_doc *d, const struct key *k, const char *value);
void doc_revert(struct profile_doc *d, const struct key *k); /* as the file says */
/* The changes into the file, comments and order kept; the file as it was to path.bak. */
bool doc_save(struct profile_doc *d, struct err *e);
/* The changes as "section.key=value", strings by owner; returns how many, at most room. */
int doc_sets(const struct profile_doc *d, struct strings *owner, const char **sets, int room);
/* Default of the key in the profile's mode, "" where it has none. */
const char *doc_default(const struct profile_doc *d, const struct key *k);

/* What a dialog says of a profile. */
struct profile_facts {
  bool ok, lora, prior, pdm; /* prior, pdm: those losses are used */
  int steps, width, height;
  char trouble[1024];
};
void profile_facts(const char *path, struct profile_facts *f);

#endif
