#include "convert/clip_vocab.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { TEXT_MAX = 4 << 20 };

static char *unzip(const struct blob *gz) {
  char *text = malloc(TEXT_MAX);
  z_stream z = {.next_in = (unsigned char *)(uintptr_t)gz->data,
                .avail_in = (unsigned)gz->size,
                .next_out = (unsigned char *)text,
                .avail_out = TEXT_MAX - 1};
  if (!text || inflateInit2(&z, 16 + MAX_WBITS) != Z_OK) {
    free(text);
    return NULL;
  }
  int status = inflate(&z, Z_FINISH);
  size_t n = z.total_out;
  inflateEnd(&z);
  if (status == Z_STREAM_END) {
    text[n] = 0;
    return text;
  }
  free(text);
  return NULL;
}

static void put_json(FILE *f, const char *text, size_t n) {
  for (size_t i = 0; i < n; i++) {
    if (text[i] == '"' || text[i] == '\\') fputc('\\', f);
    fputc(text[i], f);
  }
}

/* The character that stands for a byte: itself where it prints, else U+0100 and on. In UTF-8; returns its length. */
static size_t byte_character(int c, char out[2]) {
  if (c < 0x80) return out[0] = (char)c, 1;
  out[0] = (char)(0xC0 | c >> 6);
  out[1] = (char)(0x80 | (c & 63));
  return 2;
}

static void put_bytes(FILE *f, const char *end, int *id) {
  static const int range[3][2] = {{0x21, 0x7E}, {0xA1, 0xAC}, {0xAE, 0xFF}};
  int other = 0x100;
  for (int pass = 0; pass < 2; pass++)
    for (int c = 0; c < 256; c++) {
      char text[2];
      bool prints = false;
      for (int r = 0; r < 3; r++) prints = prints || (c >= range[r][0] && c <= range[r][1]);
      if (prints != (pass == 0)) continue;
      size_t n = byte_character(prints ? c : other++, text);
      fprintf(f, "%s\"", *id > 0 ? ", " : "");
      put_json(f, text, n);
      fprintf(f, "%s\": %d", end, (*id)++);
    }
}

static void put_merges(FILE *f, const char *merges, int *id) {
  const char *at = strchr(merges, '\n'); /* the first line is a header */
  while (at && *++at) {
    size_t n = strcspn(at, "\n"), left = strcspn(at, " ");
    if (left < n) {
      fprintf(f, ", \"");
      put_json(f, at, left);
      put_json(f, at + left + 1, n - left - 1);
      fprintf(f, "\": %d", (*id)++);
    }
    at = at[n] ? at + n : NULL;
  }
}

bool clip_vocab_texts(const struct blob *gz, char **merges, char **vocab, struct err *e) {
  size_t size = 0;
  int id = 0;
  *vocab = NULL;
  *merges = unzip(gz);
  FILE *f = *merges ? open_memstream(vocab, &size) : NULL;
  if (f) {
    fputc('{', f);
    put_bytes(f, "", &id);
    put_bytes(f, "</w>", &id);
    put_merges(f, *merges, &id);
    fprintf(f, ", \"<|startoftext|>\": %d, \"<|endoftext|>\": %d}\n", id, id + 1);
    if (fclose(f) == 0 && id + 2 == CLIP_VOCABULARY) return true;
  }
  free(*merges);
  free(*vocab);
  *merges = *vocab = NULL;
  return err_set(e, ERR_FIT, "out of memory while making CLIP's vocabulary");
}

char *clip_tokens_text(const char *pad, bool map) {
  static const char *const role[3][2] = {{"bos_token", "<|startoftext|>"}, {"eos_token", "<|endoftext|>"}, {"unk_token", "<|endoftext|>"}};
  char *text = NULL;
  size_t size = 0;
  FILE *f = open_memstream(&text, &size);
  if (!f) return NULL;
  fprintf(f, "{\n");
  for (int i = 0; i < 3; i++)
    fprintf(f, "  \"%s\": {%s\"content\": \"%s\", \"lstrip\": false, \"normalized\": true, \"rstrip\": false, \"single_word\": false},\n",
            role[i][0], map ? "" : "\"__type\": \"AddedToken\", ", role[i][1]);
  if (!map)
    fprintf(f,
            "  \"add_prefix_space\": false,\n  \"do_lower_case\": true,\n  \"errors\": \"replace\",\n  \"model_max_length\": 77,\n"
            "  \"tokenizer_class\": \"CLIPTokenizer\",\n");
  fprintf(f, "  \"pad_token\": \"%s\"\n}\n", pad);
  if (fclose(f) == 0) return text;
  free(text);
  return NULL;
}
