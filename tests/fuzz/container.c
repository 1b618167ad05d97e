/* Changes a safetensors file where it matters, in its header, whose length stays right: without this nearly all inputs would be refused before
 * anything looks at the tensors' names and shapes. */
#include <string.h>

#include "fuzz.h"

enum { HEADER = 1 << 18 };

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t max, unsigned seed) {
  static uint8_t header[HEADER];
  uint64_t length = 0;
  if (n >= 8) memcpy(&length, data, 8);
  if (n < 8 || length == 0 || length > n - 8 || length > HEADER || seed % 16 == 0) return LLVMFuzzerMutate(data, n, max);
  size_t behind = n - 8 - (size_t)length, room = max - 8 - behind < HEADER ? max - 8 - behind : HEADER;
  memcpy(header, data + 8, (size_t)length);
  size_t now = LLVMFuzzerMutate(header, (size_t)length, room);
  memmove(data + 8 + now, data + 8 + length, behind);
  memcpy(data + 8, header, now);
  length = now;
  memcpy(data, &length, 8);
  return 8 + now + behind;
}
