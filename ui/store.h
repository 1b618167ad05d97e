/* Subjects: $XDG_DATA_HOME/pdmbooth/subjects/NAME holds subject.ini (what the interface knows of it) and profile.ini (what is run). The photographs stay where they
 * are. Touches no terminal. */
#ifndef PDMBOOTH_UI_STORE_H
#define PDMBOOTH_UI_STORE_H

#include "formats/source.h"
#include "text.h"

enum { MAX_PHOTOGRAPHS = 64 };

struct subject {
  char name[101]; /* of its directory */
  char dir[3000]; /* absolute */
  char token[64], class_name[64];
  char images[3000]; /* directory, or embedded:NAME */
  char chosen[3500]; /* the checkpoint that was kept, "" none */
  bool archived;
  char *photograph[MAX_PHOTOGRAPHS]; /* file names, owned */
  int photographs, masks;            /* masks: how many of them have one, derived ones too */
  char trouble[200];                 /* why there are no photographs; "" none */
  bool marked;
};

struct store {
  char root[3000];
  struct subject *subject; /* [n] by name; archived ones last; owned */
  int n;
};

/* Reads all subjects; the first time the demo subject is put there. ERR_FAILED, ERR_INPUT: the directory cannot be made or read. */
bool store_open(struct store *s, const struct embedded_file *embedded, struct err *e);
bool store_reload(struct store *s, struct err *e);
void store_close(struct store *s);
int store_find(const struct store *s, const char *name); /* -1: none */

/* A new subject of the photographs in images; its profile is that of the demo with this subject. name: letters, digits, '.', '_', '-'. ERR_USAGE: such a name is not
   possible or taken; ERR_INPUT: images is no directory, or has no picture. */
bool store_add(struct store *s, const char *name, const char *images, const char *token, const char *class_name,
               const struct embedded_file *embedded, struct err *e);
bool store_rename(struct store *s, int i, const char *name, struct err *e);
bool store_duplicate(struct store *s, int i, const char *name, struct err *e);
bool store_archive(struct store *s, int i, bool archived, struct err *e);
bool store_choose(struct store *s, int i, const char *checkpoint, struct err *e);

/* NAME/profile.ini. Returns buf. */
const char *subject_profile(const struct subject *s, char *buf, size_t n);
/* The path of photograph i: a file, or "embedded:poodle/1.jpg". Returns buf. */
const char *subject_photograph(const struct subject *s, int i, char *buf, size_t n);
/* Where its mask is: MASK_OWN with the subject, accepted (masks/); MASK_GIVEN in masks/ beside the photographs; MASK_DERIVED with the subject, derived and not
   accepted (derived/). The first of these; its file into buf. */
enum mask_kind { MASK_MISSING, MASK_DERIVED, MASK_GIVEN, MASK_OWN };
enum mask_kind subject_mask_kind(const struct subject *s, int i, char *buf, size_t n);

#endif
