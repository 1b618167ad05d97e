/* Records of TensorBoard's event files (events.out.tfevents.*), written by hand: the protocol buffers tensorflow.Event and tensorflow.Summary inside the
 * record framing of TFRecord. Sources: tensorflow/core/util/event.proto, tensorflow/core/framework/summary.proto, tensorflow/core/lib/io/record_writer.cc. */
#ifndef PDMBOOTH_SRC_TFEVENTS_H
#define PDMBOOTH_SRC_TFEVENTS_H

#include "pdmbooth.h"

/* Bytes that grow; zero-initialised is empty. After failed (out of memory) nothing more is added. */
struct tf_bytes {
  unsigned char *p; /* [n], owned */
  size_t n, cap;
  bool failed;
};
void tf_release(struct tf_bytes *b);

/* Each adds one whole record. wall: seconds since 1970. */
void tf_version(struct tf_bytes *b, double wall);       /* the first record of a file */
void tf_session_start(struct tf_bytes *b, double wall); /* what a reader knows already is void */
void tf_scalars(struct tf_bytes *b, double wall,
                const struct metrics *m); /* loss/..., lr, grad_norm, seconds; what is not finite is left out */
void tf_picture(struct tf_bytes *b, double wall, int step, const char *tag, const unsigned char *png, size_t n);

/* CRC-32C (Castagnoli), and as the framing has it: rotated by 15 bits plus a constant, so that a CRC of data with CRCs inside is no trap. */
uint32_t crc32c(const void *data, size_t n);
uint32_t crc32c_masked(const void *data, size_t n);

#endif
