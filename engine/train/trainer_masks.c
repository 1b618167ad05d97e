/* Masks in a run, and engine_masks (pdmbooth.h), which makes nothing else. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/trainer.h"

struct gaze_job trainer_gaze(const struct trainer *t) {
  const struct settings *s = t->s;
  return (struct gaze_job){.m = t->m,
                           .act = t->act,
                           .class_name = s->subject.class_name,
                           .prompt = s->prompts.class_prompt,
                           .width = s->train.width,
                           .height = s->train.height,
                           .engine = precision_engine(t->b),
                           .sink = t->sink};
}

static struct automask_job mask_job(struct trainer *t, const char *dir) {
  return (struct automask_job){
      .gaze = trainer_gaze(t), .embedded = t->embedded, .data = &t->data, .want = &t->want, .out_dir = dir, .room = &t->room};
}

bool masks_derived(const struct trainer *t) {
  return t->want.masks && t->want.derive;
}

/* Those that a run before this one left. */
bool masks_recall(struct trainer *t, struct err *e) {
  char dir[TRAINER_PATH + 16];
  snprintf(dir, sizeof dir, "%s/masks", t->s->run_dir);
  struct automask_job job = mask_job(t, dir);
  return !masks_derived(t) || !t->s->resume || automask_recall(&job, e);
}

static void warn_of_full_masks(const struct trainer *t) {
  for (int i = 0; i < t->data.photographs; i++)
    if (t->data.photograph[i].mask_given && mask_area(&t->data.photograph[i].mask) == 1)
      tell(t->sink, LOG_WARN, "the mask of %s is white all over: nothing of the photograph is left out", t->data.photograph[i].name);
}

bool masks_make(struct trainer *t, struct err *e) {
  char dir[TRAINER_PATH + 16];
  snprintf(dir, sizeof dir, "%s/masks", t->s->run_dir);
  struct automask_job job = mask_job(t, dir);
  job.more = t->s->losses.prior && t->s->losses.mask_prior ? t->s->prior.images : 0;
  warn_of_full_masks(t);
  return !masks_derived(t) || automask_make(&job, e);
}

/* Masks of files by what is in them; derived ones by what they depend on beside the rest: the class, and that they are derived. */
void masks_hash(const struct trainer *t, struct sha256 *h) {
  const char *name = t->s->subject.class_name;
  bool derived = t->s->losses.mask_prior && t->s->losses.prior;
  for (int i = 0; i < t->data.photographs; i++) {
    const struct photograph *p = t->data.photograph + i;
    sha256_add(h, p->mask_given ? "given" : "found", 5);
    if (p->mask_given) sha256_add(h, p->mask.px, (size_t)p->mask.w * (size_t)p->mask.h);
    derived |= !p->mask_given;
  }
  if (derived) sha256_add(h, name, strlen(name) + 1);
}

/* The model without gradients or adapters, and the photographs: what masks need. */
static bool mask_stages(struct trainer *t, const char *out_dir, struct err *e) {
  const struct settings *s = t->s;
  struct source source;
  struct model_want plain = {.config = s->model.config, .embedded = t->embedded};
  t->act = precision_type(s->train.precision);
  t->b = backend_open(s->engine.device, s->engine.threads, e);
  if (!t->b) return false;
  precision_apply(t->b, s->train.precision, t->sink);
  trainer_source(s, t->embedded, &source);
  t->m = model_open(t->b, &source, &plain, e);
  t->want = (struct dataset_want){.images = s->subject.images,
                                  .mask_dir = s->subject.mask_dir,
                                  .hold_out = s->subject.hold_out,
                                  .masks = true,
                                  .derive = true,
                                  .width = s->train.width,
                                  .height = s->train.height};
  if (!t->m || !trainer_resolution(t, e) || !dataset_open(&t->data, t->embedded, &t->want, e)) return false;
  struct automask_job job = mask_job(t, out_dir);
  job.all = true;
  warn_of_full_masks(t);
  return automask_make(&job, e);
}

bool engine_masks(const struct settings *s, const struct embedded_file *embedded, const struct sink *sink, const char *out_dir,
                  struct err *e) {
  struct run_result ignored = {.last_loss = NAN};
  struct trainer *t = calloc(1, sizeof *t);
  if (!t) return err_set(e, ERR_FIT, "out of memory");
  trainer_begin(t, s, embedded, sink, &ignored);
  bool ok = mask_stages(t, out_dir, e);
  trainer_release(t);
  free(t);
  return ok;
}
