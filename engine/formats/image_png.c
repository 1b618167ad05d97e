#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <png.h>

#include "formats/image_codec.h"
#include "formats/output.h"

/* libpng reports through callbacks that must not return. */
struct job {
  png_structp png;
  png_infop info;
  jmp_buf back;
  char message[128];
  const struct blob *blob; /* reading */
  size_t at;
  struct output *output; /* writing */
  struct err *e;
  unsigned char **row; /* [h] pointers into the picture */
};

static void on_error(png_structp png, png_const_charp text) {
  struct job *j = png_get_error_ptr(png);
  snprintf(j->message, sizeof j->message, "%s", text);
  longjmp(j->back, 1);
}

static void on_warning(png_structp png, png_const_charp text) {
  (void)png;
  (void)text;
}

static void read_bytes(png_structp png, png_bytep to, size_t n) {
  struct job *j = png_get_io_ptr(png);
  if (n > j->blob->size - j->at) png_error(png, "truncated");
  memcpy(to, j->blob->data + j->at, n);
  j->at += n;
}

static void write_bytes(png_structp png, png_bytep from, size_t n) {
  struct job *j = png_get_io_ptr(png);
  if (!output_write(j->output, from, n, j->e)) png_error(png, "cannot write");
}

static void flush(png_structp png) {
  (void)png;
}

static bool point_rows(struct job *j, const struct image *im) {
  j->row = malloc((size_t)im->h * sizeof *j->row);
  for (int y = 0; y < im->h && j->row != NULL; y++) j->row[y] = im->px + (size_t)y * (size_t)im->w * (size_t)im->channels;
  return j->row != NULL;
}

/* Everything to 8-bit RGB or RGBA, without gamma. 16 bits keep their upper half, grey ones too (where PIL turns all but black white). */
static int set_transforms(struct job *j, bool alpha) {
  int type = png_get_color_type(j->png, j->info);
  bool has_alpha = (type & PNG_COLOR_MASK_ALPHA) != 0 || png_get_valid(j->png, j->info, PNG_INFO_tRNS) != 0;
  png_set_strip_16(j->png);
  png_set_expand(j->png);
  png_set_gray_to_rgb(j->png);
  if (has_alpha && !alpha) png_set_strip_alpha(j->png);
  png_set_interlace_handling(j->png);
  png_read_update_info(j->png, j->info);
  return has_alpha && alpha ? 4 : 3;
}

static bool read_picture(struct job *j, const char *name, bool alpha, struct decoded *out, struct err *e) {
  png_bytep exif = NULL;
  png_uint_32 exif_n = 0;
  png_read_info(j->png, j->info);
  int64_t w = png_get_image_width(j->png, j->info), h = png_get_image_height(j->png, j->info);
  int channels = set_transforms(j, alpha);
  if (!decoded_new(out, name, w, h, channels, e)) return false;
  if (png_get_rowbytes(j->png, j->info) != (size_t)w * (size_t)channels) png_error(j->png, "unexpected row size");
  if (!point_rows(j, &out->im)) return err_set(e, ERR_FIT, "%s: out of memory", name);
  png_read_image(j->png, j->row);
  png_read_end(j->png, j->info);
  if (png_get_eXIf_1(j->png, j->info, &exif_n, &exif) != 0) out->orientation = exif_orientation(exif, exif_n);
  return true;
}

static bool decode(struct job *j, const char *name, bool alpha, struct decoded *out, struct err *e) {
  if (setjmp(j->back) != 0) return err_set(e, ERR_INPUT, "%s: cannot decode the PNG: %s", name, j->message);
  j->png = png_create_read_struct(PNG_LIBPNG_VER_STRING, j, on_error, on_warning);
  j->info = j->png != NULL ? png_create_info_struct(j->png) : NULL;
  if (j->info == NULL) return err_set(e, ERR_FIT, "%s: out of memory", name);
  png_set_read_fn(j->png, j, read_bytes);
  png_set_user_limits(j->png, IMAGE_MAX_PIXELS, IMAGE_MAX_PIXELS);
  return read_picture(j, name, alpha, out, e);
}

bool image_decode_png(const struct blob *b, const char *name, bool alpha, struct decoded *out, struct err *e) {
  struct job *j = calloc(1, sizeof *j);
  if (j == NULL) return err_set(e, ERR_FIT, "%s: out of memory", name);
  j->blob = b;
  bool good = decode(j, name, alpha, out, e);
  png_destroy_read_struct(&j->png, &j->info, NULL);
  free(j->row);
  free(j);
  return good;
}

static bool is_ascii(const char *text) {
  for (; *text != 0; text++)
    if ((unsigned char)*text >= 0x80) return false;
  return true;
}

/* One pair at a time: libpng copies it. tEXt is Latin-1, so anything beyond ASCII goes as iTXt. */
static void set_text(struct job *j, const struct png_text *text) {
  png_text t = {0};
  t.compression = is_ascii(text->value) ? PNG_TEXT_COMPRESSION_NONE : PNG_ITXT_COMPRESSION_NONE;
  t.key = (char *)(uintptr_t)text->key; /* libpng only reads it */
  t.text = (char *)(uintptr_t)text->value;
  t.text_length = strlen(text->value);
  png_set_text(j->png, j->info, &t, 1);
}

static bool write_picture(struct job *j, const char *path, const struct image *im, const struct png_text *text, int n_text) {
  if (setjmp(j->back) != 0) return err_set(j->e, ERR_FAILED, "%s: cannot write the PNG: %s", path, j->message);
  j->png = png_create_write_struct(PNG_LIBPNG_VER_STRING, j, on_error, on_warning);
  j->info = j->png != NULL ? png_create_info_struct(j->png) : NULL;
  if (j->info == NULL || !point_rows(j, im)) return err_set(j->e, ERR_FIT, "%s: out of memory", path);
  png_set_write_fn(j->png, j, write_bytes, flush);
  png_set_IHDR(j->png, j->info, (png_uint_32)im->w, (png_uint_32)im->h, 8, im->channels == 1 ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB,
               PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  for (int i = 0; i < n_text; i++) set_text(j, &text[i]);
  png_write_info(j->png, j->info);
  png_write_image(j->png, j->row);
  png_write_end(j->png, j->info);
  return true;
}

bool image_write_png(const char *path, const struct image *im, const struct png_text *text, int n_text, struct err *e) {
  struct output o;
  struct job *j = calloc(1, sizeof *j);
  if (j == NULL) return err_set(e, ERR_FIT, "%s: out of memory", path);
  bool good = output_open(&o, path, e);
  if (good) {
    j->output = &o;
    j->e = e;
    good = output_close(&o, write_picture(j, path, im, text, n_text), e);
  }
  png_destroy_write_struct(&j->png, &j->info);
  free(j->row);
  free(j);
  return good;
}

bool image_encode_png(const struct image *im, unsigned char **png, size_t *n, struct err *e) {
  static const char name[] = "a picture in memory";
  char *bytes = NULL;
  struct output o = {.file = open_memstream(&bytes, n)};
  struct job *j = calloc(1, sizeof *j);
  bool good = o.file != NULL && j != NULL;
  if (!good) err_set(e, ERR_FIT, "%s: out of memory", name);
  if (good) {
    j->output = &o;
    j->e = e;
    good = write_picture(j, name, im, NULL, 0);
    png_destroy_write_struct(&j->png, &j->info);
    free(j->row);
  }
  if (o.file != NULL && fclose(o.file) != 0) good = err_set(e, ERR_FIT, "%s: out of memory", name);
  free(j);
  if (!good) free(bytes);
  *png = good ? (unsigned char *)bytes : NULL;
  return good;
}

static size_t big_endian(const unsigned char *at) {
  return (size_t)at[0] << 24 | (size_t)at[1] << 16 | (size_t)at[2] << 8 | at[3];
}

/* Where the text of a tEXt or uncompressed iTXt chunk begins, n where it has none. data: the chunk behind its keyword and NUL. */
static size_t text_start(const unsigned char *type, const unsigned char *data, size_t n) {
  if (memcmp(type, "tEXt", 4) == 0) return 0;
  if (memcmp(type, "iTXt", 4) != 0 || n < 2 || data[0] != 0) return n + 1;
  size_t at = 2;
  for (int skip = 0; skip < 2; skip++) { /* language, translated keyword */
    const unsigned char *end = at < n ? memchr(data + at, 0, n - at) : NULL;
    if (end == NULL) return n + 1;
    at = (size_t)(end - data) + 1;
  }
  return at;
}

static bool find_text(const struct blob *b, const char *key, char *out, size_t size) {
  size_t key_n = strlen(key) + 1;
  for (size_t at = 8; at + 12 <= b->size;) {
    const unsigned char *type = b->data + at + 4, *data = type + 4;
    size_t n = big_endian(b->data + at);
    if (n > b->size - at - 12) break;
    if (n >= key_n && memcmp(data, key, key_n) == 0) {
      size_t left = n - key_n, start = text_start(type, data + key_n, left);
      if (start <= left) return snprintf(out, size, "%.*s", (int)(left - start), (const char *)data + key_n + start) >= 0;
    }
    at += 12 + n;
  }
  return false;
}

bool image_png_text_at(const struct blob *b, int i, const char **key, const char **value, size_t *n) {
  for (size_t at = 8; at + 12 <= b->size;) {
    const unsigned char *type = b->data + at + 4, *data = type + 4;
    size_t size = big_endian(b->data + at);
    if (size > b->size - at - 12) break;
    const unsigned char *nul = memchr(data, 0, size);
    bool text = nul != NULL && (memcmp(type, "tEXt", 4) == 0 || memcmp(type, "iTXt", 4) == 0);
    size_t left = text ? size - (size_t)(nul + 1 - data) : 0, start = text ? text_start(type, nul + 1, left) : left + 1;
    if (text && start <= left && i-- == 0) {
      *key = (const char *)data;
      *value = (const char *)nul + 1 + start;
      *n = left - start;
      return true;
    }
    at += 12 + size;
  }
  return false;
}

bool image_png_text(const char *path, const char *key, char *out, size_t n) {
  struct blob b;
  if (!blob_map(path, &b, NULL)) return false;
  bool found = b.size >= 8 && memcmp(b.data, "\x89PNG\r\n\x1a\n", 8) == 0 && find_text(&b, key, out, n);
  blob_close(&b);
  return found;
}
