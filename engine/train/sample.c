/* Sample pictures of a model (sample.h), and the call behind `sample` (pdmbooth.h). */
#include "train/sample.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "convert/lora_apply.h"
#include "formats/npy.h"
#include "train/encode.h"
#include "train/precision.h"
#include "train/tell.h"

enum { TOKENS = 77, PATH = 4096 };

/* --- pictures ---------------------------------------------------------------------------------------------------------------- */

static bool deliver(const struct sample_plan *p, int first, int n, const struct image *picture, const struct sink *sink, struct err *e) {
  bool ok = true;
  for (int i = first; ok && i < first + n; i++) {
    struct sample_event event = {.step = p->step,
                                 .prompt = p->prompts[i / p->count],
                                 .negative = p->job.negative,
                                 .prompt_index = i / p->count,
                                 .picture_index = i % p->count,
                                 .seed = p->seed + (uint64_t)(i % p->count),
                                 .sampler = sampler_names[p->job.sampler],
                                 .steps = p->job.steps,
                                 .guidance = p->job.guidance,
                                 .picture = &picture[i - first]};
    ok = sink == NULL || sink->sample == NULL || sink->sample(sink->user, &event, e);
    tell_progress(sink, "samples", i + 1, (int64_t)p->n_prompts * p->count);
  }
  return ok;
}

bool samples_make(struct model *m, enum dtype act, const struct sample_plan *p, const float *noise, float *latents, const struct sink *sink,
                  struct err *e) {
  int all = p->n_prompts * p->count, batch = p->batch < 1 ? 1 : p->batch < all ? p->batch : all;
  int64_t one = latent_size_of(m, p->job.width, p->job.height).count;
  size_t n = (size_t)(batch > 0 ? batch : 1);
  struct image *picture = calloc(n, sizeof *picture);
  const char **prompt = malloc(n * sizeof *prompt);
  uint64_t *seed = malloc(n * sizeof *seed);
  bool ok = (picture != NULL && prompt != NULL && seed != NULL) || err_set(e, ERR_FIT, "out of memory for %d pictures at once", batch);
  if (ok) tell_progress(sink, "samples", 0, all);
  for (int first = 0; ok && first < all; first += batch) {
    int k = all - first < batch ? all - first : batch;
    for (int i = 0; i < k; i++) {
      prompt[i] = p->prompts[(first + i) / p->count];
      seed[i] = p->seed + (uint64_t)((first + i) % p->count);
    }
    ok = pictures_make(m, act, &p->job, prompt, seed, k, noise != NULL ? noise + first * one : NULL, picture,
                       latents != NULL ? latents + first * one : NULL, tell_stop_code, (void *)sink, e) &&
         deliver(p, first, k, picture, sink, e);
    for (int i = 0; i < k; i++) image_release(&picture[i]);
  }
  free(seed);
  free(prompt);
  free(picture);
  return ok;
}

/* --- one call of `sample` ----------------------------------------------------------------------------------------------------- */

struct sampling {
  const struct sample_job *j;
  struct model *m;
  enum dtype act;
  int all; /* pictures */
  struct sample_plan plan;
  struct latent_size size;
  struct npy given;       /* latents_in */
  float *noise, *latents; /* [all, h, w, c] */
};

static void to_nhwc(const float *nchw, const struct latent_size *s, float *out) {
  int area = s->h * s->w;
  for (int c = 0; c < s->channels; c++)
    for (int i = 0; i < area; i++) out[i * s->channels + c] = nchw[c * area + i];
}

static void to_nchw(const float *nhwc, const struct latent_size *s, float *out) {
  int area = s->h * s->w;
  for (int c = 0; c < s->channels; c++)
    for (int i = 0; i < area; i++) out[c * area + i] = nhwc[i * s->channels + c];
}

static struct model *open_model(struct backend *b, const struct sample_job *j, const struct embedded_file *embedded,
                                const struct sink *sink, struct err *e) {
  struct source source;
  if (strcmp(j->model, "embedded") != 0) {
    source_dir(&source, j->model);
  } else if (embedded != NULL) {
    source_embedded(&source, embedded, "tiny-sd");
  } else {
    err_set(e, ERR_INPUT, "this build has no embedded model: name a model directory");
    return NULL;
  }
  struct model *m = model_open(b, &source, &(struct model_want){.config = j->config, .embedded = embedded}, e);
  if (m != NULL) tell_lines(sink, LOG_INFO, model_notes(m));
  if (m == NULL || j->lora[0] == '\0' || lora_load(m, j->lora, j->scale, e)) return m;
  model_close(m);
  return NULL;
}

/* Given noise fixes the size; else what the job says; else the model's own. */
static bool choose_size(struct sampling *s, struct err *e) {
  const struct sample_job *j = s->j;
  int f = vae_factor(s->m->vae), own = unet_config(s->m->unet)->sample_size * f;
  struct picture_job *p = &s->plan.job;
  p->width = j->width > 0 ? j->width : own;
  p->height = j->height > 0 ? j->height : own;
  if (s->given.data != NULL) {
    const int64_t *dim = s->given.dim;
    if (s->given.rank != 4 || (dim[0] != s->all && dim[0] != 1) || dim[1] != vae_config(s->m->vae)->latent_channels || dim[2] < 1 ||
        dim[3] < 1 || dim[2] > 4096 || dim[3] > 4096)
      return err_set(e, ERR_INPUT, "%s: initial noise must be [%d or 1, %d, height / %d, width / %d]", j->latents_in, s->all,
                     vae_config(s->m->vae)->latent_channels, f, f);
    int h = (int)dim[2] * f, w = (int)dim[3] * f;
    if ((j->width > 0 && j->width != w) || (j->height > 0 && j->height != h))
      return err_set(e, ERR_USAGE, "%s makes pictures of %d x %d, not of %d x %d", j->latents_in, w, h, p->width, p->height);
    p->width = w;
    p->height = h;
  }
  if (p->width % f != 0 || p->height % f != 0)
    return err_set(e, ERR_USAGE, "pictures of %d x %d: width and height must be multiples of %d", p->width, p->height, f);
  s->size = latent_size_of(s->m, p->width, p->height);
  return true;
}

static bool make_noise(struct sampling *s, struct err *e) {
  size_t bytes = (size_t)s->all * (size_t)s->size.count * sizeof(float);
  s->noise = malloc(bytes);
  s->latents = malloc(bytes);
  if (s->noise == NULL || s->latents == NULL) return err_set(e, ERR_FIT, "out of memory for the latents of %d pictures", s->all);
  for (int i = 0; i < s->all; i++) {
    float *out = s->noise + i * s->size.count;
    if (s->given.data != NULL)
      to_nhwc(s->given.data + (s->given.dim[0] == 1 ? 0 : i * s->size.count), &s->size, out);
    else
      picture_noise(s->plan.seed + (uint64_t)(i % s->plan.count), s->size.h, s->size.w, s->size.channels, out);
  }
  return true;
}

/* --- dumps: Python's layouts, so that they can be handed to a pipeline (prompt_embeds, negative_prompt_embeds, latents) --- */

static bool dump(const struct sampling *s, const char *name, int rank, const int64_t *dim, const float *data, struct err *e) {
  char path[PATH];
  if (snprintf(path, sizeof path, "%s/%s", s->j->dump_dir, name) >= (int)sizeof path)
    return err_set(e, ERR_USAGE, "%s: the path is too long", s->j->dump_dir);
  return npy_write(path, rank, dim, data, e);
}

static bool dump_latents(const struct sampling *s, const char *name, const float *nhwc, struct err *e) {
  int64_t dim[] = {s->all, s->size.channels, s->size.h, s->size.w};
  float *nchw = malloc((size_t)s->all * (size_t)s->size.count * sizeof *nchw);
  if (nchw == NULL) return err_set(e, ERR_FIT, "out of memory to write %s", name);
  for (int i = 0; i < s->all; i++) to_nchw(nhwc + i * s->size.count, &s->size, nchw + i * s->size.count);
  bool ok = dump(s, name, 4, dim, nchw, e);
  free(nchw);
  return ok;
}

struct embedding {
  struct model *m;
  const char *text;
  float *out; /* [77, width] */
};

static bool embed(struct ctx *c, void *user) {
  struct embedding *p = user;
  struct tensor y = model_embed(c, p->m, &p->text, 1);
  ctx_download(c, p->out, &y);
  ctx_free(c, &y);
  return ctx_ok(c);
}

/* [all, 77, width]: prompts of all pictures, or the negative one as often. */
static bool dump_text(const struct sampling *s, const char *name, bool negative, struct err *e) {
  int64_t width = clip_config(s->m->text)->width, dim[] = {s->all, TOKENS, width}, one = TOKENS * width;
  float *text = malloc((size_t)s->all * (size_t)one * sizeof *text);
  bool ok = text != NULL || err_set(e, ERR_FIT, "out of memory to write %s", name);
  for (int i = 0; ok && i < s->all; i++) {
    struct embedding p = {s->m, negative ? s->plan.job.negative : s->plan.prompts[i / s->plan.count], text + i * one};
    if (negative ? i > 0 : i % s->plan.count > 0) /* the same as the one before */
      memcpy(p.out, p.out - one, (size_t)one * sizeof *text);
    else
      ok = workspace_run(&s->m->work, s->m->b, s->act, embed, &p, NULL, e);
  }
  ok = ok && dump(s, name, 3, dim, text, e);
  free(text);
  return ok;
}

static bool dump_all(const struct sampling *s, struct err *e) {
  return make_dirs(s->j->dump_dir, e) && dump_latents(s, "noise.npy", s->noise, e) && dump_latents(s, "latents.npy", s->latents, e) &&
         dump_text(s, "text.npy", false, e) && dump_text(s, "negative.npy", true, e);
}

static bool check(const struct sample_job *j, struct err *e) {
  if (j->n_prompts < 1) return err_set(e, ERR_USAGE, "no prompt: give at least one");
  if (j->count < 1 || j->n_prompts > 1000000 / j->count)
    return err_set(e, ERR_USAGE, "%d pictures of each of %d prompts: possible are 1 to 1000000 in all", j->count, j->n_prompts);
  if (j->sampler < 0 || j->sampler >= SAMPLER_KINDS) return err_set(e, ERR_USAGE, "no sampler has number %d", j->sampler);
  return true;
}

bool engine_sample(const struct sample_job *j, const struct embedded_file *embedded, const struct sink *sink, struct err *e) {
  if (!check(j, e)) return false;
  struct sampling s = {.j = j, .act = precision_type(j->precision), .all = j->n_prompts * j->count};
  s.plan = (struct sample_plan){.prompts = j->prompts, .n_prompts = j->n_prompts, .count = j->count, .seed = j->seed, .batch = j->batch};
  s.plan.job =
      (struct picture_job){.sampler = (enum sampler_kind)j->sampler, .steps = j->steps, .guidance = j->guidance, .negative = j->negative};
  struct backend *b = backend_open(j->device, j->threads, e);
  bool ok = b != NULL;
  if (ok) {
    tell(sink, LOG_INFO, "%s", backend_describe(b));
    precision_apply(b, j->precision, sink);
    s.m = open_model(b, j, embedded, sink, e);
    ok = s.m != NULL;
  }
  if (ok) {
    tell_cut_prompts(sink, s.m->tokenizer, j->prompts, j->n_prompts);
    tell_cut_prompts(sink, s.m->tokenizer, &j->negative, 1);
  }
  ok = ok && (j->latents_in[0] == '\0' || npy_read(j->latents_in, &s.given, e)) && choose_size(&s, e) && make_noise(&s, e) &&
       samples_make(s.m, s.act, &s.plan, s.noise, s.latents, sink, e) && (j->dump_dir[0] == '\0' || dump_all(&s, e));
  free(s.latents);
  free(s.noise);
  npy_release(&s.given);
  model_close(s.m);
  backend_close(b);
  return ok;
}
