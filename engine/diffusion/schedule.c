/* Betas and alphas_cumprod, bit for bit as diffusers' schedulers compute them in float32 (schedulers/scheduling_ddim.py). */
#include "diffusion/schedule.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <string.h>

static const double PI = 3.14159265358979323846;

/* torch.linspace(start, end, n) in float32: step times index added in one rounding, from whichever end is nearer
   (aten/src/ATen/native/cpu/RangeFactoriesKernel.cpp). */
static float linspace(float start, float end, int n, int i) {
  float step = n > 1 ? (end - start) / (float)(n - 1) : 0;
  return i < n / 2 ? fmaf(step, (float)i, start) : fmaf(-step, (float)(n - i - 1), end);
}

/* Squared cosine of Nichol and Dhariwal (arXiv 2102.09672): diffusers' betas_for_alpha_bar. */
static double cosine_abar(double t) {
  double c = cos((t + 0.008) / 1.008 * PI / 2);
  return c * c;
}

static bool fill_betas(struct schedule *s, const char *kind, double start, double end) {
  bool linear = strcmp(kind, "linear") == 0, scaled = strcmp(kind, "scaled_linear") == 0;
  if (!linear && !scaled && strcmp(kind, "squaredcos_cap_v2") != 0) return false;
  for (int i = 0; i < s->steps; i++) {
    if (linear) {
      s->beta[i] = linspace((float)start, (float)end, s->steps, i);
    } else if (scaled) {
      float root = linspace((float)sqrt(start), (float)sqrt(end), s->steps, i);
      s->beta[i] = root * root;
    } else {
      double t1 = (double)i / s->steps, t2 = (double)(i + 1) / s->steps;
      s->beta[i] = (float)fmin(1 - cosine_abar(t2) / cosine_abar(t1), 0.999);
    }
  }
  return true;
}

/* torch.cumprod in float32 sums up in double and rounds each element. */
static void fill_abar(struct schedule *s) {
  double product = 1;
  for (int i = 0; i < s->steps; i++) {
    product *= 1.0f - (float)s->beta[i];
    s->abar[i] = (float)product;
  }
}

/* Zero terminal signal-to-noise ratio: algorithm 1 of arXiv 2305.08891, diffusers' rescale_zero_terminal_snr.
   sqrt(abar) is shifted so that the last is 0 and scaled so that the first stays. */
static void rescale_zero_snr(struct schedule *s) {
  fill_abar(s);
  float first = sqrtf((float)s->abar[0]), last = sqrtf((float)s->abar[s->steps - 1]), before = 1;
  float scale = first / (first - last);
  for (int i = 0; i < s->steps; i++) {
    float root = (sqrtf((float)s->abar[i]) - last) * scale, abar = root * root;
    s->beta[i] = 1 - (i == 0 ? abar : abar / before);
    before = abar;
  }
}

bool schedule_make(struct schedule *s, const char *beta_schedule, double beta_start, double beta_end, int steps, enum prediction p,
                   struct err *e) {
  *s = (struct schedule){.steps = steps, .prediction = p, .steps_offset = 1, .set_alpha_given = true};
  if (steps < 1 || steps > SCHEDULE_MAX)
    return err_set(e, ERR_INPUT, "num_train_timesteps is %d: this program handles 1 to %d", steps, SCHEDULE_MAX);
  if (beta_start < 0 || beta_end < 0 || beta_start >= 1 || beta_end >= 1)
    return err_set(e, ERR_INPUT, "beta_start %g and beta_end %g: both must lie in 0 to 1", beta_start, beta_end);
  if (!fill_betas(s, beta_schedule, beta_start, beta_end))
    return err_set(e, ERR_INPUT, "beta_schedule is \"%s\": known are linear, scaled_linear and squaredcos_cap_v2", beta_schedule);
  fill_abar(s);
  return true;
}

/* trained_betas: a list of numbers, one for each timestep. */
static bool read_trained_betas(struct schedule *s, const struct json *j, struct err *e) {
  const cJSON *list = cJSON_GetObjectItemCaseSensitive(json_node(j), "trained_betas"), *item;
  int n = cJSON_IsArray(list) ? cJSON_GetArraySize(list) : 0, i = 0;
  if (n < 1 || n > SCHEDULE_MAX)
    return err_set(e, ERR_INPUT, "%s: trained_betas must be a list of 1 to %d numbers", json_name(j), SCHEDULE_MAX);
  cJSON_ArrayForEach(item, list) {
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0 && item->valuedouble < 1))
      return err_set(e, ERR_INPUT, "%s: trained_betas[%d] must be a number in 0 to 1", json_name(j), i);
    s->beta[i++] = (float)item->valuedouble;
  }
  s->steps = n;
  fill_abar(s);
  return true;
}

static bool read_prediction(const struct json *j, enum prediction *out, struct err *e) {
  char text[32];
  if (!json_string(j, "prediction_type", "epsilon", text, sizeof text, e)) return false;
  *out = strcmp(text, "v_prediction") == 0 ? PREDICT_V : PREDICT_EPSILON;
  if (*out == PREDICT_V || strcmp(text, "epsilon") == 0) return true;
  return err_set(e, ERR_INPUT, "%s: prediction_type is \"%s\": this program computes epsilon and v_prediction", json_name(j), text);
}

static bool read_spacing(struct schedule *s, const struct json *j, struct err *e) {
  if (!json_string(j, "timestep_spacing", "", s->spacing, sizeof s->spacing, e)) return false;
  static const char *const known[] = {"", "leading", "linspace", "trailing"};
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (strcmp(s->spacing, known[i]) == 0) return true;
  return err_set(e, ERR_INPUT, "%s: timestep_spacing is \"%s\": known are leading, linspace and trailing", json_name(j), s->spacing);
}

static bool read_betas(struct schedule *s, const struct json *j, enum prediction p, struct err *e) {
  char kind[32];
  double start, end;
  int64_t steps;
  struct err own = {0};
  if (!json_int(j, "num_train_timesteps", 1000, 1, SCHEDULE_MAX, &steps, e) ||
      !json_string(j, "beta_schedule", "linear", kind, sizeof kind, e) || !json_float(j, "beta_start", 0.0001, &start, e) ||
      !json_float(j, "beta_end", 0.02, &end, e))
    return false;
  if (json_has(j, "trained_betas")) {
    *s = (struct schedule){.prediction = p, .steps_offset = 1};
    return read_trained_betas(s, j, e);
  }
  if (!schedule_make(s, kind, start, end, (int)steps, p, &own)) return err_set(e, own.code, "%s: %s", json_name(j), own.text);
  return true;
}

bool schedule_from_json(struct schedule *s, const struct json *j, struct err *e) {
  enum prediction p = PREDICT_EPSILON;
  bool rescale;
  int64_t offset;
  if (!read_prediction(j, &p, e) || !read_betas(s, j, p, e) || !read_spacing(s, j, e) ||
      !json_string(j, "_class_name", "", s->class_name, sizeof s->class_name, e) ||
      !json_bool(j, "set_alpha_to_one", false, &s->set_alpha_to_one, e) || !json_int(j, "steps_offset", 1, 0, SCHEDULE_MAX, &offset, e) ||
      !json_bool(j, "rescale_betas_zero_snr", false, &rescale, e))
    return false;
  s->set_alpha_given = json_has(j, "set_alpha_to_one");
  s->steps_offset = offset == 0 ? 1 : (int)offset;
  if (rescale) {
    rescale_zero_snr(s);
    fill_abar(s);
  }
  return true;
}

double schedule_snr(const struct schedule *s, int t) {
  return s->abar[t] / (1 - s->abar[t]);
}

double schedule_min_snr(const struct schedule *s, int t, double gamma) {
  double snr = schedule_snr(s, t), least = snr < gamma ? snr : gamma;
  if (s->prediction == PREDICT_V) return least / (snr + 1);
  return snr > 0 ? least / snr : 1; /* the limit, where a rescaled schedule ends in pure noise */
}
