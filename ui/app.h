/* The interface's state, and what its screens may ask of it. One thread reads keys, events and files and draws; nothing else touches any of this. */
#ifndef PDMBOOTH_UI_APP_H
#define PDMBOOTH_UI_APP_H

#include "ui/album.h"
#include "ui/canvas.h"
#include "ui/flush.h"
#include "ui/outlook.h"
#include "ui/frame.h"
#include "ui/input.h"
#include "ui/jobs.h"
#include "ui/overlay.h"
#include "ui/paths.h"
#include "ui/queue.h"
#include "ui/runs.h"
#include "ui/screen.h"
#include "ui/store.h"
#include "ui/term.h"
#include "ui/theme.h"

struct app {
  bool plain; /* no terminal control: lines */
  struct config config;
  struct store store;
  struct runs runs;
  struct jobs jobs;
  struct outlook forecast; /* of the profile that is being changed */
  struct term_facts facts;
  struct canvas canvas;
  struct theme theme;
  struct flush flush;
  struct frame frame;    /* pixels over the cells */
  struct sixels *sixels; /* NULL: no pixels on this terminal */
  struct album *album;
  double moved_at; /* when the last key came: pixels wait until it rests */
  struct input input;
  struct overlay overlay;
  int screen, screen_before, screen_next; /* of enum screen_id; next: where leave() goes to */
  void *state[SCREEN_COUNT];              /* each screen's own, made when it is first entered; freed by free() after its release */
  char subject[128];                      /* the one that the screens are about; "" none */
  struct queue queue;
  char awaited[128]; /* a subject whose training begins in a moment, to be looked at then; "" none */
  double awaited_until;
  bool queue_waits; /* the user has been asked whether the queue is to go on */
  char message[512];
  enum style message_style;
  double message_until;
  bool dirty, redraw_all, quit, quitting, drop_changes; /* quitting: as soon as the run under way has saved */
  bool pixels_due, pumping;                             /* the frame's pixels wait for the rest of the user; bytes wait for the terminal */
  int out;                                              /* the terminal, not blocking */
  double update_at;                                     /* when to look at the runs again, 0: not */
  double drawn_at;
  char leaving[3500]; /* quitting: the run */
  char parting[600];  /* printed after the terminal is given back */
  int status;         /* exit status */
};

/* --- for screens ------------------------------------------------------------------------------------------------------------ */

/* A line at the bottom for some seconds; the second one in the colours of an error. */
void app_say(struct app *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void app_complain(struct app *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void app_go(struct app *a, int screen);
void app_changed(struct app *a); /* what is shown is to be drawn again */
/* The subject that the screens are about; NULL: none. */
struct subject *app_subject(struct app *a);
void app_choose_subject(struct app *a, const char *name); /* the run that is looked at follows */

/* --- training (ui/training.c) --------------------------------------------------------------------------------------------------- */

void training_start(struct app *a, const char *subject); /* now, or as the next in the queue where a run is under way */
void training_resume(struct app *a, const char *run);
/* Asks the process at work on the run that is looked at for something, as `pdmbooth-tui control` does (src/requests.h); false: there is none, which is said. */
bool training_request(struct app *a, const char *request);
void training_ended(struct app *a, const struct job_end *end); /* a job of ours is over */
void training_quit(struct app *a);                             /* asks what to do with a run under way, then leaves */
void training_look(struct app *a);                             /* the runs have been read again: goes on with the queue, or leaves */
void training_ask_queue(struct app *a);                        /* on opening: whether a queue that was left is to go on */

/* --- what every frame has (ui/chrome.c) ----------------------------------------------------------------------------------------------------------- */

void chrome_draw(struct app *a);               /* the whole canvas */
struct rect chrome_body(const struct app *a);  /* what a screen may draw in */
int chrome_tab_at(const struct app *a, int x); /* the screen whose name stands at column x of the first row; -1: none */

/* --- the loop (ui/loop.c) ---------------------------------------------------------------------------------------------------------- */

bool app_open(struct app *a, const char *attach, struct err *e); /* attach: a run directory, or NULL */
void app_close(struct app *a);
int app_loop(struct app *a);
void app_event(struct app *a, const struct input_event *ev); /* one key, click or paste */
void app_draw(struct app *a);                                /* a frame, to the terminal */

#endif
