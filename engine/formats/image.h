/* Pictures: reading PNG, JPEG and WebP into 8-bit RGB, masks into 8-bit grey, resizing as Pillow does, writing PNG. */
#ifndef PDMBOOTH_FORMATS_IMAGE_H
#define PDMBOOTH_FORMATS_IMAGE_H

#include <stdint.h>

#include "formats/source.h"

/* h * w * channels bytes, rows from the top, owned: image_release. */
struct image {
  int w, h, channels; /* 3: RGB, 1: grey */
  unsigned char *px;
};

/* By content, not by name: EXIF orientation applied (JPEG, PNG eXIf, WebP), alpha dropped as PIL's
   convert("RGB") does, grey and palette expanded, 16 bits to their upper 8 (colours as PIL; PIL clips 16-bit grey to white, which
   is not followed), CMYK and YCCK JPEG to RGB, taken as inverted like PIL does. An animated WebP is refused.
   ERR_INPUT names the file and what is wrong (not a picture, truncated, too large: over 200 megapixels). */
bool image_read(const char *path, struct image *out, struct err *e);
bool image_decode(const struct blob *b, const char *name, struct image *out, struct err *e);
/* A mask: grey, one channel (colour: luminance; a picture with alpha: the alpha channel where it is not all opaque). */
bool image_decode_mask(const struct blob *b, const char *name, struct image *out, struct err *e);
bool image_read_mask(const char *path, struct image *out, struct err *e);
/* Size as image_read gives it, and whether EXIF turns or mirrors it. Decodes all of it: what this takes, image_read does. */
bool image_look(const char *path, int *w, int *h, bool *turned, struct err *e);
void image_release(struct image *im);
bool image_new(struct image *im, int w, int h, int channels); /* zeroed; false: out of memory */

/* PIL.Image.resize with reducing (antialias) filters, fixed-point arithmetic equal to Pillow's: bit for bit on 8-bit pictures. */
enum image_filter { FILTER_BILINEAR, FILTER_BICUBIC, FILTER_NEAREST };
bool image_resize(const struct image *in, int w, int h, enum image_filter f, struct image *out, struct err *e);
/* The same in place; nothing is done where it has that size. On failure *im stays as it was. */
bool image_resize_to(struct image *im, int w, int h, enum image_filter f, struct err *e);
/* A size at most `side` wide and high, with the same aspect (rounded down, 1 at the least). */
void image_fit(int side, int *w, int *h);
/* Short side to size, long side int(size * long / short): torchvision.transforms.Resize(size) on a PIL picture. */
void image_short_side(int w, int h, int size, int *out_w, int *out_h);
bool image_crop(const struct image *in, int x, int y, int w, int h, struct image *out, struct err *e);
void image_flip(struct image *im); /* left to right, in place */

/* text: pairs for tEXt/iTXt chunks (UTF-8: iTXt), n_text of them. Temporary name, sync, rename. */
struct png_text {
  const char *key, *value;
};
bool image_write_png(const char *path, const struct image *im, const struct png_text *text, int n_text, struct err *e);
bool image_encode_png(const struct image *im, unsigned char **png, size_t *n,
                      struct err *e); /* *png [*n], owned by the caller; NULL on failure */
/* Value of a text chunk into out; false when absent or not a PNG. */
bool image_png_text(const char *path, const char *key, char *out, size_t n);
/* i-th text chunk of a PNG that lies in memory: keyword (NUL-terminated) and value [*n]; false at the end. */
bool image_png_text_at(const struct blob *b, int i, const char **key, const char **value, size_t *n);

#endif
