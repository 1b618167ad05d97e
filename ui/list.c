#include "ui/list.h"

void list_clamp(struct list *l, int n, int shown) {
  if (l->selected >= n) l->selected = n - 1;
  if (l->selected < 0) l->selected = 0;
  if (l->first > l->selected) l->first = l->selected;
  if (shown > 0 && l->selected >= l->first + shown) l->first = l->selected - shown + 1;
  if (l->first + shown > n) l->first = n > shown ? n - shown : 0;
}

int list_row_at(const struct list *l, int y, int n) {
  return y >= 0 && l->first + y < n ? l->first + y : -1;
}
