#include <setjmp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>
#include <jerror.h>

#include "formats/image_codec.h"

/* libjpeg reports through callbacks that must not return; manager comes first so that they find the rest. */
struct reader {
  struct jpeg_error_mgr manager;
  jmp_buf back;
  struct jpeg_decompress_struct jpeg;
  char message[JMSG_LENGTH_MAX];
  unsigned char *row; /* CMYK only */
};

static void on_error(j_common_ptr jpeg) {
  struct reader *r = (struct reader *)(void *)jpeg->err;
  r->manager.format_message(jpeg, r->message);
  longjmp(r->back, 1);
}

/* Warnings pass as they do in PIL, but for the end of the data: libjpeg would fill the rest with grey. */
static void on_message(j_common_ptr jpeg, int level) {
  struct reader *r = (struct reader *)(void *)jpeg->err;
  if (level >= 0 || jpeg->err->msg_code != JWRN_JPEG_EOF) return;
  snprintf(r->message, sizeof r->message, "truncated");
  longjmp(r->back, 1);
}

static void find_orientation(struct reader *r, struct decoded *out) {
  for (jpeg_saved_marker_ptr m = r->jpeg.marker_list; m != NULL; m = m->next)
    if (m->data_length >= 6 && memcmp(m->data, "Exif\0\0", 6) == 0) {
      out->orientation = exif_orientation(m->data, m->data_length);
      return;
    }
}

static unsigned char times(int a, int b) { /* a * b / 255, as PIL rounds it */
  int t = a * b + 128;
  return (unsigned char)(((t >> 8) + t) >> 8);
}

/* JPEG stores CMYK inverted (Adobe's habit, which PIL takes for granted): in is 255 - ink. */
static void cmyk_to_rgb(const unsigned char *in, unsigned char *out, int w) {
  for (int x = 0; x < w; x++, in += 4, out += 3)
    for (int k = 0; k < 3; k++) out[k] = (unsigned char)(in[3] - times(255 - in[k], in[3]));
}

/* Between setjmp and here no local variable changes that is needed after a jump. */
static bool read_rows(struct reader *r, const char *name, struct decoded *out, struct err *e) {
  struct jpeg_decompress_struct *j = &r->jpeg;
  bool cmyk = j->jpeg_color_space == JCS_CMYK || j->jpeg_color_space == JCS_YCCK;
  j->out_color_space = cmyk ? JCS_CMYK : JCS_RGB;
  if (!decoded_new(out, name, j->image_width, j->image_height, 3, e)) return false;
  jpeg_start_decompress(j);
  if (cmyk && (r->row = malloc((size_t)j->output_width * 4)) == NULL) return err_set(e, ERR_FIT, "%s: out of memory", name);
  while (j->output_scanline < j->output_height) {
    unsigned char *to = out->im.px + (size_t)j->output_scanline * (size_t)out->im.w * 3;
    JSAMPROW row = cmyk ? r->row : to;
    jpeg_read_scanlines(j, &row, 1);
    if (cmyk) cmyk_to_rgb(r->row, to, out->im.w);
  }
  jpeg_finish_decompress(j);
  return true;
}

static bool decode(struct reader *r, const struct blob *b, const char *name, struct decoded *out, struct err *e) {
  if (setjmp(r->back) != 0) return err_set(e, ERR_INPUT, "%s: cannot decode the JPEG: %s", name, r->message);
  jpeg_create_decompress(&r->jpeg);
  jpeg_mem_src(&r->jpeg, b->data, b->size);
  jpeg_save_markers(&r->jpeg, JPEG_APP0 + 1, 0xFFFF);
  jpeg_read_header(&r->jpeg, TRUE);
  find_orientation(r, out);
  return read_rows(r, name, out, e);
}

bool image_decode_jpeg(const struct blob *b, const char *name, struct decoded *out, struct err *e) {
  struct reader *r = calloc(1, sizeof *r);
  if (r == NULL) return err_set(e, ERR_FIT, "%s: out of memory", name);
  r->jpeg.err = jpeg_std_error(&r->manager);
  r->manager.error_exit = on_error;
  r->manager.emit_message = on_message;
  bool good = decode(r, b, name, out, e);
  jpeg_destroy_decompress(&r->jpeg);
  free(r->row);
  free(r);
  return good;
}
