#include "tfevents.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* --- bytes ----------------------------------------------------------------------------------------------------------------- */

void tf_release(struct tf_bytes *b) {
  free(b->p);
  *b = (struct tf_bytes){0};
}

static void put(struct tf_bytes *b, const void *data, size_t n) {
  if (b->failed) return;
  if (b->cap - b->n < n) {
    size_t cap = (b->n + n) * 2 + 256;
    unsigned char *more = realloc(b->p, cap);
    if (!more) {
      b->failed = true;
      return;
    }
    b->p = more;
    b->cap = cap;
  }
  if (n) memcpy(b->p + b->n, data, n);
  b->n += n;
}

static void put_little(struct tf_bytes *b, uint64_t v, int bytes) {
  unsigned char out[8];
  for (int i = 0; i < bytes; i++) out[i] = (unsigned char)(v >> (8 * i));
  put(b, out, (size_t)bytes);
}

/* --- CRC and framing --------------------------------------------------------------------------------------------------------- */

/* Four bits at a time: sixteen entries, which follow from the polynomial 0x1EDC6F41, reflected. */
uint32_t crc32c(const void *data, size_t n) {
  const unsigned char *p = data;
  uint32_t table[16], crc = ~0u;
  for (uint32_t i = 0; i < 16; i++) {
    uint32_t v = i;
    for (int bit = 0; bit < 4; bit++) v = v & 1 ? v >> 1 ^ 0x82F63B78u : v >> 1;
    table[i] = v;
  }
  for (size_t i = 0; i < n; i++) {
    crc ^= p[i];
    crc = crc >> 4 ^ table[crc & 15];
    crc = crc >> 4 ^ table[crc & 15];
  }
  return ~crc;
}

uint32_t crc32c_masked(const void *data, size_t n) {
  uint32_t crc = crc32c(data, n);
  return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

/* Length, CRC of the length, the data, CRC of the data; all little-endian. */
static void put_record(struct tf_bytes *b, struct tf_bytes *event) {
  unsigned char length[8];
  for (int i = 0; i < 8; i++) length[i] = (unsigned char)((uint64_t)event->n >> (8 * i));
  b->failed |= event->failed;
  put(b, length, 8);
  put_little(b, crc32c_masked(length, 8), 4);
  put(b, event->p, event->n);
  put_little(b, crc32c_masked(event->p, event->n), 4);
  tf_release(event);
}

/* --- protocol buffers -------------------------------------------------------------------------------------------------------- */

enum wire { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

static void put_varint(struct tf_bytes *b, uint64_t v) {
  for (; v >= 0x80; v >>= 7) put_little(b, v | 0x80, 1);
  put_little(b, v, 1);
}

static void put_key(struct tf_bytes *b, int field, enum wire wire) {
  put_varint(b, (uint64_t)field << 3 | (uint64_t)wire);
}

static void put_int(struct tf_bytes *b, int field, int64_t v) {
  put_key(b, field, WIRE_VARINT);
  put_varint(b, (uint64_t)v);
}

static void put_double(struct tf_bytes *b, int field, double v) {
  uint64_t bits;
  memcpy(&bits, &v, sizeof bits);
  put_key(b, field, WIRE_64);
  put_little(b, bits, 8);
}

static void put_float(struct tf_bytes *b, int field, float v) {
  uint32_t bits;
  memcpy(&bits, &v, sizeof bits);
  put_key(b, field, WIRE_32);
  put_little(b, bits, 4);
}

static void put_bytes(struct tf_bytes *b, int field, const void *data, size_t n) {
  put_key(b, field, WIRE_BYTES);
  put_varint(b, n);
  put(b, data, n);
}

/* A message inside a message; its bytes are released. */
static void put_message(struct tf_bytes *b, int field, struct tf_bytes *inner) {
  b->failed |= inner->failed;
  put_bytes(b, field, inner->p, inner->n);
  tf_release(inner);
}

/* --- events ------------------------------------------------------------------------------------------------------------------ */

/* Numbers of the fields in the .proto files. */
enum { EVENT_WALL_TIME = 1, EVENT_STEP, EVENT_FILE_VERSION, EVENT_SUMMARY = 5, EVENT_SESSION_LOG = 7 };
enum { SESSION_STATUS = 1, SESSION_STARTED = 1 };
enum { SUMMARY_VALUE = 1, VALUE_TAG = 1, VALUE_SIMPLE = 2, VALUE_IMAGE = 4 };
enum { IMAGE_HEIGHT = 1, IMAGE_WIDTH, IMAGE_COLORSPACE, IMAGE_ENCODED, COLORSPACE_RGB = 3 };

void tf_version(struct tf_bytes *b, double wall) {
  static const char version[] = "brain.Event:2";
  struct tf_bytes event = {0};
  put_double(&event, EVENT_WALL_TIME, wall);
  put_bytes(&event, EVENT_FILE_VERSION, version, sizeof version - 1);
  put_record(b, &event);
}

void tf_session_start(struct tf_bytes *b, double wall) {
  struct tf_bytes event = {0}, log = {0};
  put_int(&log, SESSION_STATUS, SESSION_STARTED);
  put_double(&event, EVENT_WALL_TIME, wall);
  put_message(&event, EVENT_SESSION_LOG, &log);
  put_record(b, &event);
}

static void put_summary(struct tf_bytes *b, double wall, int step, struct tf_bytes *summary) {
  struct tf_bytes event = {0};
  put_double(&event, EVENT_WALL_TIME, wall);
  put_int(&event, EVENT_STEP, step);
  put_message(&event, EVENT_SUMMARY, summary);
  put_record(b, &event);
}

static void put_scalar(struct tf_bytes *summary, const char *tag, double v) {
  struct tf_bytes value = {0};
  if (!isfinite(v)) return;
  put_bytes(&value, VALUE_TAG, tag, strlen(tag));
  put_float(&value, VALUE_SIMPLE, (float)v);
  put_message(summary, SUMMARY_VALUE, &value);
}

void tf_scalars(struct tf_bytes *b, double wall, const struct metrics *m) {
  struct tf_bytes summary = {0};
  put_scalar(&summary, "loss/instance", m->instance);
  put_scalar(&summary, "loss/prior", m->prior);
  put_scalar(&summary, "loss/pdm", m->pdm);
  put_scalar(&summary, "loss/total", m->total);
  put_scalar(&summary, "loss/probe", m->probe);
  put_scalar(&summary, "train/lr", m->lr);
  put_scalar(&summary, "train/grad_norm", m->grad_norm);
  put_scalar(&summary, "train/seconds", m->seconds);
  put_summary(b, wall, m->step, &summary);
}

/* Big-endian, as PNG has it. */
static int64_t png_number(const unsigned char *p) {
  return (int64_t)p[0] << 24 | (int64_t)p[1] << 16 | (int64_t)p[2] << 8 | p[3];
}

void tf_picture(struct tf_bytes *b, double wall, int step, const char *tag, const unsigned char *png, size_t n) {
  enum { PNG_WIDTH = 16, PNG_HEIGHT = 20, PNG_LEAST = 24 }; /* signature, then the header chunk */
  struct tf_bytes image = {0}, value = {0}, summary = {0};
  if (n < PNG_LEAST) return;
  put_int(&image, IMAGE_HEIGHT, png_number(png + PNG_HEIGHT));
  put_int(&image, IMAGE_WIDTH, png_number(png + PNG_WIDTH));
  put_int(&image, IMAGE_COLORSPACE, COLORSPACE_RGB);
  put_bytes(&image, IMAGE_ENCODED, png, n);
  put_bytes(&value, VALUE_TAG, tag, strlen(tag));
  put_message(&value, VALUE_IMAGE, &image);
  put_message(&summary, SUMMARY_VALUE, &value);
  put_summary(b, wall, step, &summary);
}
