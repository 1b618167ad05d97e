/* What the decoders of the picture formats share. Inside engine/formats/image*.c only. */
#ifndef PDMBOOTH_FORMATS_IMAGE_CODEC_H
#define PDMBOOTH_FORMATS_IMAGE_CODEC_H

#include "formats/image.h"

enum { IMAGE_MAX_PIXELS = 200000000 };

/* A picture as stored: 3 channels, or 4 where alpha was asked for and the file has it; orientation is EXIF's 1..8. */
struct decoded {
  struct image im;
  int orientation;
};

bool image_decode_png(const struct blob *b, const char *name, bool alpha, struct decoded *out, struct err *e);
bool image_decode_jpeg(const struct blob *b, const char *name, struct decoded *out, struct err *e);
bool image_decode_webp(const struct blob *b, const char *name, bool alpha, struct decoded *out, struct err *e);

/* Checks the size and allocates out->im. */
bool decoded_new(struct decoded *out, const char *name, int64_t w, int64_t h, int channels, struct err *e);
/* Orientation of a TIFF block (with or without "Exif\0\0" before it); 1 where it says nothing sensible. */
int exif_orientation(const unsigned char *data, size_t n);

#endif
