/* Runs *.keys scripts against a program in an emulated terminal and prints TAP, one line for each script.
   usage: script [--update] [--show] [--golden DIR] FILE.keys...      --update writes golden screens anew, --show prints the last screen of each.
   A script is lines; # begins a comment. $NAME and ${NAME} are taken from the environment ($DIR: a fresh directory, also HOME and the XDG ones;
   $SRC: the top of the tree; $BUILD: where the program was built). Before the program starts:
     size W H | cell W H | term NAME | sixel yes/no | utf8 yes/no | answers yes/no | colours N (said when asked) | env NAME=VALUE | shell COMMAND
     start PROGRAM ARGUMENT...
   afterwards:
     key NAME... | text WORDS | mouse WHAT X Y | resize W H | signal NAME | wait MS | settle [MS]
     limit MS                     how long expect and settle wait (30000)
     expect TEXT | absent TEXT    on the screen, within the limit
     click TEXT                   the mouse, where that text is
     mask REGEX                   what matches becomes # in golden screens (times, rates, sizes)
     golden NAME                  the screen as text equals DIR/NAME.txt
     pictures N                   N rectangles of pixels, none with a hole, are on the screen within the limit
     redraw                       what is on the screen stays as it is when all is drawn anew (C-l)
     rgb yes/no                   whether a cell has 24-bit colours
     picture FILE X Y [RMSE]      the pixels around that cell are that picture, scaled alike (0.03)
     shell COMMAND                succeeds
     exit STATUS                  the program ends with it (or -SIGNAL) and has given the terminal back */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <locale.h>
#include <regex.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "terminal/golden.h"
#include "terminal/session.h"
#include "terminal/sixel_decode.h"
#include "ui/picture.h"

enum { MOST_MASKS = 32, MOST_WORDS = 64, LINE = 4096 };

struct run {
  const char *file, *golden;
  bool update, started;
  bool resized; /* what is under way to a larger window wraps in a smaller one: rows may scroll then */
  int line, limit;
  struct session s;
  struct emulator_options o;
  char term[64];
  regex_t masks[MOST_MASKS];
  int n_masks;
};

static bool fail(struct run *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static bool fail(struct run *r, const char *fmt, ...) {
  va_list args;
  printf("# %s:%d: ", r->file, r->line);
  va_start(args, fmt);
  vprintf(fmt, args);
  va_end(args);
  printf("\n");
  return false;
}

/* The screen in a frame, as a comment of TAP. */
static void show_screen(struct run *r) {
  char *text = r->started && r->s.screen != NULL ? emulator_text(r->s.screen) : NULL;
  for (char *at = text; at != NULL && *at != 0;) {
    size_t n = strcspn(at, "\n");
    printf("#  |%.*s\n", (int)n, at);
    at += n + (at[n] == '\n');
  }
  free(text);
}

/* $NAME and ${NAME} from the environment. */
static void expand(const char *in, char *out, size_t n) {
  size_t at = 0;
  while (*in != 0 && at + 1 < n) {
    const char *name = in + 1 + (in[1] == '{');
    size_t length = 0;
    while (isalnum((unsigned char)name[length]) || name[length] == '_') length++;
    if (*in != '$' || length == 0) {
      out[at++] = *in++;
      continue;
    }
    char key[128];
    snprintf(key, sizeof key, "%.*s", (int)length, name);
    const char *value = getenv(key);
    at += (size_t)snprintf(out + at, n - at, "%s", value != NULL ? value : "");
    if (at >= n) at = n - 1;
    in = name + length + (in[1] == '{');
  }
  out[at] = 0;
}

/* Words at blanks, in place; quotes hold them together. */
static int split(char *text, char **words) {
  int n = 0;
  while (*(text += strspn(text, " \t")) != 0 && n < MOST_WORDS - 1) {
    char quote = *text == '"' || *text == '\'' ? *text++ : 0;
    words[n++] = text;
    text += quote != 0 ? strcspn(text, quote == '"' ? "\"" : "'") : strcspn(text, " \t");
    if (*text != 0) *text++ = 0;
  }
  words[n] = NULL;
  return n;
}

/* --- before the start ------------------------------------------------------------------------------------------------------- */

static bool yes(const char *word) {
  return strcmp(word, "yes") == 0;
}

static bool cmd_size(struct run *r, int n, char **w) {
  if (n != 2) return fail(r, "size W H");
  r->o.w = atoi(w[0]);
  r->o.h = atoi(w[1]);
  return r->o.w > 0 && r->o.h > 0;
}

static bool cmd_cell(struct run *r, int n, char **w) {
  if (n != 2) return fail(r, "cell W H");
  r->o.cell = (struct cell_size){atoi(w[0]), atoi(w[1])};
  return r->o.cell.w > 0 && r->o.cell.h > 0;
}

static bool cmd_term(struct run *r, int n, char **w) {
  snprintf(r->term, sizeof r->term, "%s", n == 1 ? w[0] : "");
  return n == 1;
}

static bool cmd_sixel(struct run *r, int n, char **w) {
  r->o.sixel = r->o.synchronized = n == 1 && yes(w[0]);
  return n == 1;
}

static bool cmd_utf8(struct run *r, int n, char **w) {
  r->o.utf8 = n == 1 && yes(w[0]);
  setenv("LC_ALL", r->o.utf8 ? "C.UTF-8" : "C", 1);
  return n == 1;
}

static bool cmd_colours(struct run *r, int n, char **w) {
  r->o.colours = n == 1 ? atoi(w[0]) : 0;
  return r->o.colours > 0 || fail(r, "colours N");
}

static bool cmd_answers(struct run *r, int n, char **w) {
  r->s.answers = n == 1 && yes(w[0]);
  return n == 1;
}

static bool cmd_env(struct run *r, int n, char **w) {
  char *value = n == 1 ? strchr(w[0], '=') : NULL;
  if (value == NULL) return fail(r, "env NAME=VALUE");
  *value = 0;
  setenv(w[0], value + 1, 1);
  return true;
}

static bool cmd_start(struct run *r, int n, char **w) {
  if (n < 1 || r->started) return fail(r, "start PROGRAM ARGUMENT..., once");
  bool answers = r->s.answers;
  fflush(stdout);
  r->started = session_start(&r->s, &r->o, r->term, w);
  r->s.answers = answers;
  return r->started || fail(r, "%s cannot be started", w[0]);
}

/* --- typing ------------------------------------------------------------------------------------------------------------------ */

static bool cmd_key(struct run *r, int n, char **w) {
  for (int i = 0; i < n; i++) {
    if (!session_key(&r->s, w[i])) return fail(r, "there is no key `%s`", w[i]);
    session_pump(&r->s, 30);
    if (strcmp(w[i], "Esc") == 0) session_settle(&r->s, 150, 400); /* or the next key would make a sequence with it */
  }
  return true;
}

static bool cmd_mouse(struct run *r, int n, char **w) {
  if (n != 3 || !session_mouse(&r->s, w[0], atoi(w[1]), atoi(w[2])))
    return fail(r, "mouse press/release/drag/click/right/wheel-up/wheel-down X Y");
  session_pump(&r->s, 30);
  return true;
}

static bool cmd_resize(struct run *r, int n, char **w) {
  r->resized = true;
  if (n != 2) return fail(r, "resize W H");
  session_resize(&r->s, atoi(w[0]), atoi(w[1]));
  return true;
}

static bool cmd_signal(struct run *r, int n, char **w) {
  static const struct {
    const char *name;
    int number;
  } signals[] = {{"TERM", SIGTERM}, {"INT", SIGINT},   {"HUP", SIGHUP},   {"TSTP", SIGTSTP},
                 {"CONT", SIGCONT}, {"SEGV", SIGSEGV}, {"KILL", SIGKILL}, {"USR1", SIGUSR1}};
  for (size_t i = 0; n == 1 && i < sizeof signals / sizeof *signals; i++) {
    if (strcmp(w[0], signals[i].name) == 0) return r->s.pid > 0 && kill(r->s.pid, signals[i].number) == 0;
  }
  return fail(r, "signal TERM/INT/HUP/TSTP/CONT/SEGV/KILL/USR1");
}

static bool cmd_wait(struct run *r, int n, char **w) {
  for (int left = n == 1 ? atoi(w[0]) : 0; left > 0; left -= 20) {
    session_pump(&r->s, 20);
    if (session_pump(&r->s, 0)) continue;
  }
  return n == 1;
}

static bool cmd_settle(struct run *r, int n, char **w) {
  return session_settle(&r->s, n == 1 ? atoi(w[0]) : 200, r->limit) || fail(r, "the screen does not become quiet");
}

static bool cmd_limit(struct run *r, int n, char **w) {
  if (n == 1) r->limit = atoi(w[0]);
  return n == 1;
}

/* --- looking ----------------------------------------------------------------------------------------------------------------- */

/* mask(s): what matches becomes #, as many as it has characters. */
static void apply_masks(struct run *r, char *text) {
  for (int i = 0; i < r->n_masks; i++) {
    regmatch_t m;
    for (char *at = text; *at != 0 && regexec(&r->masks[i], at, 1, &m, 0) == 0; at += m.rm_eo > m.rm_so ? m.rm_eo : m.rm_eo + 1) {
      for (regoff_t k = m.rm_so; k < m.rm_eo; k++) {
        if (at[k] != '\n' && (at[k] & 0x80) == 0) at[k] = '#';
      }
    }
  }
}

static bool cmd_mask(struct run *r, const char *rest) {
  if (r->n_masks == MOST_MASKS || regcomp(&r->masks[r->n_masks], rest, REG_EXTENDED | REG_NEWLINE) != 0) return fail(r, "mask REGEX");
  r->n_masks++;
  return true;
}

static bool cmd_golden(struct run *r, int n, char **w) {
  if (n != 1) return fail(r, "golden NAME");
  if (!session_settle(&r->s, 200, r->limit)) return fail(r, "the screen does not become quiet");
  char *text = emulator_text(r->s.screen), path[4096];
  apply_masks(r, text);
  snprintf(path, sizeof path, "%s/%s.txt", r->golden, w[0]);
  bool same = golden_compare(path, text, r->update, stdout);
  free(text);
  return same || fail(r, "the screen is not as it was");
}

static bool cmd_rgb(struct run *r, int n, char **w) {
  struct emulator_modes m = emulator_modes(r->s.screen);
  bool any = false;
  for (int i = 0; i < m.width * m.height && !any; i++) {
    struct emulator_look look = emulator_at(r->s.screen, i % m.width, i / m.width)->look;
    any = (look.fg >= 0 && look.fg & EMU_RGB) || (look.bg >= 0 && look.bg & EMU_RGB);
  }
  return (n == 1 && any == yes(w[0])) || fail(r, "%s cell has 24-bit colours", any ? "a" : "no");
}

/* Of a blank only the background is seen. */
static bool look_alike(const struct emulator_cell *a, const struct emulator_cell *b) {
  bool blank =
      (a->text[0] == 0 || strcmp(a->text, " ") == 0) && ((a->look.attributes | b->look.attributes) & (EMU_REVERSE | EMU_UNDERLINE)) == 0;
  return strcmp(a->text, b->text) == 0 && a->look.bg == b->look.bg &&
         (blank || (a->look.fg == b->look.fg && a->look.attributes == b->look.attributes));
}

static bool cmd_redraw(struct run *r, int n, char **w) {
  (void)w;
  if (n != 0) return fail(r, "redraw");
  session_key(&r->s, "Esc"); /* a message at the bottom goes now */
  session_settle(&r->s, 500, r->limit);
  struct emulator_modes m = emulator_modes(r->s.screen);
  struct emulator_cell *before = calloc((size_t)m.width * (size_t)m.height, sizeof *before);
  if (before == NULL) return fail(r, "out of memory");
  for (int i = 0; i < m.width * m.height; i++) before[i] = *emulator_at(r->s.screen, i % m.width, i / m.width);
  session_key(&r->s, "C-l");
  session_settle(&r->s, 300, r->limit);
  int other = -1;
  for (int i = 0; i < m.width * m.height && other < 0; i++) {
    if (!look_alike(&before[i], emulator_at(r->s.screen, i % m.width, i / m.width))) other = i;
  }
  const struct emulator_cell *a = &before[other < 0 ? 0 : other], *b = emulator_at(r->s.screen, other % m.width, other / m.width);
  if (other >= 0)
    fail(r, "at %d %d was `%s` (%x on %x, %u) and is, drawn anew, `%s` (%x on %x, %u)", other % m.width + 1, other / m.width + 1, a->text,
         (unsigned)a->look.fg, (unsigned)a->look.bg, a->look.attributes, b->text, (unsigned)b->look.fg, (unsigned)b->look.bg,
         b->look.attributes);
  free(before);
  return other < 0;
}

/* Every rectangle without a hole. */
static bool all_whole(const struct emulator *e) {
  struct emulator_modes m = emulator_modes(e);
  for (int y = 0; y < m.height; y++) {
    for (int x = 0; x < m.width; x++) {
      struct rect area;
      struct image im;
      bool whole;
      if (!emulator_picture_at(e, x, y, &area) || area.x != x || area.y != y) continue;
      bool some = emulator_pixels(e, area, &im, &whole);
      if (some) image_release(&im);
      if (!some || !whole) return false;
    }
  }
  return true;
}

static bool cmd_pictures(struct run *r, int n, char **w) {
  if (n != 1) return fail(r, "pictures N");
  for (int waited = 0; waited <= r->limit; waited += 250) {
    session_settle(&r->s, 200, 250);
    if (emulator_pictures(r->s.screen) == atoi(w[0]) && all_whole(r->s.screen)) return true;
  }
  return fail(r, "%d pictures are on the screen, not %s%s", emulator_pictures(r->s.screen), w[0],
              all_whole(r->s.screen) ? "" : ", one has a hole");
}

/* The source scaled as the program scales: to the cells, the rows of pixels cut that do not fill a band. */
static double difference(const struct image *source, struct rect area, struct cell_size cell, const struct image *shown) {
  struct image scaled;
  if (!picture_scale(source, area.w * cell.w, area.h * cell.h, true, &scaled)) return 1;
  if (shown->h <= scaled.h) scaled.h = shown->h;
  double rmse = picture_rmse(&scaled, shown);
  image_release(&scaled);
  return rmse;
}

static bool cmd_picture(struct run *r, int n, char **w) {
  struct image source, shown;
  struct rect area;
  struct err e = {0};
  bool whole = false;
  if (n != 3 && n != 4) return fail(r, "picture FILE X Y [RMSE]");
  if (!image_read(w[0], &source, &e)) return fail(r, "%s", e.text);
  double most = n == 4 ? atof(w[3]) : 0.03, rmse = 1;
  for (int waited = 0; waited <= r->limit && !(rmse <= most && whole); waited += 250) {
    session_settle(&r->s, 200, 250);
    if (!emulator_picture_at(r->s.screen, atoi(w[1]) - 1, atoi(w[2]) - 1, &area) || !emulator_pixels(r->s.screen, area, &shown, &whole))
      continue;
    rmse = difference(&source, area, r->o.cell, &shown);
    image_release(&shown);
  }
  image_release(&source);
  if (rmse > most) return fail(r, "the pixels at %s %s differ from %s: RMSE %.4f, allowed %.4f", w[1], w[2], w[0], rmse, most);
  printf("# %s at %d %d, %d x %d cells: RMSE %.4f\n", w[0], area.x + 1, area.y + 1, area.w, area.h, rmse);
  return whole || fail(r, "the picture at %s %s has a hole", w[1], w[2]);
}

static bool cmd_click(struct run *r, const char *text) {
  int x, y;
  if (!session_expect(&r->s, text, true, r->limit) || !emulator_contains(r->s.screen, text, &x, &y))
    return fail(r, "`%s` is not on the screen", text);
  session_mouse(&r->s, "click", x + 1, y + 1);
  session_pump(&r->s, 30);
  return true;
}

static bool given_back(struct run *r) {
  struct emulator_modes m = emulator_modes(r->s.screen);
  const char *what = m.alternate       ? "the alternate screen is still on"
                     : !m.cursor_shown ? "the cursor is hidden"
                     : m.mouse         ? "the mouse is still reported"
                     : m.in_update     ? "a synchronized update is open"
                     : m.scrolls && !r->resized ? "rows were scrolled, and what stands beside ncurses with them"
                     : m.cursor_keys   ? "the keypad is still in application mode"
                                       : NULL;
  return what == NULL || fail(r, "the terminal was not given back: %s", what);
}

static bool cmd_exit(struct run *r, int n, char **w) {
  int waited = 0;
  while (session_running(&r->s) && waited < r->limit) waited += session_pump(&r->s, 50) ? 0 : 50;
  if (r->s.pid > 0) return fail(r, "the program has not ended");
  int status = WIFSIGNALED(r->s.status) ? -WTERMSIG(r->s.status) : WEXITSTATUS(r->s.status);
  if (n == 1 && status != atoi(w[0])) return fail(r, "it ended with %d, not %s", status, w[0]);
  return given_back(r);
}

static bool cmd_shell(struct run *r, const char *command) {
  fflush(stdout);
  int status = system(command);
  return status == 0 || fail(r, "`%s` ended with %d", command, WIFEXITED(status) ? WEXITSTATUS(status) : -1);
}

/* --- scripts ----------------------------------------------------------------------------------------------------------------- */

static const struct {
  const char *name;
  bool (*words)(struct run *r, int n, char **w);
  bool (*rest)(struct run *r, const char *rest);
  bool running; /* needs the program */
} commands[] = {{"size", cmd_size, NULL, false},      {"cell", cmd_cell, NULL, false},    {"term", cmd_term, NULL, false},
                {"sixel", cmd_sixel, NULL, false},    {"utf8", cmd_utf8, NULL, false},    {"answers", cmd_answers, NULL, false},
                {"colours", cmd_colours, NULL, false},
                {"env", cmd_env, NULL, false},        {"start", cmd_start, NULL, false},  {"limit", cmd_limit, NULL, false},
                {"mask", NULL, cmd_mask, false},      {"shell", NULL, cmd_shell, false},  {"key", cmd_key, NULL, true},
                {"mouse", cmd_mouse, NULL, true},     {"resize", cmd_resize, NULL, true}, {"signal", cmd_signal, NULL, true},
                {"wait", cmd_wait, NULL, true},       {"settle", cmd_settle, NULL, true}, {"golden", cmd_golden, NULL, true},
                {"picture", cmd_picture, NULL, true}, {"rgb", cmd_rgb, NULL, true},       {"pictures", cmd_pictures, NULL, true},
                {"redraw", cmd_redraw, NULL, true},   {"click", NULL, cmd_click, true},   {"exit", cmd_exit, NULL, true}};

static bool text_command(struct run *r, const char *name, const char *rest, bool *known) {
  *known = true;
  if (strcmp(name, "text") == 0) {
    session_type(&r->s, rest, strlen(rest));
    session_pump(&r->s, 30);
    return true;
  }
  if (strcmp(name, "expect") == 0) return session_expect(&r->s, rest, true, r->limit) || fail(r, "`%s` does not appear", rest);
  if (strcmp(name, "absent") == 0) return session_expect(&r->s, rest, false, r->limit) || fail(r, "`%s` stays", rest);
  *known = false;
  return false;
}

static bool run_line(struct run *r, char *line) {
  char text[LINE], *words[MOST_WORDS], *name = line + strspn(line, " \t");
  line[strcspn(line, "\n")] = 0;
  if (*name == 0 || *name == '#') return true;
  char *rest = name + strcspn(name, " \t");
  if (*rest != 0) *rest++ = 0;
  expand(rest, text, sizeof text);
  bool known;
  if (r->started) {
    bool ok = text_command(r, name, text, &known);
    if (known) return ok;
  }
  for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
    if (strcmp(name, commands[i].name) != 0) continue;
    if (commands[i].running && !r->started) return fail(r, "`%s` before `start`", name);
    if (commands[i].rest != NULL) return commands[i].rest(r, strcmp(name, "shell") == 0 ? rest : text); /* the shell expands itself */
    return commands[i].words(r, split(text, words), words);
  }
  return fail(r, "there is no command `%s`, or not before `start`", name);
}

/* A directory of its own is home, configuration, data and run directory. */
static bool make_home(char *dir, size_t n) {
  static const char *const names[] = {"HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR"};
  static const char *const unset[] = {"NO_COLOR", "COLORTERM", "TMUX", "COLUMNS", "LINES", "LANG", "LC_CTYPE"};
  const char *tmp = getenv("TMPDIR");
  snprintf(dir, n, "%s/keysXXXXXX", tmp != NULL && *tmp != 0 ? tmp : "/tmp");
  if (mkdtemp(dir) == NULL) return false;
  setenv("DIR", dir, 1);
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", dir, names[i]);
    if (mkdir(path, 0700) != 0) return false;
    setenv(names[i], path, 1);
  }
  for (size_t i = 0; i < sizeof unset / sizeof *unset; i++) unsetenv(unset[i]);
  setenv("LC_ALL", "C.UTF-8", 1);
  return true;
}

static bool run_lines(struct run *r, FILE *f) {
  char line[LINE];
  bool ok = true;
  for (r->line = 1; ok && fgets(line, sizeof line, f) != NULL; r->line++) ok = run_line(r, line);
  r->line--;
  return ok;
}

static bool run_script(const char *file, const char *golden, bool update, bool show) {
  struct run r = {
      .file = file, .golden = golden, .update = update, .limit = 30000, .s = {.fd = -1, .answers = true}, .term = "xterm-256color"};
  char dir[4096] = "", command[4200];
  r.o = (struct emulator_options){.w = 80, .h = 24, .cell = {10, 20}, .utf8 = true};
  FILE *f = fopen(file, "re");
  if (f == NULL) return fail(&r, "cannot be opened: %s", strerror(errno));
  bool ok = make_home(dir, sizeof dir) && run_lines(&r, f);
  fclose(f);
  if (!ok || show) show_screen(&r);
  if (r.started) session_end(&r.s);
  for (int i = 0; i < r.n_masks; i++) regfree(&r.masks[i]);
  snprintf(command, sizeof command, "rm -rf '%s'", dir);
  if (dir[0] != 0 && system(command) != 0) printf("# %s could not be removed\n", dir);
  return ok;
}

/* SRC and BUILD, absolute. */
static void set_places(void) {
  char here[4096];
  const char *source = getenv("TEST_SRCDIR");
  if (getcwd(here, sizeof here) == NULL) return;
  setenv("BUILD", here, 1);
  setenv("SRC", source != NULL ? source : "..", 1);
}

int main(int argc, char **argv) {
  bool update = false, show = false;
  char golden[4096];
  int n = 0, failed = 0;
  setlocale(LC_ALL, "C.UTF-8");
  set_places();
  snprintf(golden, sizeof golden, "%s/tests/terminal/golden", getenv("SRC"));
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], "--update") == 0) {
      update = true;
    } else if (strcmp(argv[i], "--show") == 0) {
      show = true;
    } else if (strcmp(argv[i], "--golden") == 0 && i + 1 < argc) {
      snprintf(golden, sizeof golden, "%s", argv[++i]);
    } else {
      bool ok = run_script(argv[i], golden, update, show);
      const char *slash = strrchr(argv[i], '/');
      printf("%sok %d - %s\n", ok ? "" : "not ", ++n, slash != NULL ? slash + 1 : argv[i]);
      failed += !ok;
    }
  }
  printf("1..%d\n", n);
  return failed > 0;
}
