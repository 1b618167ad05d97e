#include "ui/devices.h"

#include <string.h>

#include "pdmbooth.h"
#include "text.h"

static bool is_among(const struct device_list *l, const char *name) {
  for (int i = 0; i < l->n; i++) {
    if (!strcmp(l->name[i], name)) return true;
  }
  return false;
}

bool device_list_read(struct device_list *l, const char *text, const char *where, struct err *e) {
  char name[DEVICE_NAME];
  l->n = 0;
  for (const char *p = text;; p++) {
    int n = (int)strcspn(p, ",");
    if (l->n == MAX_DEVICES || !text_put(name, sizeof name, "%.*s", n, p) || !engine_device_is_known(name))
      return err_set(e, ERR_USAGE, "%s %s is not allowed: it must be devices with commas between them, such as cuda:0,cuda:1", where, text);
    if (is_among(l, name)) return err_set(e, ERR_USAGE, "%s %s names %s twice", where, text, name);
    text_put(l->name[l->n++], DEVICE_NAME, "%s", name);
    p += n;
    if (!*p) return true;
  }
}
