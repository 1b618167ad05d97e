/* Single-file checkpoints: what is understood gives configurations that can be read and networks that can be built, and their tensors. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "convert/single_file.h"
#include "formats/json.h"
#include "nets/clip_text.h"
#include "nets/unet.h"
#include "nets/vae.h"

#include "fuzz.h"

static struct json *config_of(const struct single_file *s, const char *relative) {
  struct err e = {0};
  struct json *j = json_open(single_source(s), relative, &e);
  if (j == NULL && e.code != ERR_FIT) fuzz_fail(e.text);
  return j;
}

static void try_unet(const struct single_file *s) {
  struct unet_config c;
  struct err e = {0};
  struct json *j = config_of(s, "unet/config.json");
  struct unet *u = j != NULL && unet_config_read(&c, j, &e) ? unet_new(&c, &e) : NULL;
  if (u != NULL) {
    struct st_set *files = single_unet(s, &c, unet_params(u), &e);
    fuzz_check_error(files != NULL, &e);
    st_set_close(files);
  }
  unet_delete(u, NULL);
  json_close(j);
}

static void try_text(const struct single_file *s) {
  struct clip_config c;
  struct err e = {0};
  struct json *j = config_of(s, "text_encoder/config.json");
  struct clip_text *t = j != NULL && clip_config_read(&c, j, &e) ? clip_new(&c, &e) : NULL;
  if (t != NULL) {
    struct st_set *files = single_text(s, clip_params(t), &e);
    fuzz_check_error(files != NULL, &e);
    st_set_close(files);
  }
  clip_delete(t, NULL);
  json_close(j);
}

static void try_vae(const struct single_file *s) {
  struct vae_config c;
  struct err e = {0};
  struct json *j = config_of(s, "vae/config.json");
  struct vae *v = j != NULL && vae_config_read(&c, j, &e) ? vae_new(&c, &e) : NULL;
  if (v != NULL) {
    struct st_set *files = single_vae(s, &c, vae_params(v), &e);
    fuzz_check_error(files != NULL, &e);
    st_set_close(files);
  }
  vae_delete(v, NULL);
  json_close(j);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  const struct embedded_file files[] = {{"f.safetensors", data, n}, {NULL, NULL, 0}};
  static char config[4096];
  const char *top = getenv("TEST_SRCDIR");
  struct source source;
  struct err e = {0}, e2 = {0};
  source_embedded(&source, files, "");
  struct st_file *f = st_open(&source, "f.safetensors", &e);
  if (f == NULL) return 0;
  /* the tokenizer, which such a file lacks, is that of a model beside the tests */
  snprintf(config, sizeof config, "%s/tests/data/sd1", top != NULL ? top : ".");
  struct single_file *s = single_of(f, &(struct single_want){.config = n % 2 != 0 ? config : ""}, &e2);
  fuzz_check_error(s != NULL, &e2);
  if (s == NULL) return 0;
  try_unet(s);
  try_text(s);
  try_vae(s);
  single_close(s);
  return 0;
}
