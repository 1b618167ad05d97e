/* Adding to cJSON's lists and objects so that nothing is lost when memory runs out: cJSON leaves with the caller what it could not add. */
#ifndef PDMBOOTH_FORMATS_JSON_ADD_H
#define PDMBOOTH_FORMATS_JSON_ADD_H

#include <cjson/cJSON.h>
#include <stdbool.h>

/* item belongs to the list (object) afterwards, or is freed and the result false; either may be NULL. */
static inline bool json_append(cJSON *list, cJSON *item) {
  if (item != NULL && cJSON_AddItemToArray(list, item)) return true;
  cJSON_Delete(item);
  return false;
}

static inline bool json_put(cJSON *object, const char *key, cJSON *item) {
  if (item != NULL && cJSON_AddItemToObject(object, key, item)) return true;
  cJSON_Delete(item);
  return false;
}

#endif
