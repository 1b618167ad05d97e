/* A list with one selected row that scrolls: shared by the screens. */
#ifndef PDMBOOTH_UI_LIST_H
#define PDMBOOTH_UI_LIST_H

#include <stdbool.h>

struct list {
  int selected, first; /* first: row at the top */
};

/* Keeps selected within n rows and visible among `shown`. */
void list_clamp(struct list *l, int n, int shown);
/* Row that was clicked, y rows below the top; -1: none. */
int list_row_at(const struct list *l, int y, int n);

#endif
