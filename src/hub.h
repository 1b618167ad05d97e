/* Where a base model lies on this machine. */
#ifndef PDMBOOTH_SRC_HUB_H
#define PDMBOOTH_SRC_HUB_H

#include "base/err.h"
#include "text.h"

/* value: "embedded", a directory (relative to base, "~/" allowed) or a hub name "org/name", which is looked up in the local Hugging Face
   cache (HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME, ~/.cache). Returns the directory or "embedded", owned by s; NULL and *e (ERR_INPUT) with a
   sentence saying where was looked. Nothing is ever downloaded. */
const char *model_resolve(const char *value, const char *base, struct strings *s, struct err *e);

/* path made absolute against base; "~/" expanded; "embedded:..." and "" stay. NULL and *e when memory ends. */
const char *path_resolve(const char *path, const char *base, struct strings *s, struct err *e);

/* The names ("org/name") of the models that the local Hugging Face cache holds, in the order of strcmp, [*n], owned by s except for the array, which the
   caller frees; whether each can be used, model_resolve and the engine tell. cache: where that is. NULL: out of memory. */
const char **hub_list(struct strings *s, char *cache, size_t size, int *n);

#endif
