/* init: a profile to begin with. Inside src/init*.c only. */
#ifndef PDMBOOTH_SRC_INIT_H
#define PDMBOOTH_SRC_INIT_H

#include "keys.h"

/* The photographs of a directory. */
struct photos {
  int n, masks, turned, unreadable,
      small;                            /* turned: by EXIF; small: the short side is below SMALL_SIDE; masks: photographs that have one */
  int least_w, least_h, most_w, most_h; /* by the number of pixels */
  char first_bad[300];                  /* what is wrong with the first unreadable one */
};
enum { SMALL_SIDE = 512 };

/* dir: absolute. ERR_INPUT: it is no directory. */
bool photos_look(struct photos *p, const char *dir, struct err *e);
bool photos_any(const char *dir); /* whether there is a name that ends as a photograph's */

/* What a directory's name says of the class: "dog" of "dog6" and "my dogs", of a subject of the DreamBooth data set what that says; "" where it says
   nothing ("images"). */
const char *class_of_name(const char *name, struct strings *s);

/* One value for the profile. */
struct init_value {
  const char *section, *name, *text;
};
/* The profile as text: the values [n], and every other key as a comment with its default. NULL and *e: ERR_USAGE where a value cannot stand in a profile,
   ERR_FAILED memory. Owned by the caller. */
char *init_text(const char *path, const struct init_value *value, int n, struct err *e);

#endif
