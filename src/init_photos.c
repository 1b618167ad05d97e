/* What lies in a directory of photographs, and what its name says. */
#include <ctype.h>
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "assets/embedded.h"
#include "formats/image.h"
#include "init.h"
#include "profile.h"

static bool is_photo_name(const char *name) {
  static const char *const endings[] = {".png", ".jpg", ".jpeg", ".webp"};
  const char *dot = strrchr(name, '.');
  for (size_t i = 0; dot && *name != '.' && i < sizeof endings / sizeof *endings; i++) {
    if (!strcasecmp(dot, endings[i])) return true;
  }
  return false;
}

bool photos_any(const char *dir) {
  bool any = false;
  DIR *d = opendir(dir);
  for (struct dirent *entry; d && !any && (entry = readdir(d));) any = is_photo_name(entry->d_name);
  if (d) closedir(d);
  return any;
}

static bool has_mask(const char *dir, const char *name) {
  char path[4400];
  int stem = (int)(strrchr(name, '.') - name);
  return text_put(path, sizeof path, "%s/masks/%.*s.png", dir, stem, name) && is_file(path);
}

static void take_photo(struct photos *p, const char *dir, const char *name) {
  char path[4400];
  int w = 0, h = 0;
  bool turned = false;
  struct err e = {0};
  text_put(path, sizeof path, "%s/%s", dir, name);
  if (!image_look(path, &w, &h, &turned, &e)) {
    if (!p->unreadable++) text_put(p->first_bad, sizeof p->first_bad, "%s", e.text);
    return;
  }
  int64_t pixels = (int64_t)w * h;
  if (!p->n || pixels < (int64_t)p->least_w * p->least_h) p->least_w = w, p->least_h = h;
  if (!p->n || pixels > (int64_t)p->most_w * p->most_h) p->most_w = w, p->most_h = h;
  p->n++;
  p->turned += turned;
  p->small += w < SMALL_SIDE || h < SMALL_SIDE;
  p->masks += has_mask(dir, name);
}

bool photos_look(struct photos *p, const char *dir, struct err *e) {
  *p = (struct photos){0};
  DIR *d = opendir(dir);
  if (!d) return err_set_errno(e, ERR_INPUT, "cannot read the directory of photographs %s", dir);
  for (struct dirent *entry; (entry = readdir(d));) {
    if (is_photo_name(entry->d_name)) take_photo(p, dir, entry->d_name);
  }
  closedir(d);
  return true;
}

/* --- class ------------------------------------------------------------------------------------------------------------------ */

struct lookup {
  const char *name;
  char found[64];
};

/* "backpack_dog = backpack, object" in the prompts of the DreamBooth data set */
static bool take_subject(void *user, const char *section, const char *name, const char *value, int line, struct err *e) {
  struct lookup *l = user;
  (void)line;
  (void)e;
  if (!strcmp(section, "subjects") && !strcmp(name, l->name)) text_put(l->found, sizeof l->found, "%.*s", (int)strcspn(value, ","), value);
  return true;
}

static const char *known_subject(const char *name, struct strings *s) {
  struct lookup l = {.name = name};
  struct err ignored = {0};
  size_t n = 0;
  char *text = text_file_read("embedded:dreambooth", embedded_files, "prompts", &n, &ignored);
  if (text) ini_read("dreambooth", text, n, take_subject, &l, &ignored);
  free(text);
  return *l.found ? strings_add(s, l.found, strlen(l.found)) : NULL;
}

/* The last word of letters that does not merely say that there are pictures: "dog" of "my_dog-2", "" of "images". */
static const char *last_word(const char *name, struct strings *s) {
  static const char *const empty[] = {"images", "image",       "photos",   "photo",   "pictures", "picture", "pics",     "img",
                                      "imgs",   "photographs", "instance", "subject", "dataset",  "data",    "training", "train",
                                      "input",  "inputs",      "my",       "the",     "new",      "copy",    "jpg",      "png"};
  const char *best = "";
  size_t length = 0;
  for (const char *p = name; *p;) {
    size_t n = 0;
    while (isalpha((unsigned char)p[n]) || (unsigned char)p[n] >= 0x80) n++;
    bool says = n > 1;
    for (size_t i = 0; says && i < sizeof empty / sizeof *empty; i++) says = strlen(empty[i]) != n || strncasecmp(empty[i], p, n) != 0;
    if (says) best = p, length = n;
    p += n ? n : 1;
  }
  return strings_printf(s, "%.*s", (int)length, best);
}

const char *class_of_name(const char *name, struct strings *s) {
  const char *known = known_subject(name, s), *word = known ? known : last_word(name, s);
  return word ? word : "";
}
