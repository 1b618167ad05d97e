/* Sample pictures: every prompt with several seeds, in batches, delivered one by one. For engine_sample and for the samples of a run. */
#ifndef PDMBOOTH_TRAIN_SAMPLE_H
#define PDMBOOTH_TRAIN_SAMPLE_H

#include "pdmbooth.h"
#include "train/picture.h"

struct sample_plan {
  struct picture_job job;
  const char *const *prompts;
  int n_prompts, count; /* count pictures a prompt: picture k has seed + k */
  uint64_t seed;
  int batch;
  int step; /* of training, 0: before it */
};

/* Picture i of all is picture i % count of prompt i / count. noise: NULL (the seeds'), or [all, h, w, c] host; latents: NULL, or
   receives the final latents, [all, h, w, c]. Pictures go to sink->sample in order, progress of stage "samples" too. */
bool samples_make(struct model *m, enum dtype act, const struct sample_plan *p, const float *noise, float *latents, const struct sink *sink,
                  struct err *e);

#endif
