/* Samplers as the diffusers schedulers compute them, in fp32: PNDM (PLMS, skip_prk_steps), DDIM (eta 0), DPM-Solver++ 2M midpoint,
 * Euler.
 * A sampler is plain arithmetic on latents; it knows no network. Equal to diffusers' PNDMScheduler, DDIMScheduler,
 * DPMSolverMultistepScheduler (defaults, lower_order_final, final sigma 0) and EulerDiscreteScheduler, each made with from_config from
 * the model's scheduler_config.json. timestep_spacing is the file's where it stands there (files written by current diffusers); else (the
 * files on the hub) each class's own default: leading for PNDM and DDIM, linspace for DPM-Solver++ and Euler. */
#ifndef PDMBOOTH_DIFFUSION_SAMPLER_H
#define PDMBOOTH_DIFFUSION_SAMPLER_H

#include "diffusion/schedule.h"
#include "nets/ctx.h"

enum sampler_kind { SAMPLER_PNDM, SAMPLER_DDIM, SAMPLER_DPMPP_2M, SAMPLER_EULER, SAMPLER_KINDS };
extern const char *const sampler_names[SAMPLER_KINDS]; /* "pndm", "ddim", "dpmpp_2m", "euler" */
bool sampler_by_name(const char *name, enum sampler_kind *out);

struct sampler; /* timesteps and the history of one batch */

/* steps: as the user asks (PNDM evaluates steps + 1 times). History tensors come from the pool of the ctx given to sampler_step and are given
   back by sampler_delete. s must outlive the sampler. ERR_USAGE where the schedule has not that many different timesteps. */
struct sampler *sampler_new(enum sampler_kind kind, const struct schedule *s, int steps, struct err *e);
void sampler_delete(struct sampler *s, struct ctx *c);
int sampler_evaluations(const struct sampler *s);
float sampler_timestep(const struct sampler *s, int i); /* what the network is told at evaluation i */
double sampler_init_sigma(const struct sampler *s);     /* initial noise is multiplied by this */
/* Input of the network at evaluation i: out = x scaled (Euler: x / sqrt(sigma^2 + 1)), others a copy. F32. */
void sampler_input(struct sampler *s, struct ctx *c, int i, struct tensor *out, const struct tensor *x);
/* Noise level sigma = sqrt((1 - abar) / abar) at evaluation i, 0 after the last: DPM-Solver++ and Euler only. */
float sampler_sigma(const struct sampler *s, int i);
/* x <- one step on, given the (guided) prediction of the network, both F32 and of one shape; prediction is overwritten. Evaluations go from 0 up. */
void sampler_step(struct sampler *s, struct ctx *c, int i, struct tensor *x, struct tensor *prediction);

#endif
