#include "prompts.h"

#include <stdlib.h>
#include <string.h>

#include "profile.h"

bool prompts_add(struct prompts *p, const char *text, struct err *e) {
  const char **more = realloc(p->text, (size_t)(p->n + 1) * sizeof *more);
  if (more) p->text = more;
  const char *copy = more ? strings_add(&p->owner, text, strlen(text)) : NULL;
  if (!copy) return err_set(e, ERR_FIT, "out of memory");
  p->text[p->n++] = copy;
  return true;
}

struct section_job {
  struct prompts *p;
  const char *file, *wanted; /* wanted "": the first that begins with "prompts" */
  char taken[64], other[64]; /* other: a second one that would fit too */
  char seen[512];            /* names of all that begin with "prompts" */
};

static bool is_wanted(const struct section_job *j, const char *section) {
  if (!*j->wanted) return !strncmp(section, "prompts", 7);
  return !strcmp(section, j->wanted) || (!strncmp(section, "prompts ", 8) && !strcmp(section + 8, j->wanted));
}

static bool take_prompt(void *user, const char *section, const char *name, const char *value, int line, struct err *e) {
  struct section_job *j = user;
  (void)name;
  (void)line;
  size_t have = strlen(j->seen);
  if (!strncmp(section, "prompts", 7) && !strstr(j->seen, section))
    text_put(j->seen + have, sizeof j->seen - have, "%s%s", have ? ", " : "", section);
  if (!is_wanted(j, section)) return true;
  if (!*j->taken) text_put(j->taken, sizeof j->taken, "%s", section);
  if (strcmp(j->taken, section)) return text_put(j->other, sizeof j->other, "%s", section);
  return !*value || prompts_add(j->p, value, e);
}

static bool read_ini(struct prompts *p, const char *path, const char *text, size_t n, const char *section, struct err *e) {
  struct section_job j = {.p = p, .file = path, .wanted = section ? section : ""};
  if (!ini_read(path, text, n, take_prompt, &j, e)) return false;
  if (*j.other) return err_set(e, ERR_USAGE, "%s has several sections of prompts; choose one with --section: %s", path, j.seen);
  if (!*j.taken)
    return err_set(e, ERR_USAGE, "%s has no section [%s]; its sections of prompts are: %s", path, *j.wanted ? j.wanted : "prompts",
                   *j.seen ? j.seen : "none");
  return true;
}

static bool read_lines(struct prompts *p, const char *path, char *text, size_t n, struct err *e) {
  if (memchr(text, 0, n)) return err_set(e, ERR_USAGE, "%s holds NUL bytes; prompts are plain text, one on a line", path);
  int line = 1;
  for (char *at = text; *at; line++) {
    size_t len = strcspn(at, "\n");
    bool last = !at[len];
    at[len] = 0;
    const unsigned char *u = (const unsigned char *)at, *stop = u + len;
    for (size_t step; u < stop; u += step) {
      step = utf8_step(u, (size_t)(stop - u));
      if (!step) return err_set(e, ERR_USAGE, "%s:%d: the line is not valid UTF-8", path, line);
    }
    char *end = at + len;
    while (end > at && strchr(" \t\r", end[-1])) *--end = 0;
    const char *start = at + strspn(at, " \t");
    if (*start && *start != '#' && !prompts_add(p, start, e)) return false;
    at += len + !last;
  }
  return true;
}

bool prompts_read(struct prompts *p, const char *path, const char *section, const struct embedded_file *embedded, struct err *e) {
  size_t n, len = strlen(path);
  int before = p->n;
  char *text = text_file_read(path, embedded, "prompts", &n, e);
  if (!text) return false;
  bool ini = (len > 4 && !strcmp(path + len - 4, ".ini")) || !strncmp(path, "embedded:", 9);
  bool ok = ini ? read_ini(p, path, text, n, section, e) : read_lines(p, path, text, n, e);
  free(text);
  if (ok && p->n == before) return err_set(e, ERR_USAGE, "%s holds no prompt", path);
  return ok;
}

bool prompts_fill(struct prompts *p, const char *token, const char *class_name, struct err *e) {
  for (int i = 0; i < p->n; i++) {
    if (strstr(p->text[i], "{class}") && !*class_name) return err_set(e, ERR_USAGE, "the prompt \"%s\" needs --class", p->text[i]);
    p->text[i] = strings_replace(&p->owner, p->text[i], "{token}", token);
    if (p->text[i]) p->text[i] = strings_replace(&p->owner, p->text[i], "{class}", class_name);
    if (!p->text[i]) return err_set(e, ERR_FIT, "out of memory");
  }
  return true;
}

void prompts_release(struct prompts *p) {
  free(p->text);
  strings_release(&p->owner);
}
