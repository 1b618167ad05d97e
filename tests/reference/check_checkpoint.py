"""Opens what the C program wrote with diffusers and compares pictures made from the same noise.

    check_checkpoint.py PROGRAM CHECKPOINT [--base MODEL] [--sampler pndm|ddim|dpmpp_2m|euler] [--steps 20] [--scale 1.0]

CHECKPOINT: a diffusers directory, or a LoRA file (then --base names the model's directory). Prints the peak signal-to-noise ratio of
each picture in dB; the exit code is 1 where one is below 50."""
import argparse
import subprocess
import tempfile

from common import *
import numpy as np
from diffusers import (DDIMScheduler, DPMSolverMultistepScheduler, EulerDiscreteScheduler, PNDMScheduler,
                       StableDiffusionPipeline)
from PIL import Image

SCHEDULERS = {"pndm": PNDMScheduler, "ddim": DDIMScheduler, "dpmpp_2m": DPMSolverMultistepScheduler,
              "euler": EulerDiscreteScheduler}
PROMPTS = ["a photo of sks dog", "a photo of sks dog on the beach", "a photo of dog in the snow"]


def psnr(a, b):
    mse = np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2)
    return float("inf") if mse == 0 else 10 * np.log10(255 ** 2 / mse)


def ours(o, noise, out):
    np.save(f"{out}/noise_in.npy", noise)
    cmd = [o.program, "sample", o.checkpoint, "--sampler", o.sampler, "--steps", str(o.steps), "--guidance", "5", "--count", "1",
           "--latents", f"{out}/noise_in.npy", "--dump", f"{out}/dump", "--out", f"{out}/pictures", "--batch-size", "1"]
    if o.base:
        cmd += ["--base", o.base, "--scale", str(o.scale)]
    for p in PROMPTS:
        cmd += ["--prompt", p]
    subprocess.run(cmd, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return [np.array(Image.open(p)) for p in sorted(Path(f"{out}/pictures").glob("*.png"))]


@torch.no_grad()
def theirs(o, noise):
    pipe = StableDiffusionPipeline.from_pretrained(o.base or o.checkpoint, safety_checker=None, torch_dtype=torch.float32)
    if o.base:
        pipe.load_lora_weights(o.checkpoint)
    pipe.scheduler = SCHEDULERS[o.sampler].from_config(pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)
    size = [n * 2 ** (len(pipe.vae.config.block_out_channels) - 1) for n in noise.shape[2:]]
    return [np.array(pipe(p, latents=torch.tensor(noise[i:i + 1]), num_inference_steps=o.steps, guidance_scale=5.0, height=size[0],
                          width=size[1], cross_attention_kwargs={"scale": o.scale} if o.base else None).images[0])
            for i, p in enumerate(PROMPTS)]


def main():
    a = argparse.ArgumentParser()
    a.add_argument("program")
    a.add_argument("checkpoint")
    a.add_argument("--base")
    a.add_argument("--sampler", default="ddim", choices=SCHEDULERS)
    a.add_argument("--steps", type=int, default=20)
    a.add_argument("--scale", type=float, default=1.0)
    a.add_argument("--size", type=int, nargs=2, default=(16, 16), help="of the latents")
    o = a.parse_args()
    noise = rand("check_checkpoint", len(PROMPTS), 4, *o.size).numpy()
    with tempfile.TemporaryDirectory() as out:
        pictures = ours(o, noise, out)
    values = [psnr(a, b) for a, b in zip(pictures, theirs(o, noise), strict=True)]
    print(o.sampler, " ".join(f"{v:.1f} dB" for v in values))
    sys.exit(int(min(values) < 50))


main()
