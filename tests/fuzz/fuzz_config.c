/* The config.json files of a model: what is accepted must be possible to build; json_set keeps a document valid. */
#include <stdlib.h>
#include <string.h>

#include "diffusion/schedule.h"
#include "formats/json.h"
#include "formats/json_edit.h"
#include "nets/clip_text.h"
#include "nets/unet.h"
#include "nets/vae.h"

#include "fuzz.h"

static void as_unet(const struct json *j) {
  struct unet_config c;
  struct err e = {0};
  struct unet *u = NULL;
  if (unet_config_read(&c, j, &e)) u = unet_new(&c, &e);
  fuzz_check_error(u != NULL, &e);
  unet_delete(u, NULL);
}

static void as_text_encoder(const struct json *j) {
  struct clip_config c;
  struct err e = {0};
  struct clip_text *t = NULL;
  if (clip_config_read(&c, j, &e)) t = clip_new(&c, &e);
  fuzz_check_error(t != NULL, &e);
  clip_delete(t, NULL);
}

static void as_vae(const struct json *j) {
  struct vae_config c;
  struct err e = {0};
  struct vae *v = NULL;
  if (vae_config_read(&c, j, &e)) v = vae_new(&c, &e);
  fuzz_check_error(v != NULL, &e);
  vae_delete(v, NULL);
}

static void as_schedule(const struct json *j) {
  struct schedule s;
  struct err e = {0};
  bool ok = schedule_from_json(&s, j, &e);
  fuzz_check_error(ok, &e);
}

static void edit(const uint8_t *data, size_t n) {
  struct err e = {0};
  char *text = json_set(fuzz_text(data, n), "sample_size", "64", false);
  struct json *j = text != NULL ? json_parse(text, strlen(text), "edited", &e) : NULL;
  if (text != NULL && j == NULL && e.code != ERR_FIT) fuzz_fail("an edited document is not valid any more");
  json_close(j);
  free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  struct err e = {0};
  struct json *j = json_parse(data, n, "config.json", &e);
  fuzz_check_error(j != NULL, &e);
  if (j == NULL) return 0;
  as_unet(j);
  as_text_encoder(j);
  as_vae(j);
  as_schedule(j);
  if (n > 0 && data[0] == '{' && memchr(data, 0, n) == NULL) edit(data, n);
  json_close(j);
  return 0;
}
