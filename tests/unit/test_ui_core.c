/* The interface without a terminal: bytes to keys, answers of terminals, lines that are typed, edited INI files, runs and subjects as their directories show them. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/lock.h"
#include "assets/embedded.h"
#include "formats/source.h"
#include "live.h"
#include "profile.h"
#include "requests.h"
#include "train/checkpoint.h"
#include "ui/ini_edit.h"
#include "ui/input.h"
#include "ui/overlay.h"
#include "ui/profile_doc.h"
#include "ui/queue.h"
#include "ui/run_view.h"
#include "ui/screen.h"
#include "ui/store.h"
#include "ui/term.h"
#include "ui/verdicts.h"

static char folder[64];

static int make_folder(void **state) {
  (void)state;
  text_put(folder, sizeof folder, "/tmp/ui-core-XXXXXX");
  return mkdtemp(folder) == NULL;
}

static int remove_folder(void **state) {
  (void)state;
  fs_remove_tree(folder);
  return 0;
}

static void put(const char *name, const char *text) {
  char path[256];
  struct err e = {0};
  text_put(path, sizeof path, "%s/%s", folder, name);
  assert_true(write_file(path, text, strlen(text), &e));
}

/* --- bytes to events ---------------------------------------------------------------------------------------------------------- */

/* The keys that bytes mean, as "Up Ctrl-X ...", fed in pieces of `piece` bytes. */
static const char *keys_of(const char *bytes, size_t n, size_t piece) {
  static char all[4096];
  static struct input in;
  struct input_event ev;
  char name[32];
  size_t w = 0;
  in = (struct input){.n = 0};
  all[0] = 0;
  for (size_t at = 0; at <= n; at += piece) {
    size_t len = n - at < piece ? n - at : piece;
    assert_int_equal(input_feed(&in, bytes + at, len), len);
    bool last = at + piece > n;
    while (input_next(&in, !last, &ev)) {
      if (ev.kind == INPUT_KEY) key_text(ev.key, ev.modifiers, name, sizeof name);
      if (ev.kind == INPUT_MOUSE) text_put(name, sizeof name, "mouse%d:%d@%d,%d", (int)ev.mouse, ev.button, ev.x, ev.y);
      if (ev.kind == INPUT_PASTE) text_put(name, sizeof name, "paste(%.20s)", ev.paste);
      w += (size_t)snprintf(all + w, sizeof all - w, "%s%s", w ? " " : "", name);
    }
  }
  return all;
}

static void test_keys(void **state) {
  (void)state;
  static const struct {
    const char *bytes, *keys;
  } cases[] = {
      {"aZ:", "a Z :"},
      {"\033[A\033OB\033[1;5C\033[1;2D", "Up Down Ctrl-Right Shift-Left"},
      {"\033[5~\033[6~\033[H\033[4~\033[3~", "PgUp PgDn Home End Del"},
      {"\033OP\033[11~\033[[A\033[24~", "F1 F1 F1 F12"},
      {"\033[Z\t\r\n\177\010", "Shift-Tab Tab Enter Enter Backspace Backspace"},
      {"\001\032\033x", "Ctrl-A Ctrl-Z Alt-x"},
      {"\303\251\346\274\242\360\237\220\251", "é 漢 🐩"},
      {"\033[<0;10;5M\033[<0;10;5m\033[<64;1;1M\033[<34;3;4M", "mouse0:1@9,4 mouse1:1@9,4 mouse3:1@0,0 mouse2:3@2,3"},
      {"\033[200~two\rlines\033[201~x", "paste(two\nlines) x"},
      {"\033[?62;4;22c\033[6;20;10ta", "a"}, /* answers that come late: the first has a prefix; the other means no key */
      {"\033P>|xterm(379)\033\\b\033]11;rgb:0/0/0\007c", "b c"}, /* strings */
      {"\377\376a\303", "a"},                                    /* not UTF-8 */
      {"\033", "Esc"},
      {"\033\033", "Esc Esc"},
      {"\033[", "Esc ["},
      {"\033[999;999;999;999;999~q", "q"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    size_t n = strlen(cases[i].bytes);
    assert_string_equal(keys_of(cases[i].bytes, n, n ? n : 1), cases[i].keys);
    assert_string_equal(keys_of(cases[i].bytes, n, 1), cases[i].keys);
  }
}

/* Whatever comes, every byte is used up and nothing runs away. */
static void test_random_bytes(void **state) {
  (void)state;
  static struct input in;
  struct input_event ev;
  unsigned long seed = 1;
  for (int i = 0; i < 200000; i++) {
    seed = seed * 6364136223846793005ul + 1442695040888963407ul;
    static const char likely[] = "\033[O<;M~P\\0123?\302\200";
    unsigned char c = (unsigned char)(seed >> 33);
    if (seed >> 40 & 1) c = (unsigned char)likely[(seed >> 33) % (sizeof likely - 1)];
    input_feed(&in, &c, 1);
    while (input_next(&in, (seed >> 50) % 8 != 0, &ev)) assert_true(ev.kind != INPUT_KEY || (ev.key > 0 && ev.key < KEY_LAST));
    if (in.n == INPUT_BYTES) in.n = 0;
  }
  in.pasting = false;
  while (input_next(&in, false, &ev)) continue;
  assert_true(in.pasting || in.n == 0);
}

static void test_key_names(void **state) {
  (void)state;
  static const char *const names[] = {"a", ":", "Up", "Ctrl-C", "F5", "Shift-Tab", "Space", "Enter", "Alt-x", "Esc", "é", "PgDn"};
  char back[32];
  int key, modifiers;
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    assert_true(key_parse(names[i], &key, &modifiers));
    assert_string_equal(key_text(key, modifiers, back, sizeof back), names[i]);
  }
  assert_false(key_parse("two words", &key, &modifiers));
  assert_false(key_parse("", &key, &modifiers));
}

static void test_answers(void **state) {
  (void)state;
  struct term_facts f = {.registers = 256, .cell_w = 10, .cell_h = 20};
  const char *xterm =
      "\033]11;rgb:ffff/ffff/fefe\033\\\033[?2;0;1000;1000S\033[?1;0;1024S\033[6;19;9t\033[?2026;2$y\033[?63;1;2;4;6;9;15;22c";
  term_read_answers(xterm, strlen(xterm), &f);
  assert_true(f.sixel && f.sync && f.light && !f.palette && !f.direct);
  assert_int_equal(f.registers, 1024);
  assert_int_equal(f.cell_w * 1000 + f.cell_h, 9019);
  assert_int_equal(f.max_w, 1000);
  const char *plain = "\033]11;rgb:0000/0000/0000\007\033[?2026;0$y\033[?1;3S\033[?64;1;2;6;22c"; /* an error for sixel geometry, no 4 */
  f = (struct term_facts){.registers = 256};
  term_read_answers(plain, strlen(plain), &f);
  assert_true(!f.sixel && !f.sync && !f.light && f.registers == 256);
  static const struct {
    const char *text;
    bool direct;
  } attributes[] = {{"\033P1$r0;48:2::1:2:3m\033\\", true},    {"\033P1$r48;2;1;2;3m\033\\", true}, {"\033P1$r0;48:2:0:1:2:3m\033\\", true},
                    {"\033P1$r0;48;5;16m\033\\", false},      {"\033P1$r0m\033\\", false},         {"\033P0$r\033\\", false},
                    {"\033P1$r0;48:2::1:2:4m\033\\", false}, {"\033P1$r0;48:2::1", false}};
  for (size_t i = 0; i < sizeof attributes / sizeof *attributes; i++) {
    f = (struct term_facts){0};
    term_read_answers(attributes[i].text, strlen(attributes[i].text), &f);
    assert_int_equal(f.direct, attributes[i].direct);
  }
  term_read_answers("\033]4;255;rgb:eeee/eeee/eeee\007", 27, &f);
  assert_true(f.palette);
  const char *level4 = "\033[?4c"; /* the first parameter is the level, not a feature */
  term_read_answers(level4, strlen(level4), &f);
  assert_false(f.sixel);
  term_read_answers("\033[?62;4", 7, &f); /* cut off */
  assert_false(f.sixel);
}

static void test_line(void **state) {
  (void)state;
  struct line_edit l;
  line_set(&l, "né x");
  assert_true(line_key(&l, KEY_ARROW_LEFT, 0) && line_key(&l, KEY_ARROW_LEFT, 0) && line_key(&l, KEY_DEL, 0));
  assert_string_equal(l.text, "n x");
  line_insert(&l, "漢\n字\001");
  assert_string_equal(l.text, "n漢 字 x");
  line_key(&l, KEY_TO_END, 0);
  line_key(&l, 23, 0);
  assert_string_equal(l.text, "n漢 字 ");
  line_key(&l, 21, 0);
  assert_int_equal(l.n, 0);
  assert_false(line_key(&l, KEY_F1, 0));
  for (int i = 0; i < 3 * LINE_BYTES; i++) line_key(&l, 'x', 0);
  assert_int_equal(l.n, LINE_BYTES - 1);
}

/* --- INI ------------------------------------------------------------------------------------------------------------------------------ */

static void check_ini(const char *before, const char *section, const char *name, const char *const *values, int n, const char *after) {
  char *text = ini_with(before, key_find(section, name), values, n);
  assert_non_null(text);
  assert_string_equal(text, after);
  free(text);
}

static void test_ini_edit(void **state) {
  (void)state;
  static const char *const one[] = {"5"}, *const two[] = {"a", "b"};
  check_ini("; head\n[train]\nlr = 1 ; why\nsteps = 4\n; end\n\n[prior]\nsteps = 3\n", "train", "steps", one, 1,
            "; head\n[train]\nlr = 1 ; why\nsteps = 5\n; end\n\n[prior]\nsteps = 3\n");
  check_ini("[train]\nlearning_rate=1\n", "train", "lr", one, 1, "[train]\nlearning_rate = 5\n"); /* under the name it has there */
  check_ini("[train]\nlr = 1\n\n[prior]\nsteps = 3\n", "train", "steps", one, 1, "[train]\nlr = 1\nsteps = 5\n\n[prior]\nsteps = 3\n");
  check_ini("[prior]\nsteps = 3", "train", "steps", one, 1, "[prior]\nsteps = 3\n\n[train]\nsteps = 5\n");
  check_ini("", "train", "steps", one, 1, "[train]\nsteps = 5\n");
  check_ini("[prompts]\ntest = x\n; middle\ntest = y\n", "prompts", "test", two, 2, "[prompts]\ntest = a\ntest = b\n; middle\n");
  check_ini("[prompts]\ntest = x\nnegative = n\n", "prompts", "test", NULL, 0, "[prompts]\nnegative = n\n");
  check_ini("[prompts]\nnegative = n\n", "prompts", "test", NULL, 0, "[prompts]\nnegative = n\n");
  check_ini("[train]\n[prior]\nx = 1\n[train]\nsteps = 1\n", "train", "steps", one, 1, "[train]\n[prior]\nx = 1\n[train]\nsteps = 5\n");
}

static void test_profile_doc(void **state) {
  (void)state;
  struct profile_doc d;
  struct err e = {0};
  char path[128], value[64], *text;
  size_t n;
  make_folder(NULL);
  put("p.ini", "; mine\n[model]\npath = embedded\n[subject]\nimages = embedded:poodle\nclass = dog\n[train]\nsteps = 7 ; few\n");
  text_put(path, sizeof path, "%s/p.ini", folder);
  assert_true(doc_open(&d, path));
  const struct key *steps = key_find("train", "steps"), *rank = key_find("train", "rank");
  assert_int_equal(doc_origin(&d, steps), ORIGIN_FILE);
  assert_int_equal(doc_origin(&d, rank), ORIGIN_DEFAULT);
  assert_string_equal(doc_default(&d, key_find("train", "lr")), "1e-4");
  assert_false(doc_allowed(steps, "0", value, sizeof value));
  assert_true(doc_allowed(steps, "12", value, sizeof value));
  assert_true(doc_set(&d, steps, "12") && doc_set(&d, rank, "8"));
  assert_string_equal(doc_value(&d, steps, value, sizeof value), "12");
  assert_int_equal(doc_origin(&d, rank), ORIGIN_CHANGED);
  assert_int_equal(d.effective.settings.train.rank, 8);
  doc_revert(&d, rank);
  assert_int_equal(d.effective.settings.train.rank, 4);
  assert_true(doc_save(&d, &e));
  assert_int_equal(d.changes, 0);
  doc_close(&d);
  text = text_file_read(path, NULL, "", &n, &e);
  assert_non_null(strstr(text, "; mine\n"));
  assert_non_null(strstr(text, "steps = 12\n"));
  free(text);
  text_put(path, sizeof path, "%s/p.ini.bak", folder);
  text = text_file_read(path, NULL, "", &n, &e);
  assert_non_null(strstr(text, "steps = 7 ; few\n"));
  free(text);
  remove_folder(NULL);
}

/* --- a run ---------------------------------------------------------------------------------------------------------------------------------- */

static void test_run_view(void **state) {
  (void)state;
  struct run_view v;
  struct live live = {.paused = false};
  struct lock lock;
  struct err e = {0};
  char path[128], name[256];
  make_folder(NULL);
  run_view_open(&v, folder);
  run_view_update(&v);
  assert_int_equal(v.state, RUN_EMPTY);
  put("profile.ini", "[train]\nsteps = 9\n[prompts]\ntest = a cat\ntest = a dog\n[prior]\nsteps = 3\n");
  put("metrics.csv",
      "step,instance,prior,pdm,total,lr,grad_norm,seconds,probe\n1,1,,,1,1e-4,2,0.5,\n2,0.5,,,0.5,1e-4,2,0.5,0.25\n3,0.4,,,0.");
  assert_true(run_view_update(&v));
  assert_int_equal(v.n_rows, 2); /* the third is not all there yet */
  assert_int_equal(v.steps, 9);
  assert_int_equal(v.prompts, 2);
  assert_true(isnan(v.rows[0].prior) && fabs(v.rows[1].probe - 0.25) < 1e-12);
  assert_int_equal(v.state, RUN_STOPPED);
  FILE *f = fopen(text_put(path, sizeof path, "%s/metrics.csv", folder) ? path : "", "a");
  fputs("4,1e-4,2,0.5,\n", f);
  fclose(f);
  assert_true(run_view_update(&v));
  assert_int_equal(v.n_rows, 3);
  put("metrics.csv", "step\n1,1,,,1,1e-4,2,0.5,\n2,7,,,7,1e-4,2,0.5,\n"); /* gone back, and on with other numbers: a new file */
  assert_true(run_view_update(&v));
  assert_int_equal(v.n_rows, 2);
  assert_true(fabs(run_row_at(&v, 5)->total - 7) < 1e-12);
  assert_null(run_row_at(&v, 0));
  text_put(path, sizeof path, "%s/samples/step-000002", folder);
  assert_true(make_dirs(path, &e));
  put("samples/step-000002/1-0.png", "x");
  put("samples/step-000002/0-1.png", "x");
  put("samples/step-000002/note.txt", "x");
  text_put(path, sizeof path, "%s/checkpoints/final", folder);
  assert_true(make_dirs(path, &e));
  assert_true(run_view_update(&v));
  assert_int_equal(v.n_samples, 2);
  assert_int_equal(v.samples[0].prompt, 0);
  assert_int_equal(v.n_checkpoints, 1);
  assert_true(v.checkpoints[0].final);
  assert_false(run_view_update(&v));
  put("summary.json", "{\"status\":\"numeric\",\"error\":\"loss is not a number\",\"losses\":{\"total\":0.5}}");
  assert_true(run_view_update(&v));
  assert_int_equal(v.state, RUN_FAILED);
  assert_string_equal(v.error, "loss is not a number");
  live_put(&live, folder, "training", 3, 9);
  run_view_update(&v);
  assert_int_equal(v.state, RUN_FAILED); /* of a process that was killed: nobody has the lock */
  text_put(path, sizeof path, "%s/lock", folder);
  assert_int_equal(lock_take(&lock, path, name, &e), LOCK_HELD);
  assert_true(run_view_update(&v));
  assert_int_equal(v.state, RUN_WORKING);
  assert_int_equal(v.live.done, 3);
  live_pause(&live, folder, true);
  run_view_update(&v);
  assert_int_equal(v.state, RUN_PAUSED);
  assert_non_null(strstr(v.holder, "process "));
  assert_true(v.live.memory > 100000 && !(v.live.load < 0 || v.live.load > 1));
  put("journal.csv", "step,what,value,id\n2,lr,0.5,1\n2,sample,0,2,a+red%20c%C3%A4r\n3,sample,0,3\n3,sample,0,4,a+red+c%C3%A4r\n");
  assert_true(run_view_update(&v));
  assert_int_equal(run_prompts(&v), 3);
  assert_string_equal(run_prompt(&v, 1), "a dog");
  assert_string_equal(run_prompt(&v, 2), "a red cär");
  assert_string_equal(run_prompt(&v, 3), "");
  lock_release(&lock);
  run_view_update(&v);
  assert_int_equal(v.state, RUN_FAILED);
  text_put(name, sizeof name, "%s", v.name);
  assert_string_equal(name, strrchr(folder, '/') + 1);
  run_view_close(&v);
  remove_folder(NULL);
}

static void test_verdicts(void **state) {
  (void)state;
  struct verdicts v;
  struct err e = {0};
  make_folder(NULL);
  verdicts_read(&v, folder);
  assert_int_equal(v.n, 0);
  verdicts_give(&v, 20)->stars = 3;
  verdicts_give(&v, 40)->rejected = true;
  text_put(verdicts_give(&v, 40)->note, 300, "eyes are wrong");
  assert_true(verdicts_write(&v, &e));
  verdicts_read(&v, folder);
  assert_int_equal(v.n, 2);
  assert_int_equal(verdicts_at(&v, 20)->stars, 3);
  assert_true(verdicts_at(&v, 40)->rejected);
  assert_string_equal(verdicts_at(&v, 40)->note, "eyes are wrong");
  assert_null(verdicts_at(&v, 30));
  remove_folder(NULL);
}

/* --- subjects -------------------------------------------------------------------------------------------------------------------------------- */

static void test_store(void **state) {
  (void)state;
  struct store s;
  struct err e = {0};
  struct profile p;
  char path[4096];
  make_folder(NULL);
  setenv("XDG_DATA_HOME", folder, 1);
  assert_true(store_open(&s, embedded_files, &e));
  assert_int_equal(s.n, 1);
  assert_string_equal(s.subject[0].name, "poodle");
  assert_int_equal(s.subject[0].photographs, 5);
  assert_int_equal(s.subject[0].masks, 5);
  assert_true(store_add(&s, "clock", "embedded:mantel_clock", "", "clock", embedded_files, &e));
  int i = store_find(&s, "clock");
  assert_true(profile_load(&p, subject_profile(&s.subject[i], path, sizeof path), embedded_files, NULL, 0, &e));
  assert_string_equal(p.settings.subject.class_name, "clock");
  assert_string_equal(p.settings.subject.token, "sks");
  assert_string_equal(p.settings.subject.images, "embedded:mantel_clock");
  assert_string_equal(p.settings.subject.hold_out, "");
  profile_release(&p);
  assert_false(store_add(&s, "clock", "embedded:poodle", "", "dog", embedded_files, &e));
  e = (struct err){0};
  assert_false(store_add(&s, "../x", "embedded:poodle", "", "dog", embedded_files, &e));
  e = (struct err){0};
  assert_false(store_add(&s, "none", folder, "", "dog", embedded_files, &e));
  assert_non_null(strstr(e.text, "no PNG"));
  e = (struct err){0};
  assert_true(store_rename(&s, store_find(&s, "clock"), "old-clock", &e));
  assert_true(store_duplicate(&s, store_find(&s, "old-clock"), "new-clock", &e));
  assert_int_equal(s.n, 3);
  assert_true(store_archive(&s, store_find(&s, "old-clock"), true, &e));
  assert_string_equal(s.subject[2].name, "old-clock"); /* archived ones come last */
  assert_true(store_choose(&s, 0, "/somewhere/final", &e) && store_reload(&s, &e));
  assert_string_equal(s.subject[0].chosen, "/somewhere/final");
  store_close(&s);
  remove_folder(NULL);
}

/* Two programs with one queue: nobody's entry is lost, and only one at a time starts what comes next. */
static void test_queue(void **state) {
  (void)state;
  struct queue *a = calloc(1, sizeof *a), *b = calloc(1, sizeof *b);
  struct err e = {0};
  char name[QUEUE_NAME];
  make_folder(NULL);
  setenv("XDG_STATE_HOME", folder, 1);
  assert_true(a && b && !queue_read(a));
  assert_true(queue_add(a, "poodle", &e) && queue_add(b, "clock", &e) && queue_add(a, "vase", &e));
  assert_false(queue_add(b, "poodle", &e));
  assert_int_equal(e.code, ERR_USAGE);
  assert_int_equal(a->n, 3);
  assert_false(queue_read(b)); /* it was read to be changed */
  queue_remove(b, "clock");
  assert_true(queue_read(a));
  assert_true(queue_take(a, name));
  assert_string_equal(name, "poodle");
  assert_false(queue_take(b, name)); /* it is a's turn until its run has ended */
  queue_turn_over(a);
  queue_read(b);
  assert_true(queue_take(b, name));
  assert_string_equal(name, "vase");
  queue_read(a);
  assert_int_equal(a->n, 0);
  queue_turn_over(b);
  for (int i = 0; i < MAX_QUEUE; i++) {
    text_put(name, sizeof name, "s%d", i);
    assert_true(queue_add(a, name, &e));
  }
  assert_false(queue_add(a, "one more", &e));
  unsetenv("XDG_STATE_HOME");
  remove_folder(NULL);
  free(a);
  free(b);
}

/* A prompt survives the name of the file that asks for it, whatever is in it; one that does not fit is refused. */
static void test_requests(void **state) {
  (void)state;
  static const char prompt[] = "a {token} 100% @home/../=, \xe6\xbc\xa2\n+";
  struct requests r;
  struct engine_message m;
  struct err e = {0};
  char text[400], refused[REQUEST_TEXT + 20];
  make_folder(NULL);
  text_put(text, sizeof text, "sample=%s", prompt);
  assert_true(request_send(folder, text, 7, &e) && request_send(folder, "sample", 0, &e));
  text_put(text, sizeof text, "sample=%0300d", 1);
  assert_false(request_send(folder, text, 0, &e));
  assert_int_equal(e.code, ERR_USAGE);
  assert_false(request_parse("sample=", &(struct request){0}, &e) || request_parse("checkpoint=1", &(struct request){0}, &e));
  requests_open(&r, folder);
  requests_look(&r, refused);
  assert_string_equal(refused, "");
  assert_true(requests_next(&r, 3, &m));
  assert_string_equal(m.prompt, "");
  assert_false(requests_next(&r, 3, &m));
  assert_true(requests_next(&r, 7, &m));
  assert_string_equal(m.prompt, prompt);
  requests_close(&r);
  remove_folder(NULL);
}

/* Every key of a screen means one thing there, every action can be called by its name, and says what it does. */
static void test_actions(void **state) {
  (void)state;
  const struct action *x;
  int screen, n = 0, key, modifiers;
  char keys_of_it[64], first[32];
  for (; (x = action_at(n, &screen)); n++) {
    assert_ptr_equal(action_named(x->name), x);
    assert_true(strlen(x->help) > 5 && x->help[strlen(x->help) - 1] == '.');
    assert_true(x->run != NULL);
    action_keys(x, keys_of_it, sizeof keys_of_it);
    if (!*x->keys) continue;
    assert_true(key_parse(action_key(x, first, sizeof first), &key, &modifiers));
    assert_ptr_equal(action_of_key(screen < 0 ? SCREEN_HELP : screen, key, modifiers), x);
  }
  assert_true(n > 40);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_keys),        cmocka_unit_test(test_random_bytes), cmocka_unit_test(test_key_names),
      cmocka_unit_test(test_answers),     cmocka_unit_test(test_line),         cmocka_unit_test(test_ini_edit),
      cmocka_unit_test(test_profile_doc), cmocka_unit_test(test_run_view),     cmocka_unit_test(test_verdicts),
      cmocka_unit_test(test_store),       cmocka_unit_test(test_actions),      cmocka_unit_test(test_queue),
      cmocka_unit_test(test_requests),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
