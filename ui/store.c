#include "ui/store.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "assets/embedded.h"
#include "profile.h"
#include "ui/ini_edit.h"
#include "ui/paths.h"

const char *subject_profile(const struct subject *s, char *buf, size_t n) {
  text_put(buf, n, "%s/profile.ini", s->dir);
  return buf;
}

const char *subject_photograph(const struct subject *s, int i, char *buf, size_t n) {
  text_put(buf, n, "%s/%s", s->images, s->photograph[i]);
  return buf;
}

static void stem(const char *name, char *out, size_t n) {
  const char *dot = strrchr(name, '.');
  text_put(out, n, "%.*s", dot ? (int)(dot - name) : (int)strlen(name), name);
}

static bool embedded_has(const char *path) {
  for (const struct embedded_file *f = embedded_files; f->path; f++) {
    if (!strcmp(f->path, path)) return true;
  }
  return false;
}

/* In masks/ beside the photographs. */
static bool given_mask(const struct subject *s, const char *base, char *buf, size_t n) {
  char inside[512];
  if (!text_put(buf, n, "%s/masks/%s.png", s->images, base)) return false;
  if (strncmp(s->images, "embedded:", 9)) return is_file(buf);
  return text_put(inside, sizeof inside, "demo-subject/%s/masks/%s.png", s->images + 9, base) && embedded_has(inside);
}

enum mask_kind subject_mask_kind(const struct subject *s, int i, char *buf, size_t n) {
  char base[256];
  stem(s->photograph[i], base, sizeof base);
  if (text_put(buf, n, "%s/masks/%s.png", s->dir, base) && is_file(buf)) return MASK_OWN;
  if (given_mask(s, base, buf, n)) return MASK_GIVEN;
  if (text_put(buf, n, "%s/derived/%s.png", s->dir, base) && is_file(buf)) return MASK_DERIVED;
  return MASK_MISSING;
}

/* --- reading ---------------------------------------------------------------------------------------------------------------------- */

static bool is_picture(const char *name) {
  static const char *const ends[] = {".png", ".jpg", ".jpeg", ".webp"};
  const char *dot = strrchr(name, '.');
  for (int i = 0; dot && *name != '.' && i < 4; i++) {
    if (!strcasecmp(dot, ends[i])) return true;
  }
  return false;
}

static void list_photographs(struct subject *s) {
  struct source source;
  char name[256], ignored[3600];
  if (!strncmp(s->images, "embedded:", 9)) {
    char prefix[3100];
    text_put(prefix, sizeof prefix, "demo-subject/%s", s->images + 9);
    source_embedded(&source, embedded_files, prefix);
  } else {
    if (!is_directory(s->images)) {
      text_put(s->trouble, sizeof s->trouble, "the directory of the photographs is not there");
      return;
    }
    source_dir(&source, s->images);
  }
  for (int i = 0; source_list(&source, "", i, name, sizeof name); i++) {
    if (!is_picture(name) || s->photographs == MAX_PHOTOGRAPHS) continue;
    char *copy = strdup(name);
    if (copy) s->photograph[s->photographs++] = copy;
  }
  for (int i = 0; i < s->photographs; i++) s->masks += subject_mask_kind(s, i, ignored, sizeof ignored) != MASK_MISSING;
  if (!s->photographs) text_put(s->trouble, sizeof s->trouble, "there is no PNG, JPEG or WebP picture in the directory");
}

static bool take_line(void *user, const char *section, const char *name, const char *value, int line, struct err *e) {
  struct subject *s = user;
  (void)line;
  (void)e;
  if (strcmp(section, "subject")) return true;
  if (!strcmp(name, "token")) text_put(s->token, sizeof s->token, "%s", value);
  if (!strcmp(name, "class")) text_put(s->class_name, sizeof s->class_name, "%s", value);
  if (!strcmp(name, "images")) text_put(s->images, sizeof s->images, "%s", value);
  if (!strcmp(name, "chosen")) text_put(s->chosen, sizeof s->chosen, "%s", value);
  if (!strcmp(name, "archived")) s->archived = !strcmp(value, "true");
  return true;
}

/* subject.ini, then what profile.ini says of token, class and photographs: that is what is run. */
static bool read_subject(struct subject *s, struct err *e) {
  static const char *const files[] = {"subject.ini", "profile.ini"};
  bool ok = true;
  for (int i = 0; i < 2; i++) {
    char path[4096];
    size_t n;
    text_put(path, sizeof path, "%s/%s", s->dir, files[i]);
    char *text = is_file(path) ? text_file_read(path, NULL, "", &n, e) : NULL;
    ok = text && ini_read(path, text, n, take_line, s, e);
    free(text);
    if (!ok) return false;
  }
  list_photographs(s);
  return true;
}

static void release_subjects(struct store *s) {
  for (int i = 0; i < s->n; i++) {
    for (int k = 0; k < s->subject[i].photographs; k++) free(s->subject[i].photograph[k]);
  }
  free(s->subject);
  s->subject = NULL;
  s->n = 0;
}

static int by_name(const void *a, const void *b) {
  const struct subject *x = a, *y = b;
  if (x->archived != y->archived) return x->archived ? 1 : -1;
  return strcmp(x->name, y->name);
}

bool store_reload(struct store *s, struct err *e) {
  struct subject *old = s->subject;
  int n_old = s->n;
  DIR *d = opendir(s->root);
  if (!d) return err_set_errno(e, ERR_INPUT, "%s cannot be read", s->root);
  s->subject = NULL;
  s->n = 0;
  for (struct dirent *x; (x = readdir(d));) {
    struct subject one = {.marked = false};
    struct err ignored = {0};
    if (*x->d_name == '.' || !text_put(one.name, sizeof one.name, "%s", x->d_name)) continue;
    if (!text_put(one.dir, sizeof one.dir, "%s/%s", s->root, x->d_name) || !is_directory(one.dir)) continue;
    if (!read_subject(&one, &ignored)) text_put(one.trouble, sizeof one.trouble, "%.190s", *ignored.text ? ignored.text : "no profile.ini");
    for (int i = 0; i < n_old; i++) {
      if (!strcmp(old[i].name, one.name)) one.marked = old[i].marked;
    }
    struct subject *more = realloc(s->subject, (size_t)(s->n + 1) * sizeof *more);
    if (!more) break;
    s->subject = more;
    more[s->n++] = one;
  }
  closedir(d);
  if (s->n) qsort(s->subject, (size_t)s->n, sizeof *s->subject, by_name);
  release_subjects(&(struct store){.subject = old, .n = n_old});
  return true;
}

int store_find(const struct store *s, const char *name) {
  for (int i = 0; i < s->n; i++) {
    if (!strcmp(s->subject[i].name, name)) return i;
  }
  return -1;
}

void store_close(struct store *s) {
  release_subjects(s);
}

/* --- writing ----------------------------------------------------------------------------------------------------------------------- */

static bool write_facts(const struct subject *s, struct err *e) {
  char path[4096], text[12000];
  text_put(path, sizeof path, "%s/subject.ini", s->dir);
  text_put(text, sizeof text, "; kept by pdmbooth-tui\n[subject]\ntoken = %s\nclass = %s\nimages = %s\nchosen = %s\narchived = %s\n",
           s->token, s->class_name, s->images, s->chosen, s->archived ? "true" : "false");
  return write_file(path, text, strlen(text), e);
}

static char *edited(char *text, const char *section, const char *name, const char *value) {
  if (!text) return NULL;
  char *next = ini_with(text, key_find(section, name), &value, *value ? 1 : 0);
  free(text);
  return next;
}

static bool write_profile(const struct subject *s, char *text, struct err *e) {
  char path[4096];
  text = edited(text, "subject", "name", s->name);
  text = edited(text, "subject", "token", s->token);
  text = edited(text, "subject", "class", s->class_name);
  text = edited(text, "subject", "images", s->images);
  if (!text) return err_set(e, ERR_FAILED, "out of memory");
  bool ok = write_file(subject_profile(s, path, sizeof path), text, strlen(text), e);
  free(text);
  return ok;
}

static bool name_is_free(const struct store *s, const char *name, struct subject *out, struct err *e) {
  char plain[128];
  file_name_from(name, plain, sizeof plain);
  if (!*name || strcmp(plain, name) || *name == '.' || strlen(name) > 100)
    return err_set(e, ERR_USAGE, "%.60s: a subject's name has letters, digits, '.', '_' and '-'", *name ? name : "(nothing)");
  text_put(out->name, sizeof out->name, "%s", name);
  if (!text_put(out->dir, sizeof out->dir, "%s/%s", s->root, name)) return err_set(e, ERR_USAGE, "the path would be too long");
  struct stat st;
  if (!stat(out->dir, &st)) return err_set(e, ERR_USAGE, "there is a subject %s already", name);
  return true;
}

static bool make_subject(const struct subject *s, const char *drop, const struct embedded_file *embedded, struct err *e) {
  size_t n;
  char *text = text_file_read("embedded:demo", embedded, "profiles", &n, e);
  if (!text) return false;
  if (drop) text = edited(text, "subject", drop, "");
  return make_dirs(s->dir, e) ? write_profile(s, text, e) && write_facts(s, e) : (free(text), false);
}

bool store_add(struct store *s, const char *name, const char *images, const char *token, const char *class_name,
               const struct embedded_file *embedded, struct err *e) {
  struct subject one = {.archived = false};
  char real[4096];
  if (!name_is_free(s, name, &one, e)) return false;
  text_put(one.token, sizeof one.token, "%s", *token ? token : "sks");
  text_put(one.class_name, sizeof one.class_name, "%s", class_name);
  if (!strncmp(images, "embedded:", 9))
    text_put(real, sizeof real, "%s", images);
  else if (!realpath(images, real))
    return err_set_errno(e, ERR_INPUT, "%.300s", images);
  if (!text_put(one.images, sizeof one.images, "%s", real)) return err_set(e, ERR_USAGE, "the path is too long");
  list_photographs(&one);
  for (int i = 0; i < one.photographs; i++) free(one.photograph[i]);
  if (*one.trouble) return err_set(e, ERR_INPUT, "%.300s: %s", images, one.trouble);
  return make_subject(&one, "hold_out", embedded, e) && store_reload(s, e);
}

bool store_rename(struct store *s, int i, const char *name, struct err *e) {
  struct subject one = {.archived = false}, *old = &s->subject[i];
  if (!name_is_free(s, name, &one, e)) return false;
  if (rename(old->dir, one.dir)) return err_set_errno(e, ERR_FAILED, "%s cannot be renamed", old->name);
  char path[4096];
  size_t n;
  subject_profile(&one, path, sizeof path);
  char *text = text_file_read(path, NULL, "", &n, e);
  text = edited(text, "subject", "name", name);
  bool ok = text && write_file(path, text, strlen(text), e);
  free(text);
  return store_reload(s, e) && ok;
}

bool store_duplicate(struct store *s, int i, const char *name, struct err *e) {
  struct subject one = s->subject[i];
  char path[4096];
  size_t n;
  if (!name_is_free(s, name, &one, e)) return false;
  one.chosen[0] = 0;
  char *text = text_file_read(subject_profile(&s->subject[i], path, sizeof path), NULL, "", &n, e);
  if (!text) return false;
  bool ok = make_dirs(one.dir, e) ? write_profile(&one, text, e) && write_facts(&one, e) : (free(text), false);
  return store_reload(s, e) && ok;
}

bool store_archive(struct store *s, int i, bool archived, struct err *e) {
  s->subject[i].archived = archived;
  return write_facts(&s->subject[i], e) && store_reload(s, e);
}

bool store_choose(struct store *s, int i, const char *checkpoint, struct err *e) {
  if (!text_put(s->subject[i].chosen, sizeof s->subject[i].chosen, "%s", checkpoint)) return err_set(e, ERR_USAGE, "the path is too long");
  return write_facts(&s->subject[i], e);
}

/* The demo once: one that was removed or archived does not come again. */
static bool put_demo(struct store *s, const struct embedded_file *embedded, struct err *e) {
  struct subject demo = {.name = "poodle", .token = "sks", .class_name = "dog", .images = "embedded:poodle"};
  return text_put(demo.dir, sizeof demo.dir, "%s/poodle", s->root) && make_subject(&demo, NULL, embedded, e);
}

bool store_open(struct store *s, const struct embedded_file *embedded, struct err *e) {
  *s = (struct store){.n = 0};
  if (!data_path("subjects", s->root, sizeof s->root))
    return err_set(e, ERR_INPUT, "neither XDG_DATA_HOME nor HOME is an absolute path: there is no place for subjects");
  if (!is_directory(s->root) && (!make_dirs(s->root, e) || !put_demo(s, embedded, e))) return false;
  return store_reload(s, e);
}
