/* The one loop: waits for keys, signals and changed files, then draws at most 30 times a second. Where nothing happens it sleeps. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <ncurses.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "assets/embedded.h"
#include "base/thread.h"
#include "ui/app.h"
#include "ui/ui.h"

/* seconds; rest_time: pixels come when no key has come for so long */
static const double frame_time = 1.0 / 30, message_time = 6, settle_time = 0.1, look_time = 1, escape_time = 0.05, rest_time = 0.15;
enum { SIXEL_CACHE = 48 << 20 };

void app_changed(struct app *a) {
  a->dirty = true;
}

static void say(struct app *a, enum style style, const char *fmt, va_list list) {
  vsnprintf(a->message, sizeof a->message, fmt, list);
  a->message_style = style;
  a->message_until = now_seconds() + message_time;
  app_changed(a);
}

void app_say(struct app *a, const char *fmt, ...) {
  va_list list;
  va_start(list, fmt);
  say(a, STYLE_STATUS, fmt, list);
  va_end(list);
}

void app_complain(struct app *a, const char *fmt, ...) {
  va_list list;
  va_start(list, fmt);
  say(a, STYLE_ERROR, fmt, list);
  va_end(list);
}

void app_go(struct app *a, int screen) {
  if (screen < 0 || screen >= SCREEN_COUNT || screen == a->screen) return;
  a->screen_next = screen;
  if (screens[a->screen]->leave) screens[a->screen]->leave(a);
  a->screen_before = a->screen;
  a->screen = screen;
  if (screens[screen]->enter) screens[screen]->enter(a);
  app_changed(a);
}

struct subject *app_subject(struct app *a) {
  int i = store_find(&a->store, a->subject);
  return i < 0 ? NULL : &a->store.subject[i];
}

static void tell_screens(struct app *a) {
  for (int i = 0; i < SCREEN_COUNT; i++) {
    if (screens[i]->changed && a->state[i]) screens[i]->changed(a);
  }
  app_changed(a);
}

void app_choose_subject(struct app *a, const char *name) {
  if (strcmp(a->subject, name)) text_put(a->subject, sizeof a->subject, "%s", name);
  int i = runs_of(&a->runs, name);
  runs_view(&a->runs, i < 0 ? "" : a->runs.item[i].path);
  tell_screens(a);
}

/* --- events -------------------------------------------------------------------------------------------------------------------------- */

static void key_event(struct app *a, const struct input_event *ev) {
  const struct action *x = action_of_key(a->screen, ev->key, ev->modifiers);
  a->message[0] = 0;
  app_changed(a);
  if (x) x->run(a, NULL);
}

static void mouse_event(struct app *a, const struct input_event *ev) {
  struct rect body = chrome_body(a);
  if (ev->y == 0 && ev->mouse == MOUSE_PRESS) {
    app_go(a, chrome_tab_at(a, ev->x));
  } else if (rect_holds(body, ev->x, ev->y) && screens[a->screen]->mouse) {
    screens[a->screen]->mouse(a, body, ev);
    app_changed(a);
  }
}

void app_event(struct app *a, const struct input_event *ev) {
  a->moved_at = now_seconds();
  if (a->overlay.kind != OVERLAY_NONE)
    overlay_event(a, ev);
  else if (ev->kind == INPUT_KEY)
    key_event(a, ev);
  else if (ev->kind == INPUT_MOUSE)
    mouse_event(a, ev);
}

/* False: the terminal is gone. */
static bool read_keys(struct app *a) {
  char bytes[4096];
  struct input_event ev;
  ssize_t n = read(STDIN_FILENO, bytes, sizeof bytes);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return true;
  if (n <= 0) return false;
  for (ssize_t at = 0; at < n;) {
    size_t taken = input_feed(&a->input, bytes + at, (size_t)(n - at));
    at += (ssize_t)taken;
    while (!a->quit && input_next(&a->input, true, &ev)) app_event(a, &ev);
    if (!taken) a->input.n = 0; /* a sequence longer than any */
  }
  return true;
}

static void impatient_keys(struct app *a) {
  struct input_event ev;
  while (!a->quit && input_next(&a->input, false, &ev)) app_event(a, &ev);
}

static void resized(struct app *a) {
  int w, h;
  term_resized(&a->facts, &w, &h);
  canvas_resize(&a->canvas, w, h);
  a->redraw_all = true;
  app_changed(a);
}

static void take_signal(struct app *a, int number) {
  struct job_end end;
  switch (number) {
    case SIGWINCH:
      resized(a);
      break;
    case SIGCONT:
      term_retake();
      resized(a);
      break;
    case SIGTSTP:
      action_named("suspend")->run(a, NULL);
      break;
    case SIGCHLD:
      while (jobs_reap(&a->jobs, &end)) training_ended(a, &end);
      a->update_at = now_seconds();
      break;
    default: /* SIGHUP, SIGINT, SIGTERM: the interface goes, runs go on by themselves */
      a->quit = true;
      a->status = number == SIGHUP ? 0 : 128 + number;
      break;
  }
}

static void read_signals(struct app *a, int fd) {
  struct signalfd_siginfo info;
  while (read(fd, &info, sizeof info) == (ssize_t)sizeof info) take_signal(a, (int)info.ssi_signo);
}

static int open_signals(void) {
  static const int numbers[] = {SIGWINCH, SIGCONT, SIGTSTP, SIGCHLD, SIGHUP, SIGINT, SIGTERM};
  sigset_t set;
  sigemptyset(&set);
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) sigaddset(&set, numbers[i]);
  pthread_sigmask(SIG_BLOCK, &set, NULL);
  signal(SIGPIPE, SIG_IGN);
  return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

/* --- the loop ------------------------------------------------------------------------------------------------------------------------- */

static void update_runs(struct app *a, double now) {
  bool queue = a->queue.n && !a->queue_waits;
  a->update_at = runs_working(&a->runs) || a->jobs.n || queue ? now + look_time : 0;
  if (runs_update(&a->runs)) tell_screens(a);
  training_look(a);
  if (runs_working(&a->runs) || a->jobs.n) {
    app_changed(a); /* the time that is left */
    if (a->update_at <= now) a->update_at = now + look_time;
  }
}

static struct graphics graphics_of(const struct app *a) {
  const struct term_facts *f = &a->facts;
  return (struct graphics){.sixel = f->sixel && a->sixels,
                           .cell = {f->cell_w, f->cell_h},
                           .colours = f->registers,
                           .max_w = f->max_w,
                           .max_h = f->max_h,
                           .synchronized = f->sync,
                           .tmux = f->tmux};
}

static bool resting(const struct app *a) {
  return now_seconds() - a->moved_at >= rest_time;
}

void app_draw(struct app *a) {
  struct graphics g = graphics_of(a);
  album_begin_frame(a->album);
  chrome_draw(a);
  if (a->redraw_all) {
    flush_forget(&a->flush);
    frame_forget(&a->frame);
    clearok(curscr, TRUE);
  }
  flush_canvas(&a->flush, &a->canvas, &a->theme);
  const char *begin = frame_begin_update(&g);
  term_write(begin, strlen(begin));
  doupdate();
  a->pixels_due = !resting(a);
  frame_compose(&a->frame, &a->canvas, a->flush.changed, &g, a->sixels, &a->theme, !a->pixels_due);
  a->pumping = frame_pump(&a->frame, a->out) == FRAME_WAITS;
  a->redraw_all = a->dirty = false;
  a->drawn_at = now_seconds();
}

static void sooner(double *at, double other) {
  if (other > 0 && (*at <= 0 || other < *at)) *at = other;
}

/* Milliseconds that poll may wait; -1: for ever. */
static int patience(const struct app *a, double now) {
  double at = 0;
  if (a->dirty && !a->pumping) sooner(&at, a->drawn_at + frame_time);
  if (a->pixels_due) sooner(&at, a->moved_at + rest_time);
  sooner(&at, a->update_at);
  if (*a->message && a->message_until > now) sooner(&at, a->message_until);
  if (a->input.n) sooner(&at, now + escape_time);
  if (at <= 0) return -1;
  return at <= now ? 0 : (int)ceil((at - now) * 1000);
}

static void after_poll(struct app *a, double before) {
  double now = now_seconds();
  if (a->input.n && now - before >= escape_time) impatient_keys(a);
  if (a->update_at > 0 && now >= a->update_at) update_runs(a, now);
  if (*a->message && now >= a->message_until) {
    a->message[0] = 0;
    app_changed(a);
  }
  if (a->pixels_due && resting(a)) {
    a->pixels_due = false;
    app_changed(a);
  }
  if (a->dirty && !a->quit && !a->pumping && now - a->drawn_at >= frame_time) app_draw(a);
}

enum { WAIT_KEYS, WAIT_SIGNALS, WAIT_FILES, WAIT_PICTURES, WAIT_SIXELS, WAIT_OUT, WAITS };

static void open_polls(struct app *a, struct pollfd *p) {
  const char *name = ttyname(STDOUT_FILENO);
  a->out = name ? open(name, O_WRONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC) : -1;
  if (a->out < 0) a->out = dup(STDOUT_FILENO);
  const int fd[WAITS] = {STDIN_FILENO, open_signals(), a->runs.inotify, album_fd(a->album), a->sixels ? sixels_fd(a->sixels) : -1, -1};
  for (int i = 0; i < WAITS; i++) p[i] = (struct pollfd){.fd = fd[i], .events = i == WAIT_OUT ? POLLOUT : POLLIN};
}

static void take_polls(struct app *a, const struct pollfd *p) {
  if (p[WAIT_SIGNALS].revents & POLLIN) read_signals(a, p[WAIT_SIGNALS].fd);
  if (p[WAIT_FILES].revents & POLLIN) {
    runs_notice(&a->runs);
    sooner(&a->update_at, now_seconds() + settle_time);
  }
  if (p[WAIT_PICTURES].revents & POLLIN) album_take_event(a->album), app_changed(a);
  if (p[WAIT_SIXELS].revents & POLLIN) sixels_take_event(a->sixels), app_changed(a);
  if (p[WAIT_OUT].revents) a->pumping = frame_pump(&a->frame, a->out) == FRAME_WAITS;
  if (p[WAIT_KEYS].revents && !read_keys(a)) a->quit = true;
}

int app_loop(struct app *a) {
  struct pollfd p[WAITS];
  struct err ignored = {0};
  if (a->facts.sixel) a->sixels = sixels_new(SIXEL_CACHE, &ignored);
  open_polls(a, p);
  resized(a);
  a->update_at = now_seconds();
  while (!a->quit) {
    double before = now_seconds();
    p[WAIT_OUT].fd = a->pumping ? a->out : -1;
    int n = poll(p, WAITS, patience(a, before));
    if (n < 0 && errno != EINTR) break;
    if (n > 0) take_polls(a, p);
    after_poll(a, before);
  }
  if (p[WAIT_SIGNALS].fd >= 0) close(p[WAIT_SIGNALS].fd);
  close(a->out);
  return a->status;
}

/* --- beginning and end ------------------------------------------------------------------------------------------------------------------ */

/* On the run that was named, else on what is worth looking at first. */
static bool open_on(struct app *a, const char *attach, struct err *e) {
  int work = runs_of(&a->runs, NULL);
  a->screen = attach ? SCREEN_TRAIN : SCREEN_SUBJECTS;
  if (attach && !runs_attach(&a->runs, attach, e)) return false;
  const char *subject = attach ? a->runs.view.subject : work >= 0 ? a->runs.item[work].subject : "";
  if (store_find(&a->store, subject) < 0 && a->store.n) subject = a->store.subject[0].name;
  if (attach)
    text_put(a->subject, sizeof a->subject, "%s", subject);
  else if (a->store.n)
    app_choose_subject(a, subject);
  const struct run_item *at_work = runs_working(&a->runs); /* whoever has begun it, also of a subject that is not known here */
  if (!attach && at_work) runs_view(&a->runs, at_work->path);
  return true;
}

bool app_open(struct app *a, const char *attach, struct err *e) {
  struct err late = {0};
  config_read(&a->config, &late);
  if (!store_open(&a->store, embedded_files, e)) return false;
  if (!a->plain && !(a->album = album_new(e))) return false;
  runs_open(&a->runs, &a->config);
  runs_update(&a->runs);
  if (late.code) app_complain(a, "%s", late.text);
  if (!open_on(a, attach, e)) return false;
  if (screens[a->screen]->enter) screens[a->screen]->enter(a);
  training_ask_queue(a);
  return true;
}

void app_close(struct app *a) {
  jobs_close(&a->jobs);
  for (int i = 0; i < SCREEN_COUNT; i++) {
    if (a->state[i] && screens[i]->release) screens[i]->release(a);
    free(a->state[i]);
  }
  album_free(a->album);
  sixels_free(a->sixels);
  frame_release(&a->frame);
  runs_close(&a->runs);
  store_close(&a->store);
  canvas_release(&a->canvas);
  flush_release(&a->flush);
}
