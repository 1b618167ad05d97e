"""sampler_math.safetensors: the samplers and the AdamW step without any network.

Samplers: the "network" is prediction = 0.6 x + 0.5 sin(t / 120) with x as the network would see it, so every number is
exactly known; names are <prediction>.<sampler>.<spacing>.<steps>.{timesteps,sigmas,latents}, spacing "default" where the config
names none. Schedules: alphas_cumprod of every kind. AdamW: ten steps of one vector with clipping and EMA, torch.optim.AdamW."""
import math

from common import *
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, EulerDiscreteScheduler, PNDMScheduler

SD = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1, set_alpha_to_one=False,
          clip_sample=False, skip_prk_steps=True)
KINDS = {"pndm": PNDMScheduler, "ddim": DDIMScheduler, "dpmpp_2m": DPMSolverMultistepScheduler,
         "euler": EulerDiscreteScheduler}


def sample(s, n, x):
    s.set_timesteps(n)
    x = x * s.init_noise_sigma
    for t in s.timesteps:
        e = 0.6 * s.scale_model_input(x, t) + 0.5 * math.sin(float(t) / 120)
        x = s.step(e, t, x).prev_sample
    return x


def samplers(d):
    d["x"] = rand("sampler_math.x", 6)
    for prediction in ("epsilon", "v_prediction"):
        for kind, make in KINDS.items():
            for spacing in ("default", "leading", "linspace", "trailing"):
                extra = {} if spacing == "default" else {"timestep_spacing": spacing}
                for n in (1, 2, 5, 20, 50, 333):
                    s = make.from_config({**SD, "prediction_type": prediction, **extra})
                    name = f"{prediction}.{kind}.{spacing}.{n}."
                    x = sample(s, n, d["x"].view(1, 1, 1, 6))
                    if not torch.isfinite(x).all():
                        print("left out:", name)
                        continue
                    d[name + "latents"] = x.flatten()
                    if prediction == "epsilon" and n < 333:
                        d[name + "timesteps"] = s.timesteps.float()
                        if hasattr(s, "sigmas"):
                            d[name + "sigmas"] = s.sigmas


def schedules(d):
    some = torch.linspace(0.001, 0.3, 20).tolist()
    for name, config in {"linear": dict(beta_schedule="linear"), "default": {},
                         "scaled_linear": dict(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012),
                         "squaredcos_cap_v2": dict(beta_schedule="squaredcos_cap_v2"),
                         "odd": dict(beta_schedule="scaled_linear", beta_start=0.001, beta_end=0.02, num_train_timesteps=77),
                         "trained": dict(trained_betas=some, num_train_timesteps=20),
                         "rescaled": dict(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012,
                                          rescale_betas_zero_snr=True)}.items():
        d[f"abar.{name}"] = DDIMScheduler(**config).alphas_cumprod
    d["trained_betas"] = torch.tensor(some)


def adamw(d):
    """Two tensors, one norm; every fourth gradient is large enough to be clipped. EMA as method.md section 4 says."""
    p = [torch.nn.Parameter(rand(f"adamw.p{k}", 19)) for k in range(2)]
    opt = torch.optim.AdamW(p, lr=1e-2, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2)
    ema = [q.detach().clone() for q in p]
    d |= {f"adamw.start.{k}": q.detach().clone() for k, q in enumerate(p)}
    norms = []
    for i in range(10):
        for k, q in enumerate(p):
            q.grad = rand(f"adamw.g{k}.{i}", 19) * (1.0 if i % 4 == 0 else 0.05)
            d[f"adamw.grad.{k}.{i}"] = q.grad.clone()
        norms.append(float(torch.nn.utils.clip_grad_norm_(p, 1.0)))
        opt.step()
        decay = min(0.4, (1 + i) / (10 + i))
        ema = [decay * a + (1 - decay) * q.detach() for a, q in zip(ema, p)]
        for k, q in enumerate(p):
            d[f"adamw.after.{k}.{i}"] = q.detach().clone()
    d["adamw.norms"] = torch.tensor(norms)
    d |= {f"adamw.ema.{k}": a for k, a in enumerate(ema)}


def main():
    d = Dump()
    samplers(d)
    schedules(d)
    adamw(d)
    d.save(DATA / "sampler_math.safetensors")


main()
