/* Devices that train at the same time, one subject on each: "cuda:0,cuda:1". */
#ifndef PDMBOOTH_UI_DEVICES_H
#define PDMBOOTH_UI_DEVICES_H

#include "base/err.h"

enum { MAX_DEVICES = 16, DEVICE_NAME = 16 };

struct device_list {
  char name[MAX_DEVICES][DEVICE_NAME];
  int n;
};

/* where: what the text is the value of, for the message. ERR_USAGE: a device that no build has, one that is named twice, or too many. */
bool device_list_read(struct device_list *l, const char *text, const char *where, struct err *e);

#endif
