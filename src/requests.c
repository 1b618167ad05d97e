#include "requests.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/percent.h"
#include "text.h"

enum { ID_DIGITS = 16 };

/* What they take, with the engine's kinds. */
enum taken { NOTHING, NUMBER, PROMPT /* or nothing */ };
static const struct {
  const char *word;
  enum request_kind kind;
  enum engine_message_kind change;
  enum taken value;
} words[] = {
    {"lr", REQUEST_CHANGE, ENGINE_SET_LR, NUMBER},
    {"samples.every", REQUEST_CHANGE, ENGINE_SET_SAMPLES_EVERY, NUMBER},
    {"checkpoints.every", REQUEST_CHANGE, ENGINE_SET_CHECKPOINTS_EVERY, NUMBER},
    {"checkpoint", REQUEST_CHANGE, ENGINE_CHECKPOINT, NOTHING},
    {"sample", REQUEST_CHANGE, ENGINE_SAMPLE, PROMPT},
    {"pause", REQUEST_PAUSE, ENGINE_MESSAGES, NOTHING},
    {"go-on", REQUEST_GO_ON, ENGINE_MESSAGES, NOTHING},
    {"stop", REQUEST_STOP, ENGINE_MESSAGES, NOTHING},
};

static bool number(const char *text, double *out) {
  char *end;
  *out = strtod(text, &end);
  return end != text && !*end && isfinite(*out);
}

/* What stands behind the word: "" or "=VALUE". */
static bool take_value(const char *rest, enum taken value, struct engine_message *m) {
  if (value == NUMBER) return *rest == '=' && number(rest + 1, &m->value);
  if (value == NOTHING || !*rest) return !*rest;
  return rest[1] && text_put(m->prompt, sizeof m->prompt, "%s", rest + 1);
}

bool request_parse(const char *text, struct request *out, struct err *e) {
  size_t n = strcspn(text, "=");
  *out = (struct request){.kind = REQUEST_CHANGE};
  for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
    if (strlen(words[i].word) != n || strncmp(words[i].word, text, n)) continue;
    out->kind = words[i].kind;
    out->change.kind = words[i].change;
    if (!take_value(text + n, words[i].value, &out->change)) break;
    if (out->kind != REQUEST_CHANGE || engine_message_valid(&out->change)) return true;
    return err_set(e, ERR_USAGE, "%.60s: the value must be %s", text,
                   words[i].change == ENGINE_SET_LR ? "a number from 0 to 1" : "a whole number from 0 to 10000000");
  }
  return err_set(e, ERR_USAGE,
                 "%.60s: not a request; possible are lr=X, samples.every=N, checkpoints.every=N, checkpoint, sample, sample=PROMPT, pause, "
                 "go-on, stop",
                 text);
}

/* --- sending ------------------------------------------------------------------------------------------------------------------- */

static uint64_t new_id(void) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Within the 255 bytes of a file's name, with ID_ before and @STEP behind. */
static bool as_file_name(const char *text, const struct request *r, char out[REQUEST_TEXT]) {
  enum { STEP = 12 };
  size_t n = strcspn(text, "=") + 1;
  if (!*r->change.prompt) return text_put(out, REQUEST_TEXT - STEP, "%s", text);
  return text_put(out, REQUEST_TEXT - STEP, "%.*s", (int)n, text) && percent_encode(r->change.prompt, out + n, REQUEST_TEXT - STEP - n);
}

bool request_send(const char *run_dir, const char *text, int at, struct err *e) {
  char dir[4000], path[4400], step[32] = "", word[REQUEST_TEXT];
  struct request r;
  if (!request_parse(text, &r, e)) return false;
  if (!as_file_name(text, &r, word)) return err_set(e, ERR_USAGE, "%.60s...: too long for a request", text);
  if (!text_put(dir, sizeof dir, "%s/control", run_dir)) return err_set(e, ERR_USAGE, "the path of the run directory is too long");
  if (!make_dirs(dir, e)) return false;
  if (at > 0) text_put(step, sizeof step, "@%d", at);
  for (int i = 0; i < 1000; i++) {
    text_put(path, sizeof path, "%s/%016" PRIx64 "_%s%s", dir, new_id(), word, step);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0 && errno == EEXIST) continue;
    if (fd < 0) return err_set_errno(e, ERR_FAILED, "%s: cannot be written", path);
    close(fd);
    fs_sync_dir(dir);
    return true;
  }
  return err_set(e, ERR_FAILED, "%s: cannot be written", path);
}

/* --- taking ------------------------------------------------------------------------------------------------------------------------ */

void requests_open(struct requests *r, const char *run_dir) {
  *r = (struct requests){.n = 0};
  text_put(r->dir, sizeof r->dir, "%s/control", run_dir);
}

void requests_close(struct requests *r) {
  free(r->waiting);
  r->waiting = NULL;
  r->n = r->cap = 0;
}

static void forget(const struct requests *r, const char *file) {
  char path[4200];
  if (text_put(path, sizeof path, "%s/%s", r->dir, file)) unlink(path);
}

static bool parse_file(const char *name, struct request *out) {
  char text[REQUEST_TEXT], *at;
  struct err ignored = {0};
  if (strspn(name, "0123456789abcdef") != ID_DIGITS || name[ID_DIGITS] != '_' || strlen(name) >= sizeof text + 17) return false;
  text_put(text, sizeof text, "%s", name + ID_DIGITS + 1);
  int step = 0;
  if ((at = strchr(text, '@'))) {
    *at = 0;
    step = atoi(at + 1);
  }
  at = strchr(text, '=');
  if ((at && !percent_decode(at + 1, at + 1, sizeof text - (size_t)(at + 1 - text))) || !request_parse(text, out, &ignored)) return false;
  out->at = step;
  out->change.id = strtoull(name, NULL, 16);
  text_put(out->file, sizeof out->file, "%s", name);
  return true;
}

static bool known(const struct requests *r, const char *name) {
  for (int i = 0; i < r->n; i++) {
    if (!strcmp(r->waiting[i].file, name)) return true;
  }
  return !strcmp(r->taken, name);
}

/* In the order of their ids. Out of memory: it is found again at the next look. */
static void keep(struct requests *r, const struct request *x) {
  if (r->n == r->cap) {
    int cap = r->cap ? r->cap * 2 : 8;
    struct request *more = realloc(r->waiting, (size_t)cap * sizeof *more);
    if (!more) return;
    r->waiting = more;
    r->cap = cap;
  }
  int i = r->n++;
  for (; i > 0 && r->waiting[i - 1].change.id > x->change.id; i--) r->waiting[i] = r->waiting[i - 1];
  r->waiting[i] = *x;
}

static void take(struct requests *r, const struct request *x) {
  if (x->kind == REQUEST_CHANGE) {
    keep(r, x);
    return;
  }
  if (x->kind == REQUEST_STOP) {
    r->stop = true;
  } else {
    r->paused = x->kind == REQUEST_PAUSE;
  }
  forget(r, x->file);
}

static int visible(const struct dirent *d) {
  return d->d_name[0] != '.';
}

void requests_look(struct requests *r, char refused[REQUEST_TEXT + 20]) {
  struct dirent **entry;
  struct request x;
  refused[0] = 0;
  int n = scandir(r->dir, &entry, visible, alphasort);
  for (int i = 0; i < n; i++) {
    const char *name = entry[i]->d_name;
    if (!known(r, name)) {
      if (parse_file(name, &x)) {
        take(r, &x);
      } else {
        snprintf(refused, REQUEST_TEXT + 20, "%s", name);
        forget(r, name);
      }
    }
    free(entry[i]);
  }
  if (n >= 0) free(entry);
}

bool requests_next(struct requests *r, int step, struct engine_message *out) {
  if (*r->taken) forget(r, r->taken);
  r->taken[0] = 0;
  for (int i = 0; i < r->n; i++) {
    if (r->waiting[i].at > step) continue;
    *out = r->waiting[i].change;
    memcpy(r->taken, r->waiting[i].file, sizeof r->taken);
    memmove(r->waiting + i, r->waiting + i + 1, (size_t)(--r->n - i) * sizeof *r->waiting);
    return true;
  }
  return false;
}
