#include <string.h>

#include <webp/decode.h>

#include "formats/image_codec.h"

static size_t read_size(const unsigned char *at) {
  return (size_t)at[0] | (size_t)at[1] << 8 | (size_t)at[2] << 16 | (size_t)at[3] << 24;
}

/* Walks the RIFF chunks; a size beyond the file ends the walk. */
static int find_orientation(const struct blob *b) {
  for (size_t at = 12; at + 8 <= b->size;) {
    size_t n = read_size(b->data + at + 4);
    if (n > b->size - at - 8) break;
    if (memcmp(b->data + at, "EXIF", 4) == 0) return exif_orientation(b->data + at + 8, n);
    at += 8 + n + n % 2;
  }
  return 1;
}

bool image_decode_webp(const struct blob *b, const char *name, bool alpha, struct decoded *out, struct err *e) {
  WebPBitstreamFeatures f;
  if (WebPGetFeatures(b->data, b->size, &f) != VP8_STATUS_OK)
    return err_set(e, ERR_INPUT, "%s: cannot decode the WebP: damaged or truncated", name);
  if (f.has_animation) return err_set(e, ERR_INPUT, "%s: an animated WebP; save one of its frames as a picture", name);
  int channels = alpha && f.has_alpha ? 4 : 3;
  if (!decoded_new(out, name, f.width, f.height, channels, e)) return false;
  size_t size = (size_t)out->im.w * (size_t)out->im.h * (size_t)channels;
  int stride = out->im.w * channels;
  if ((channels == 4 ? WebPDecodeRGBAInto : WebPDecodeRGBInto)(b->data, b->size, out->im.px, size, stride) == NULL)
    return err_set(e, ERR_INPUT, "%s: cannot decode the WebP: damaged or truncated", name);
  out->orientation = find_orientation(b);
  return true;
}
