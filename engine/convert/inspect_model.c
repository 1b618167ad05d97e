/* Inspection of whole models: every tensor that a network lacks is a problem of its own. */
#include <stdio.h>
#include <string.h>

#include "convert/inspect.h"
#include "convert/single_file.h"

struct networks {
  struct unet *unet;
  struct clip_text *text;
  struct vae *vae;
  struct schedule schedule;
  bool scheduled;
};

static void problem_of(struct inspector *k, struct err *e) {
  if (e->code != ERR_OK) inspect_problem(k, e->text);
  *e = (struct err){0};
}

static void make_networks(struct inspector *k, const struct source *s, struct networks *n) {
  struct unet_config u;
  struct clip_config c;
  struct vae_config v;
  struct err e = {0};
  struct json *j = json_open(s, "unet/config.json", &e);
  if (j && unet_config_read(&u, j, &e)) n->unet = unet_new(&u, &e);
  json_close(j);
  problem_of(k, &e);
  j = json_open(s, "text_encoder/config.json", &e);
  if (j && clip_config_read(&c, j, &e)) n->text = clip_new(&c, &e);
  json_close(j);
  problem_of(k, &e);
  j = json_open(s, "vae/config.json", &e);
  if (j && vae_config_read(&v, j, &e)) n->vae = vae_new(&v, &e);
  json_close(j);
  problem_of(k, &e);
  j = json_open(s, "scheduler/scheduler_config.json", &e);
  n->scheduled = j && schedule_from_json(&n->schedule, j, &e);
  json_close(j);
  problem_of(k, &e);
}

static void delete_networks(struct networks *n) {
  unet_delete(n->unet, NULL);
  clip_delete(n->text, NULL);
  vae_delete(n->vae, NULL);
}

/* Presence and shape of every tensor. */
static void check_network(struct inspector *k, const struct param_set *p, const struct st_set *files, const char *name) {
  struct err e = {0};
  for (int i = 0; i < p->n; i++)
    if (!model_check_param(p->p[i], files, name, &e)) problem_of(k, &e);
}

static void describe(struct inspector *k, const struct networks *n) {
  char channels[128] = "";
  if (!n->unet) return;
  const struct unet_config *u = unet_config(n->unet);
  for (int i = 0; i < u->levels; i++) snprintf(channels + strlen(channels), sizeof channels - strlen(channels), " %d", u->channels[i]);
  bool v = n->scheduled && n->schedule.prediction == PREDICT_V, second = n->text && clip_config(n->text)->act == ACT_GELU;
  k->out->architecture =
      inspect_text(k, "%s, UNet channels%s, texts of width %d, %s projections, predicts %s, made for %dx%d latents",
                   second ? "Stable Diffusion 2.x" : "Stable Diffusion 1.x", channels, u->cross_dim,
                   u->linear_projection ? "linear" : "convolution", v ? "v" : "noise (epsilon)", u->sample_size, u->sample_size);
}

/* Where all is well so far, the whole is put together as a run would. */
static void put_together(struct inspector *k) {
  struct source s;
  struct err e = {0};
  if (k->out->problems > 0) return;
  source_dir(&s, k->path);
  struct model *m = model_describe(&s, &(struct model_want){.config = k->config, .embedded = k->embedded}, &e);
  if (m) {
    inspect_notes(k, model_notes(m));
    k->out->model_hash = inspect_text(k, "%s", m->hash);
  }
  problem_of(k, &e);
  model_close(m);
}

static void inspect_part(struct inspector *k, const struct source *s, const char *dir, const char *base, const struct param_set *p,
                         const char *name) {
  struct err e = {0};
  struct st_set *files = st_set_open(s, dir, base, &e);
  problem_of(k, &e);
  for (int i = 0; files && i < st_set_files(files); i++) {
    const char *path = st_path(st_set_file(files, i)), *last = strrchr(path, '/');
    inspect_st_file(k, st_set_file(files, i), inspect_text(k, "%s/%s", dir, last ? last + 1 : path), false);
  }
  if (files && p) check_network(k, p, files, name);
  st_set_close(files);
}

void inspect_directory(struct inspector *k) {
  struct source s;
  struct networks n = {0};
  k->out->kind = "diffusers";
  k->out->description = "a diffusers directory";
  source_dir(&s, k->path);
  make_networks(k, &s, &n);
  inspect_part(k, &s, "unet", "diffusion_pytorch_model", n.unet ? unet_params(n.unet) : NULL, "UNet");
  inspect_part(k, &s, "text_encoder", "model", n.text ? clip_params(n.text) : NULL, "text encoder");
  inspect_part(k, &s, "vae", "diffusion_pytorch_model", n.vae ? vae_params(n.vae) : NULL, "VAE");
  describe(k, &n);
  delete_networks(&n);
  put_together(k);
}

void inspect_single_file(struct inspector *k, struct st_file *f) {
  struct err e = {0};
  struct networks n = {0};
  k->out->kind = "single-file";
  k->out->description = "a single-file checkpoint (LDM layout)";
  struct single_file *s = single_of(f, &(struct single_want){.config = k->config, .embedded = k->embedded}, &e);
  problem_of(k, &e);
  if (!s) return;
  make_networks(k, single_source(s), &n);
  describe(k, &n);
  delete_networks(&n);
  single_close(s);
  put_together(k);
}
