/* The message where nothing helps: what is needed, what is there, and what the same run would take with other settings, each of which is planned. */
#include <stdio.h>
#include <string.h>

#include "train/plan.h"

struct size_text plan_size(int64_t bytes) {
  struct size_text t;
  if (bytes >= 1 << 30)
    snprintf(t.s, sizeof t.s, "%.2f GiB", (double)bytes / (1 << 30));
  else
    snprintf(t.s, sizeof t.s, "%.1f MiB", (double)bytes / (1 << 20));
  return t;
}

struct remedy {
  char text[64];
  struct settings s;
};

/* The least that a run with these settings takes; 0 where that cannot be found out. */
static int64_t least_of(const struct trainer *t, const struct settings *s) {
  struct trainer x = *t;
  struct err ignored = {0};
  bool other = s->train.mode != t->s->train.mode || s->train.text_encoder != t->s->train.text_encoder ||
               s->train.gradients != t->s->train.gradients;
  x.own = *s;
  x.s = &x.own;
  x.sink = NULL;
  x.own.samples.batch = x.own.prior.batch = x.pdm_batch = 1;
  x.options.train_text = s->train.text_encoder;
  x.data.width = s->train.width, x.data.height = s->train.height;
  if (other && !trainer_open_model(&x, &ignored)) return 0;
  if (other) plan_offload_set(&x, t->plan.offloaded);
  if (s->train.mode == MODE_LORA) x.options.recompute_blocks = 0;
  x.options.recompute = true;
  bool ok = plan_evaluate(&x, PLAN_SHORT, &ignored);
  plan_forget(&x);
  if (other) model_close(x.m);
  return ok ? x.plan.memory : 0;
}

enum { REMEDIES = 8 };

static int remedies(const struct trainer *t, struct remedy r[REMEDIES]) {
  const struct settings *s = t->s;
  int n = 0, f = vae_factor(t->m->vae);
  bool full = s->train.mode == MODE_FULL;
  for (int i = 0; i < REMEDIES; i++) r[i].s = *s;
  if (s->train.batch > 1) {
    r[n].s.train.batch = 1;
    snprintf(r[n++].text, sizeof r[0].text, "batch = 1");
  }
  for (int kind = s->train.moments + 1; full && kind <= MOMENTS_8BIT; kind++) {
    r[n].s.train.moments = kind;
    snprintf(r[n++].text, sizeof r[0].text, "moments = %s", kind == MOMENTS_8BIT ? "8bit" : "bf16");
  }
  if (full && s->train.gradients == GRADIENTS_FP32) {
    r[n].s.train.gradients = GRADIENTS_BF16;
    snprintf(r[n++].text, sizeof r[0].text, "gradients = bf16");
  }
  if (full && s->train.text_encoder) {
    r[n].s.train.text_encoder = false;
    snprintf(r[n++].text, sizeof r[0].text, "text_encoder = false");
  }
  if (full) {
    r[n].s.train.mode = MODE_LORA;
    snprintf(r[n++].text, sizeof r[0].text, "mode = lora");
  }
  if (s->train.width / 2 >= 8 * f && s->train.height / 2 >= 8 * f) {
    r[n].s.train.width = s->train.width / 2 / f * f;
    r[n].s.train.height = s->train.height / 2 / f * f;
    snprintf(r[n].text, sizeof r[0].text, "resolution = %dx%d", r[n].s.train.width, r[n].s.train.height);
    n++;
  }
  return n;
}

static const char *limit_text(const struct trainer *t, char *out, size_t n) {
  const struct run_plan *p = &t->plan;
  const char *wait = p->memory <= p->machine ? " (--wait-memory waits for more)" : "";
  if (p->allowed == t->s->engine.memory)
    snprintf(out, n, "memory in [engine] allows %s", plan_size(p->allowed).s);
  else if (p->card && p->allowed == p->machine)
    snprintf(out, n, "the card has %s", plan_size(p->machine).s);
  else if (p->card)
    snprintf(out, n, "the card has %s, %s are free for this run%s", plan_size(p->machine).s, plan_size(p->available).s, wait);
  else if (p->allowed == p->machine)
    snprintf(out, n, "this machine has %s", plan_size(p->machine).s);
  else
    snprintf(out, n, "%s of this machine's %s are free now%s", plan_size(p->available).s, plan_size(p->machine).s, wait);
  return out;
}

static const struct plan_stage *peak_stage(const struct run_plan *p) {
  const struct plan_stage *at = p->stage;
  for (int i = 0; i < PLAN_STAGES; i++)
    if (p->stage[i].memory > at->memory) at = p->stage + i;
  return at;
}

/* Of the machine, beside a card: what goes there is pictures, rows of targets and copies of weights that are written. */
static bool refuse_host(const struct run_plan *p, struct err *e) {
  const struct plan_stage *at = p->stage;
  for (int i = 0; i < PLAN_STAGES; i++)
    if (p->stage[i].host > at->host) at = p->stage + i;
  return err_set(e, ERR_FIT,
                 "this run needs %s of the machine's memory in the stage \"%s\", beside the card's (process %s, offloaded %s, pictures, rows and copies %s); "
                 "the machine has %s, %s are free: close other programs, or choose a smaller resolution or batch",
                 plan_size(p->host_memory).s, at->name, plan_size(p->host_process).s, plan_size(p->home + p->away).s, plan_size(p->buffers).s, plan_size(p->host_machine).s,
                 plan_size(p->host_allowed).s);
}

bool plan_refuse(struct trainer *t, struct err *e) {
  struct run_plan *p = &t->plan;
  struct remedy r[REMEDIES];
  if (p->memory <= p->allowed) return refuse_host(p, e);
  char limit[160], list[512] = "";
  int n = remedies(t, r);
  for (int i = 0; i < n; i++) {
    int64_t needs = least_of(t, &r[i].s);
    size_t used = strlen(list);
    if (needs > 0 && needs < p->memory)
      snprintf(list + used, sizeof list - used, "%s%s (%s%s)", used ? ", " : "", r[i].text, plan_size(needs).s,
               needs <= p->allowed ? ", fits" : "");
  }
  return err_set(
      e, ERR_FIT,
      "this run needs %s of %smemory in the stage \"%s\", with all that can be computed again or made one at a time (%s %s, weights "
      "%s, gradients %s, moments and averages %s, passes %s); %s; %s%s",
      plan_size(p->memory).s, p->card ? "the card's " : "", peak_stage(p)->name, p->card ? "engine" : "process",
      plan_size(p->process + (p->card ? 0 : p->buffers)).s, plan_size(p->weights + p->packed).s, plan_size(p->gradients).s,
      plan_size(p->moments + p->averaged + (p->card ? 0 : p->home + p->away)).s, plan_size(p->work + p->scratch).s, limit_text(t, limit, sizeof limit),
      *list     ? "what would take less: "
      : p->card ? "a card with more memory is needed, or --device cpu"
                : "a machine with more memory is needed",
      list);
}
