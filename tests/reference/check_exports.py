"""Exports a checkpoint in every form and reads each with the Python library that it is for.

    check_exports.py PROGRAM MODEL [--lora LORA] [--steps 12] [--size 16 16]

MODEL: a diffusers directory (the demo's, a run's checkpoint, data/sd1, data/sd2); LORA: one that fits it (a run's; without it one is made up). For each
export, pictures from the same latents by the program and by diffusers, in dB of peak signal-to-noise ratio; the exit code is 1 where one is below 50.
Tensors of the single file are compared with the ones that ldm.py's own names give; those of kohya's file with its rule alpha / rank."""
import argparse
import json
import subprocess
import tempfile

from common import *
import numpy as np
from diffusers import DDIMScheduler, StableDiffusionPipeline
from ldm import kohya_key, single_file
from peft import PeftModel
from PIL import Image
from safetensors import safe_open

PROMPTS = ["a photo of sks dog", "a photo of dog in the snow"]


def psnr(a, b):
    mse = np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2)
    return float("inf") if mse == 0 else 10 * np.log10(255 ** 2 / mse)


class Check:
    def __init__(self, o, out):
        self.o, self.out, self.failed = o, Path(out), False
        self.noise = rand("check_exports", len(PROMPTS), 4, *o.size)
        np.save(self.out / "noise.npy", self.noise.numpy())

    def run(self, *command):
        r = subprocess.run([self.o.program, *map(str, command)], capture_output=True, text=True)
        if r.returncode != 0:
            sys.exit(f"{' '.join(map(str, command))}: {r.stderr}")
        return r.stdout

    def export(self, *arguments):
        return Path(self.run("export", *arguments).splitlines()[0])

    def ours(self, checkpoint, base=None, scale=1.0):
        out = self.out / f"pictures-{len(list(self.out.iterdir()))}"
        command = ["sample", checkpoint, "--sampler", "ddim", "--steps", self.o.steps, "--guidance", 5, "--latents",
                   self.out / "noise.npy", "--out", out, "--batch-size", 1]
        command += ["--base", base, "--scale", scale] if base else []
        for p in PROMPTS:
            command += ["--prompt", p]
        self.run(*command)
        return [np.array(Image.open(p)) for p in sorted(out.glob("*.png"))]

    @torch.no_grad()
    def theirs(self, pipe, scale=None):
        # (a PNDM config need not say what DDIM's class would take for granted)
        pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config, clip_sample=False)
        pipe.set_progress_bar_config(disable=True)
        f = 2 ** (len(pipe.vae.config.block_out_channels) - 1)
        h, w = (n * f for n in self.o.size)
        kw = {"cross_attention_kwargs": {"scale": scale}} if scale is not None else {}
        return [np.array(pipe(p, latents=self.noise[i:i + 1].clone(), num_inference_steps=self.o.steps, guidance_scale=5.0, height=h,
                              width=w, **kw).images[0]) for i, p in enumerate(PROMPTS)]

    def compare(self, what, a, b):
        values = [psnr(x, y) for x, y in zip(a, b, strict=True)]
        self.note(what, " ".join(f"{v:.1f} dB" for v in values), min(values) >= 50)

    def note(self, what, text, good):
        self.failed |= not good
        print(f"{what:46} {text}{'' if good else '   FAILED'}", flush=True)


def pipeline(path, **kw):
    return StableDiffusionPipeline.from_pretrained(path, safety_checker=None, torch_dtype=torch.float32, local_files_only=True, **kw)


def single(path):
    return StableDiffusionPipeline.from_single_file(str(path), config=str(path.with_suffix("")) + "-config", safety_checker=None,
                                                    torch_dtype=torch.float32, local_files_only=True)


def made_up_lora(pipe, out):
    """Rank 4, alpha 8, attention of both networks, in PEFT's names: enough to change a picture a good deal."""
    tensors = {}
    for network, net, ends in (("unet", pipe.unet, ("to_q", "to_k", "to_v", "to_out.0")),
                               ("text_encoder", pipe.text_encoder, ("q_proj", "k_proj", "v_proj", "out_proj"))):
        for name, m in net.named_modules():
            if name.endswith(ends) and isinstance(m, torch.nn.Linear):
                key = f"{network}.{text_name(name) if network == 'text_encoder' else name}"
                tensors[f"{key}.lora_A.weight"] = 0.3 * rand(key + "a", 4, m.in_features) / m.in_features ** 0.5
                tensors[f"{key}.lora_B.weight"] = 0.3 * rand(key + "b", m.out_features, 4)
    meta = {f"{n}.{k}": v for n in ("unet", "text_encoder") for k, v in (("r", 4), ("lora_alpha", 8))}
    path = out / "lora.safetensors"
    save_file(tensors, str(path), metadata={"format": "pt", "lora_adapter_metadata": json.dumps(meta)})
    return path


def names_and_values(c, path, pipe):
    """The single file's tensors against independent names and the pipeline's own values."""
    want = single_file(pipe.unet, pipe.vae, pipe.text_encoder, pipe.text_encoder.config.hidden_act == "gelu")
    have = load_file(str(path))
    want = {k: t for k, t in want.items() if not k.endswith(("text_projection", "logit_scale"))}
    wrong = [k for k in want if k not in have or have[k].shape != want[k].shape or not torch.equal(have[k].to(want[k].dtype), want[k])]
    extra = [k for k in have if k not in want and not k.endswith(("text_projection", "logit_scale"))]
    c.note("single-file: names, shapes, values", f"{len(want)} tensors, {len(wrong)} wrong, {len(extra)} too many",
           not wrong and not extra)
    with safe_open(str(path), "pt") as f:
        meta = f.metadata()
    c.note("single-file: metadata", f"{meta['modelspec.architecture']}, {meta['modelspec.prediction_type']}", meta["format"] == "pt")


def kohya_by_rule(c, pipe, path):
    """kohya's rule: weight += alpha / rank * up down, names from dotted paths."""
    tensors = load_file(str(path))
    used = 0
    for network, net in (("unet", pipe.unet), ("text_encoder", pipe.text_encoder)):
        for name, m in net.named_modules():
            key = kohya_key(network, text_name(name) if network == "text_encoder" else name)
            if f"{key}.lora_down.weight" not in tensors:
                continue
            down, up, alpha = (tensors[f"{key}.{x}"].float() for x in ("lora_down.weight", "lora_up.weight", "alpha"))
            m.weight.data += float(alpha) / down.shape[0] * (up.flatten(1) @ down.flatten(1)).reshape(m.weight.shape)
            used += 3
    with safe_open(str(path), "pt") as f:
        meta = f.metadata()
    c.note("lora-kohya: every tensor has its module", f"{used} of {len(tensors)}; ss_v2 {meta['ss_v2']}, dim {meta['ss_network_dim']}",
           used == len(tensors))
    return pipe


def check_models(c, model):
    pipe = pipeline(model)
    path = c.export(model, "--as", "single-file", "--out", c.out / "one.safetensors", "--dtype", "fp32")
    names_and_values(c, path, pipe)
    ours = c.ours(model)
    c.compare("single-file: program / program, directory", c.ours(path), ours)
    c.compare("single-file: diffusers from_single_file", c.theirs(single(path)), ours)
    back = c.export(path, "--as", "diffusers", "--out", c.out / "back")
    c.compare("diffusers, from the single file", c.theirs(pipeline(back)), ours)
    for dtype in ("fp16", "bf16"):
        path = c.export(model, "--as", "single-file", "--out", c.out / f"{dtype}.safetensors", "--dtype", dtype)
        c.compare(f"single-file {dtype}: diffusers", c.theirs(single(path)), c.ours(path))


def check_loras(c, model, lora):
    ours = c.ours(lora, model, 0.8)
    base = c.ours(model)
    c.note("the LoRA changes the pictures", f"{min(psnr(a, b) for a, b in zip(ours, base)):.1f} dB", min(map(psnr, ours, base)) < 40)
    for form in ("lora-diffusers", "lora-diffusers-old", "lora-kohya"):
        path = c.export(lora, "--base", model, "--as", form, "--out", c.out / f"{form}.safetensors", "--dtype", "fp32")
        c.compare(f"{form}: program", c.ours(path, model, 0.8), ours)
        pipe = pipeline(model)
        pipe.load_lora_weights(str(path))
        c.compare(f"{form}: diffusers", c.theirs(pipe, 0.8), ours)
    whole = c.ours(lora, model, 1.0)
    c.compare("lora-kohya: by kohya's rule", c.theirs(kohya_by_rule(c, pipeline(model), path)), whole)
    path = c.export(lora, "--base", model, "--as", "lora-peft", "--out", c.out / "peft", "--dtype", "fp32")
    c.compare("lora-peft: program", c.ours(path, model, 0.8), ours)
    pipe = pipeline(model)
    for name in ("unet", "text_encoder"):
        if (path / name).exists():
            adapted = PeftModel.from_pretrained(getattr(pipe, name), str(path / name))
            missing = [k for k, p in adapted.named_parameters() if "lora_B" in k and not p.any()]
            c.note(f"lora-peft: {name}", f"{sum('lora_A' in k for k, _ in adapted.named_parameters())} modules, {len(missing)} empty", not missing)
            setattr(pipe, name, adapted.merge_and_unload())
    c.compare("lora-peft: peft", c.theirs(pipe), whole)
    path = c.export(model, "--merge", lora, "--scale", 0.8, "--as", "diffusers", "--out", c.out / "merged", "--dtype", "fp32")
    c.compare("--merge, diffusers: program", c.ours(path), ours)
    c.compare("--merge, diffusers: diffusers", c.theirs(pipeline(path)), ours)
    path = c.export(model, "--merge", lora, "--scale", 0.8, "--as", "single-file", "--out", c.out / "merged1.safetensors", "--dtype", "fp32")
    c.compare("--merge, single-file: diffusers", c.theirs(single(path)), ours)


def main():
    a = argparse.ArgumentParser()
    a.add_argument("program")
    a.add_argument("model")
    a.add_argument("--lora")
    a.add_argument("--steps", type=int, default=12)
    a.add_argument("--size", type=int, nargs=2, default=(16, 16), help="of the latents")
    o = a.parse_args()
    with tempfile.TemporaryDirectory() as out:
        c = Check(o, out)
        check_models(c, o.model)
        check_loras(c, o.model, o.lora or made_up_lora(pipeline(o.model), c.out))
    sys.exit(int(c.failed))


main()
