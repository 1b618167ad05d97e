/* What the terminal on standard input and output can show, as far as it tells. */
#ifndef PDMBOOTH_UI_TERMINAL_H
#define PDMBOOTH_UI_TERMINAL_H

#include <stdbool.h>

struct terminal {
  bool there;        /* standard input and output are one */
  bool answered;     /* it said what it is (primary device attributes) */
  bool sixel;        /* and that it draws sixels */
  int columns, rows; /* 0: not known */
  long colours;      /* by TERM and COLORTERM; 0: none */
  char name[64];     /* TERM */
};

/* Asks the terminal and waits at most 0.3 s for its answer; its settings are given back. Where input or output is none, only the environment is looked at. */
void terminal_look(struct terminal *t);

#endif
