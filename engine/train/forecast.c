#include "train/forecast.h"

#include <stdio.h>
#include <string.h>

#include "base/thread.h"

/* What must be done of a stage, or measured of it after its first unit, before its own pace counts alone. */
static const double trusted_part = 0.1, trusted_seconds = 5;
static const double burst = 0.1; /* of the first unit's time: a unit that takes less was made together with it */

/* Reading and writing files says nothing about computing. */
static bool computes(const char *stage) {
  return stage && strcmp(stage, "loading") != 0 && strcmp(stage, "saving") != 0;
}

/* Measured seconds for a planned one, of all that was computed; 1 while there is too little to tell. */
static double correction(const struct forecast *f) {
  double spent = 0, planned = 0;
  for (int i = 0; i < PLAN_STAGES; i++) {
    const struct forecast_stage *s = f->stage + i;
    if (s->part <= 0 || s->planned <= 0 || !computes(f->name[i])) continue;
    spent += s->spent;
    planned += s->planned * s->part;
  }
  return spent > 1 && planned > 0 ? spent / planned : 1;
}

static double stage_left(const struct forecast_stage *s, double factor) {
  double by_plan = s->planned * factor, pace = s->part > 0 ? s->spent / s->part : 0, weight = s->part / trusted_part;
  if (s->warm_part > 0) {
    pace = s->warm_spent / s->warm_part;
    if (s->warm_spent / trusted_seconds > weight) weight = s->warm_spent / trusted_seconds;
  }
  if (weight > 1) weight = 1;
  return (1 - s->part) * (weight * pace + (1 - weight) * by_plan);
}

double forecast_left(const struct forecast *f) {
  double left = 0, factor = correction(f);
  for (int i = 0; i < PLAN_STAGES; i++) left += stage_left(f->stage + i, computes(f->name[i]) ? factor : 1);
  return left;
}

static int find_stage(const struct forecast *f, const char *name) {
  for (int i = 0; i < PLAN_STAGES; i++)
    if (f->name[i] && strcmp(f->name[i], name) == 0) return i;
  return -1;
}

/* The time since the last progress belongs to the stage that has now done something; where one only says that it begins, to the one before.
   Returns the seconds where something was done. */
static double spend(struct forecast *f, int stage, int64_t done) {
  double now = now_seconds(), spent = now - f->since;
  bool begins = stage < 0 || f->stage[stage].first < 0 || done <= f->stage[stage].last;
  int to = begins ? f->now : stage;
  if (to >= 0) f->stage[to].spent += spent;
  f->since = now;
  return begins ? 0 : spent;
}

static void measure_pace(struct forecast_stage *s, double seconds, double part) {
  if (seconds <= 0) return;
  if (s->first_unit <= 0) {
    s->first_unit = seconds;
  } else if (s->warm_part > 0 || seconds > burst * s->first_unit) {
    s->warm_spent += seconds;
    s->warm_part += part;
  }
}

/* Of what is planned for a stage, by what of it is done. */
static double part_of(const struct forecast_stage *s, int64_t have, int64_t all) {
  if (all <= 0) return 1;
  if (s->early <= 0 || s->early >= all) return (double)have / (double)all;
  if (have <= s->early) return s->early_share * (double)have / (double)s->early;
  return s->early_share + (1 - s->early_share) * (double)(have - s->early) / (double)(all - s->early);
}

static void advance(struct forecast *f, struct forecast_stage *s, int64_t done, int64_t total, double seconds) {
  bool samples = f->rounds > 1 && strcmp(f->name[f->now], "samples") == 0;
  if (s->first < 0) s->first = done;
  if (samples && s->last >= 0 && done < s->last) s->rounds++;
  s->last = done;
  int64_t all = total - (samples ? 0 : s->first), have = done - (samples ? 0 : s->first);
  double part = part_of(s, have, all);
  if (samples) part = ((double)s->rounds + part) / f->rounds;
  if (part > 1) part = 1;
  measure_pace(s, seconds, part - s->part);
  if (part > s->part) s->part = part;
}

static void on_progress(void *user, const char *stage, int64_t done, int64_t total) {
  struct forecast *f = user;
  int at = find_stage(f, stage);
  double seconds = spend(f, at, done);
  f->now = at;
  if (f->now >= 0) advance(f, f->stage + f->now, done, total, seconds);
  if (!f->outer) return;
  if (f->outer->left && f->now >= 0) f->outer->left(f->outer->user, forecast_left(f));
  if (f->outer->progress) f->outer->progress(f->outer->user, stage, done, total);
}

/* The others go straight through. */
static void on_log(void *user, enum log_level level, const char *text) {
  const struct sink *s = ((struct forecast *)user)->outer;
  if (s && s->log) s->log(s->user, level, text);
}

static void on_metrics(void *user, const struct metrics *m) {
  const struct sink *s = ((struct forecast *)user)->outer;
  if (s && s->metrics) s->metrics(s->user, m);
}

static void on_mask(void *user, const char *photograph, const char *overlay, double share, double confidence) {
  const struct sink *s = ((struct forecast *)user)->outer;
  if (s && s->mask) s->mask(s->user, photograph, overlay, share, confidence);
}

static bool on_sample(void *user, const struct sample_event *v, struct err *e) {
  const struct sink *s = ((struct forecast *)user)->outer;
  return !s || !s->sample || s->sample(s->user, v, e);
}

static bool on_samples(void *user, int step, struct err *e) {
  const struct sink *s = ((struct forecast *)user)->outer;
  return !s || !s->samples || s->samples(s->user, step, e);
}

static bool on_sync(void *user, struct err *e) {
  const struct sink *s = ((struct forecast *)user)->outer;
  return !s || !s->sync || s->sync(s->user, e);
}

static bool on_message(void *user, int step, struct engine_message *out) {
  const struct sink *s = ((struct forecast *)user)->outer;
  return s && s->message && s->message(s->user, step, out);
}

static void on_checkpoint(void *user, int step, const char *path, bool final) {
  const struct sink *s = ((struct forecast *)user)->outer;
  if (s && s->checkpoint) s->checkpoint(s->user, step, path, final);
}

static enum engine_command on_poll(void *user) {
  const struct sink *s = ((struct forecast *)user)->outer;
  return s && s->poll ? s->poll(s->user) : ENGINE_GO_ON;
}

static void on_plan(void *user, const struct run_plan *p) {
  const struct sink *s = ((struct forecast *)user)->outer;
  if (s && s->plan) s->plan(s->user, p);
}

void forecast_begin(struct forecast *f, const struct sink *outer) {
  *f = (struct forecast){.outer = outer, .now = -1, .since = now_seconds()};
  f->sink = (struct sink){.user = f,
                          .log = on_log,
                          .progress = on_progress,
                          .metrics = on_metrics,
                          .mask = on_mask,
                          .sample = on_sample,
                          .samples = on_samples,
                          .sync = on_sync,
                          .message = on_message,
                          .checkpoint = on_checkpoint,
                          .poll = on_poll,
                          .plan = on_plan};
}

/* The probe has no progress of its own: it is a part of training; so is the photographs' encoding. */
void forecast_plan(struct forecast *f, const struct run_plan *p, int rounds) {
  int training = -1;
  double within = 0;
  f->rounds = rounds;
  for (int i = 0; i < PLAN_STAGES; i++) {
    bool inside = strcmp(p->stage[i].name, "probe") == 0 || strcmp(p->stage[i].name, "encoding") == 0;
    f->name[i] = p->stage[i].name;
    f->stage[i] = (struct forecast_stage){.planned = inside ? 0 : p->stage[i].seconds, .first = -1, .last = -1};
    if (p->stage[i].seconds > 0 && p->stage[i].early_seconds > 0) {
      f->stage[i].early = p->stage[i].early;
      f->stage[i].early_share = p->stage[i].early_seconds / p->stage[i].seconds;
    }
    if (inside) within += p->stage[i].seconds;
    if (strcmp(p->stage[i].name, "training") == 0) training = i;
  }
  if (training >= 0) f->stage[training].planned += within;
  f->now = find_stage(f, "loading");
  f->since = now_seconds();
}

void forecast_text(const struct forecast *f, char *out, size_t n) {
  size_t used = 0;
  out[0] = '\0';
  for (int i = 0; i < PLAN_STAGES && used < n; i++)
    if (f->stage[i].spent > 0 || f->stage[i].part > 0)
      used += (size_t)snprintf(out + used, n - used, "%s%s %.1f s (%.1f expected)", used ? ", " : "", f->name[i], f->stage[i].spent,
                               f->stage[i].planned);
}
