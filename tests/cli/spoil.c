/* Makes files that are wrong in one way, for bad_input.sh.
 * usage: spoil safetensors IN OUT missing|shape|dtype|overlap|beyond|nan TENSOR
 *        spoil png WIDTH HEIGHT GREY OUT        a picture of one grey
 *        spoil bomb OUT                         the header of a PNG of 2147483647 x 2147483647, and nothing more */
#include <cjson/cJSON.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "formats/image.h"
#include "formats/source.h"

static int say(const struct err *e) {
  fprintf(stderr, "spoil: %s\n", e->text);
  return 1;
}

static void set_number(cJSON *list, int i, double v) {
  cJSON_SetNumberHelper(cJSON_GetArrayItem(list, i), v);
}

/* Changes the header (root), or for nan the numbers behind it. False: no such change or tensor. */
static int change(cJSON *root, unsigned char *data, size_t size, const char *what, const char *name) {
  cJSON *t = cJSON_GetObjectItemCaseSensitive(root, name), *shape = cJSON_GetObjectItemCaseSensitive(t, "shape");
  cJSON *offsets = cJSON_GetObjectItemCaseSensitive(t, "data_offsets");
  if (t == NULL) return 0;
  double from = cJSON_GetArrayItem(offsets, 0)->valuedouble, to = cJSON_GetArrayItem(offsets, 1)->valuedouble;
  const unsigned char not_a_number[] = {0xff, 0xff}; /* the upper half of any floating type */
  if (strcmp(what, "missing") == 0) {                /* its bytes stay, under another name */
    cJSON *copy = cJSON_Duplicate(t, 1);
    cJSON_DeleteItemFromObjectCaseSensitive(root, name);
    return cJSON_AddItemToObject(root, "nobody.asked.for.it", copy);
  }
  if (strcmp(what, "shape") == 0) return cJSON_InsertItemInArray(shape, 0, cJSON_CreateNumber(1)), 1;
  if (strcmp(what, "dtype") == 0) { /* whole numbers of the same size */
    bool half = strstr(cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(t, "dtype")), "16") != NULL;
    return cJSON_ReplaceItemInObjectCaseSensitive(t, "dtype", cJSON_CreateString(half ? "I16" : "I32"));
  }
  if (strcmp(what, "overlap") == 0) return from >= 4 && (set_number(offsets, 0, from - 4), set_number(offsets, 1, to - 4), 1);
  if (strcmp(what, "beyond") == 0) return set_number(offsets, 0, (double)size), set_number(offsets, 1, (double)size + to - from), 1;
  if (strcmp(what, "nan") == 0) return memcpy(data + (size_t)to - sizeof not_a_number, &not_a_number, sizeof not_a_number) != NULL;
  return 0;
}

static int safetensors(char **argument) {
  struct blob b;
  struct err e = {0};
  uint64_t n = 0;
  if (!blob_map(argument[0], &b, &e)) return say(&e);
  memcpy(&n, b.data, sizeof n);
  size_t size = b.size - 8 - (size_t)n;
  unsigned char *data = malloc(size);
  cJSON *root = cJSON_ParseWithLength((const char *)b.data + 8, (size_t)n);
  if (data == NULL || root == NULL) return 1;
  memcpy(data, b.data + 8 + n, size);
  blob_close(&b);
  if (!change(root, data, size, argument[2], argument[3])) return fprintf(stderr, "spoil: cannot be done\n"), 1;
  char *header = cJSON_PrintUnformatted(root);
  FILE *f = fopen(argument[1], "wb");
  if (header == NULL || f == NULL) return 1;
  n = strlen(header);
  int ok = fwrite(&n, sizeof n, 1, f) == 1 && fwrite(header, n, 1, f) == 1 && fwrite(data, size, 1, f) == 1;
  return fclose(f) != 0 || !ok;
}

static int png(char **argument) {
  struct image im;
  struct err e = {0};
  if (!image_new(&im, atoi(argument[0]), atoi(argument[1]), 1)) return 1;
  memset(im.px, atoi(argument[2]), (size_t)im.w * (size_t)im.h);
  return image_write_png(argument[3], &im, NULL, 0, &e) ? 0 : say(&e);
}

static void put32(unsigned char *at, uint32_t v) {
  for (int i = 0; i < 4; i++) at[i] = (unsigned char)(v >> (24 - 8 * i));
}

static int bomb(char **argument) {
  unsigned char b[33] = "\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR";
  put32(b + 16, INT32_MAX);
  put32(b + 20, INT32_MAX);
  memcpy(b + 24, "\x08\x02\0\0", 5); /* 8 bits, RGB */
  put32(b + 29, (uint32_t)crc32(crc32(0, NULL, 0), b + 12, 17));
  struct err e = {0};
  return write_file(argument[0], b, sizeof b, &e) ? 0 : say(&e);
}

int main(int argc, char **argv) {
  if (argc == 6 && strcmp(argv[1], "safetensors") == 0) return safetensors(argv + 2);
  if (argc == 6 && strcmp(argv[1], "png") == 0) return png(argv + 2);
  if (argc == 3 && strcmp(argv[1], "bomb") == 0) return bomb(argv + 2);
  fprintf(stderr, "spoil: wrong usage, see the top of spoil.c\n");
  return 2;
}
