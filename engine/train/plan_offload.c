/* Memory of a run whose fp32 weights, gradients and moments lie with the host (train/offload.h, nets/lodge.h), and whether it is to be so.
 *
 *   the device     copies of matrices, fp32 of the rest; two chunks that gradients and new weights go through (one where nothing is trained there)
 *   the host       fp32 weights of what is trained, from loading on; its gradients, moments and average, from training on
 *
 * Adapters are small: they stay on the device with all that belongs to them, and only the weights below them are without their fp32 values. */
#include "train/offload.h"
#include "train/plan.h"

static void networks(const struct trainer *t, struct param_set *out[3]) {
  out[0] = unet_params(t->m->unet);
  out[1] = clip_params(t->m->text);
  out[2] = vae_params(t->m->vae);
}

void plan_offload_set(struct trainer *t, bool on) {
  t->plan.offloaded = on;
  model_lodge(t->m, t->b, t->act, on);
}

bool plan_offload_helps(const struct trainer *t) {
  return t->s->engine.offload == OFFLOAD_AUTO && !t->plan.offloaded && !t->b->op->host_memory;
}

static int64_t taken(const struct trainer *t, int64_t bytes) {
  return (int64_t)t->b->op->taken((size_t)bytes);
}

void plan_offload_parts(struct trainer *t) {
  struct run_plan *p = &t->plan;
  struct param_set *set[3];
  enum dtype moments = moments_type(t->s);
  bool ema = t->s->train.ema_decay > 0;
  p->home = p->away = 0;
  if (!p->offloaded) return;
  networks(t, set);
  struct lodge_need need = lodge_need(t->b, set, 3);
  p->weights += need.card;
  p->home = need.host;
  for (int i = 0; i < 3; i++)
    if (set[i]->lodge) p->weights -= taken(t, set[i]->count * 4);
  for (int i = 0; i < t->sets; i++) {
    if (!t->set[i]->lodge) continue;
    p->gradients -= taken(t, t->set[i]->count * 4);
    p->moments -= plan_moments(t, t->set[i]->count);
    if (ema) p->averaged -= taken(t, t->set[i]->count * 4);
    p->away += offload_host_bytes(t->b, t->set[i], offload_moments(moments), ema);
  }
  *(p->home > 0 ? &p->gradients : &p->weights) += need.chunks;
}
