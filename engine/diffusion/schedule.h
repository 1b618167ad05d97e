/* The noise process: betas, alphas_cumprod, prediction types. method.md section 3. */
#ifndef PDMBOOTH_DIFFUSION_SCHEDULE_H
#define PDMBOOTH_DIFFUSION_SCHEDULE_H

#include "formats/json.h"

enum prediction { PREDICT_EPSILON, PREDICT_V };
enum { SCHEDULE_MAX = 4000 };

struct schedule {
  int steps; /* num_train_timesteps, 1000 */
  enum prediction prediction;
  int steps_offset;      /* 1 for SD; 1 also where the file has 0 or nothing: diffusers' pipelines correct it so */
  bool set_alpha_to_one; /* false for SD; read only where set_alpha_given, else each sampler has its own default */
  bool set_alpha_given;
  double beta[SCHEDULE_MAX]; /* float32 values as PyTorch computes them */
  double abar[SCHEDULE_MAX]; /* alphas_cumprod, float32 values as PyTorch computes them */
  char spacing[16];          /* "leading", "linspace", "trailing"; "": not in the file, each sampler has its own default */
  char class_name[64];       /* "_class_name" of the config */
};

/* Reads scheduler_config.json: linear, scaled_linear, squaredcos_cap_v2, trained_betas. rescale_betas_zero_snr too. ERR_INPUT for what it cannot do
   (prediction_type "sample"), by file and key. */
bool schedule_from_json(struct schedule *s, const struct json *j, struct err *e);
/* Without a file: spacing "", steps_offset 1, set_alpha_to_one false. beta_schedule: one of the names above that needs no list. */
bool schedule_make(struct schedule *s, const char *beta_schedule, double beta_start, double beta_end, int steps, enum prediction p,
                   struct err *e);
double schedule_snr(const struct schedule *s, int t); /* abar / (1 - abar) */
/* Weight of min-SNR (arXiv 2303.09556): min(snr, gamma)/snr for epsilon, min(snr, gamma)/(snr + 1) for v. */
double schedule_min_snr(const struct schedule *s, int t, double gamma);

#endif
