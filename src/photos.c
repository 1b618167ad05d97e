/* photos: what may be wrong with the photographs of a subject. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "assets/embedded.h"
#include "commands.h"
#include "photo_check.h"
#include "text.h"

enum { MOST = 1024 };

struct photos_options {
  int least;
};

static bool is_photo_name(const char *name) {
  static const char *const ends[] = {".png", ".jpg", ".jpeg", ".webp"};
  const char *dot = strrchr(name, '.');
  for (size_t i = 0; dot && *name != '.' && i < sizeof ends / sizeof *ends; i++) {
    if (!strcasecmp(dot, ends[i])) return true;
  }
  return false;
}

static bool measure(const struct source *s, struct photo_facts *p) {
  char path[4600];
  struct err e = {0};
  struct blob b;
  struct image im = {0};
  int w, h;
  source_name(s, p->name, path, sizeof path);
  bool ok = source_open(s, p->name, &b, &e);
  if (ok) {
    ok = image_decode(&b, path, &im, &e) && (photo_measure(&im, p) || err_set(&e, ERR_FAILED, "out of memory"));
    blob_close(&b);
  }
  if (ok && !s->embedded) image_look(path, &w, &h, &p->turned, &e);
  image_release(&im);
  if (!ok) text_put(p->trouble, sizeof p->trouble, "%s", e.text);
  return ok || e.code != ERR_FAILED;
}

static int look(const struct source *s, int least) {
  struct source_names names;
  struct err e = {0};
  struct photo_facts *photo = calloc(MOST, sizeof *photo);
  char text[800];
  int n = 0;
  bool ok = photo ? source_names(s, "", &names, &e) : err_set(&e, ERR_FAILED, "out of memory");
  for (int i = 0; ok && i < names.n && n < MOST; i++) {
    if (!is_photo_name(names.name[i])) continue;
    text_put(photo[n].name, sizeof photo[n].name, "%s", names.name[i]);
    ok = measure(s, photo + n++) || err_set(&e, ERR_FAILED, "out of memory");
  }
  if (ok && !n) ok = err_set(&e, ERR_INPUT, "%s: there is no PNG, JPEG or WebP picture in it", s->root);
  for (int i = 0; ok && i < n; i++) {
    photo_judge(photo, n, i, least, text, sizeof text);
    printf("%s: %s\n", photo[i].name, *text ? text : "good");
  }
  if (photo) source_names_release(&names);
  free(photo);
  return ok ? 0 : say_error(&e);
}

static int photos_main(void *options, int operands, char **operand) {
  const struct photos_options *o = options;
  struct err e = {0};
  struct source s;
  char prefix[512];
  if (operands != 1) return err_set(&e, ERR_USAGE, "photos takes one directory; see pdmbooth-tui photos --help"), say_error(&e);
  if (strncmp(operand[0], "embedded:", 9)) {
    source_dir(&s, operand[0]);
    if (!is_directory(operand[0])) return err_set(&e, ERR_INPUT, "%s: no such directory", operand[0]), say_error(&e);
  } else {
    text_put(prefix, sizeof prefix, "demo-subject/%s", operand[0] + 9);
    source_embedded(&s, embedded_files, prefix);
  }
  return look(&s, o->least);
}

#define AT(field) .offset = offsetof(struct photos_options, field)

static const struct option_spec photos_table[] = {
    {"least", "N", "a photograph with a side below N pixels is small (default 512)", OPTION_WHOLE, AT(least), 1, 65536},
    {0},
};

const struct command_spec photos_command = {
    .name = "photos",
    .operands = "DIR",
    .summary = "say what may be wrong with photographs of a subject",
    .about =
        "One line for each photograph: NAME: good, or what is wrong with it: too small, blurred, nearly the same as another one, turned by "
        "EXIF, unreadable. Nothing is written.",
    .options = photos_table,
    .options_size = sizeof(struct photos_options),
    .defaults = &(const struct photos_options){.least = 512},
    .run = photos_main,
};
