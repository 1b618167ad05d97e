"""samplers_<model>.safetensors: timesteps and sigmas at 20 and 50 steps; final latents and picture at 20 steps, guidance 7.5.

The loop is StableDiffusionPipeline's. PNDM and DDIM use `leading` timesteps. DPM-Solver++ and Euler come in both spacings:
X.from_config(pipe.scheduler.config) takes timestep_spacing from scheduler_config.json when it stands there (`leading` in
files written by current diffusers) and the class default `linspace` when it does not (the files on the hub)."""
from common import *
from diffusers import DPMSolverMultistepScheduler, EulerDiscreteScheduler, DDIMScheduler, PNDMScheduler

GUIDANCE, STEPS = 7.5, 20
SIZE = {"sd1": (8, 8), "sd2": (8, 12)}


def samplers(config):
    yield "pndm.leading", PNDMScheduler.from_config(config, skip_prk_steps=True)
    yield "ddim.leading", DDIMScheduler.from_config(config, clip_sample=False)
    for spacing in ("linspace", "leading"):
        yield f"dpmpp.{spacing}", DPMSolverMultistepScheduler.from_config(config, timestep_spacing=spacing)
        yield f"euler.{spacing}", EulerDiscreteScheduler.from_config(config, timestep_spacing=spacing)


@torch.no_grad()
def sample(m, s, noise, h):
    s.set_timesteps(STEPS)
    x = noise * s.init_noise_sigma
    for t in s.timesteps:
        two = s.scale_model_input(torch.cat([x, x]), t)
        uncond, cond = m.unet(two, t, h).sample.chunk(2)
        x = s.step(uncond + GUIDANCE * (cond - uncond), t, x).prev_sample
    return x


@torch.no_grad()
def main(model):
    m = load_model(model)
    d = Dump(ids=token_ids(m, "", "a photo of sks dog"), noise=rand(f"{model}.noise", 1, 4, *SIZE[model]))
    h = text_states(m, d["ids"])
    m64 = load_model(model, torch.float64)
    h64 = text_states(m64, d["ids"])
    for name, s in samplers(m.ddim.config):
        for n in (20, 50):
            s.set_timesteps(n)
            d[f"{name}.timesteps{n}"] = s.timesteps
            d[f"{name}.init_noise_sigma{n}"] = s.init_noise_sigma
            if hasattr(s, "sigmas"):
                d[f"{name}.sigmas{n}"] = s.sigmas
        x = sample(m, s, d["noise"], h)
        pixels = m.vae.decode(x / m.vae.config.scaling_factor).sample
        d[f"{name}.latents"] = x
        # method.md section 7, height x width x 3; Python's round goes to even at one half
        d[f"{name}.picture"] = ((pixels / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)[0].permute(1, 2, 0)
        exact = sample(m64, s, d["noise"].double(), h64)
        print(model, name, "std", float(x.std()), "fp32 against fp64", rel(x.double(), exact))
    d.save(DATA / f"samplers_{model}.safetensors")


for model in sys.argv[1:] or ("sd1", "sd2"):
    main(model)
