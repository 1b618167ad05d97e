"""replay.py MODEL DUMPDIR: computes again, with PyTorch, what `pdmbooth-tui --dump-steps N --dump DUMPDIR` wrote.

The names are in README.md, "Dump of a run". Every step is checked on its own: losses and gradients at the parameters of the
step before (step 0: the start), the update from the dumped gradients with torch's AdamW, whose moments run on.
Exit code 1 where an error passes its tolerance. `replay.py --example full MODEL DUMPDIR` writes such a dump with PyTorch."""
import argparse

from common import *
from losses import add_noise, masked_mse, snr_weight, target
from peft import LoraConfig
from safetensors import safe_open

KINDS = ("instance", "prior", "pdm")


def read(path):
    with safe_open(str(path), "pt") as f:
        return {k: f.get_tensor(k) for k in f.keys()}, f.metadata()


def parameters(m):
    """All parameters by their names in the dump."""
    out = {f"unet.{n}": p for n, p in m.unet.named_parameters()}
    out |= {f"text_encoder.{text_name(n)}": p for n, p in m.text_encoder.named_parameters()}
    return {n.replace(".default", "").replace(".base_layer", ""): p for n, p in out.items()}


def add_adapters(m, names, rank, alpha):
    """Adapters exactly on the modules that the dump names."""
    for net, part in ((m.unet, "unet."), (m.text_encoder, "text_encoder.")):
        modules = [n.removeprefix(part).removesuffix(".lora_A.weight") for n in names
                   if n.startswith(part) and n.endswith(".lora_A.weight")]
        if net is m.text_encoder and not any(n.startswith("text_model.") for n, _ in net.named_modules()):
            modules = [n.removeprefix("text_model.") for n in modules]
        if modules:
            net.add_adapter(LoraConfig(r=rank, lora_alpha=alpha, target_modules=modules))


def losses_of(m, x, tap, meta):
    """One micro-batch: x has the tensors of `input.<m>.`, one row a slot."""
    kind, t, z, noise = x["kind"].tolist(), x["timesteps"].long(), x["latents"], x["noise"]
    h = m.text_encoder(x["ids"].long()).last_hidden_state
    out = m.unet(add_noise(m.abar, z, noise, t), t, h).sample
    goal = target(m.abar, z, noise, t, m.v_prediction)
    weight = snr_weight(m.abar, t, float(meta["min_snr"]) or None, m.v_prediction)
    loss = {}
    for k, name in enumerate(KINDS[:2]):
        rows = [i for i, v in enumerate(kind) if v == k]
        if rows:
            loss[name] = masked_mse(out[rows], goal[rows], x["mask"][rows][:, None], weight[rows])
    rows = [i for i, v in enumerate(kind) if v == 2]
    if rows:
        loss["pdm"] = masked_mse(tap.q[rows], x["qstar"], x["mask_pdm"][:, :, None], torch.ones(len(rows)))
    loss["total"] = (loss.get("instance", 0) + float(meta["prior_weight"]) * loss.get("prior", 0)
                     + float(meta["pdm_weight"]) * loss.get("pdm", 0))
    return loss


@torch.no_grad()
def latents_of(m, pixels, normals):
    post = m.vae.encode(pixels).latent_dist
    return (post.mean + post.std * normals) * m.vae.config.scaling_factor


def micro_batches(tensors):
    n = len({k.split(".")[1] for k in tensors if k.startswith("input.")})
    return [{k.split(".", 2)[2]: v for k, v in tensors.items() if k.startswith(f"input.{i}.")} for i in range(n)]


class Replay:
    def __init__(self, model, start, meta):
        self.m = load_model(model)
        names = [k.removeprefix("param.") for k in start if k.startswith("param.")]
        if meta["mode"] == "lora":
            add_adapters(self.m, names, int(meta["rank"]), float(meta["alpha"]))
        self.tap = PdmTap(self.m.unet, meta.get("pdm_layer"))
        everything = parameters(self.m)
        self.params = {n: everything[n].requires_grad_(True) for n in names}
        self.set(start)
        self.opt = torch.optim.AdamW(self.params.values(), lr=1.0, betas=(0.9, 0.999), eps=1e-8,
                                     weight_decay=float(meta["weight_decay"]))

    def set(self, tensors):
        for n, p in self.params.items():
            p.data.copy_(tensors["param." + n])

    def gradients(self, tensors, meta):
        """Loss terms of every micro-batch; leaves the sum of gradients in the parameters."""
        self.opt.zero_grad()
        parts, out = micro_batches(tensors), {}
        for i, x in enumerate(parts):
            loss = losses_of(self.m, x, self.tap, meta)
            (loss["total"] / len(parts)).backward()
            out |= {f"loss.{i}.{k}": v.detach().reshape(1) for k, v in loss.items()}
        for p in self.params.values():
            p.grad = torch.zeros_like(p) if p.grad is None else p.grad
        return out

    def update(self, lr, limit):
        """The step with the gradients now in the parameters; returns their norm before clipping."""
        norm = torch.nn.utils.clip_grad_norm_(self.params.values(), limit)
        self.opt.param_groups[0]["lr"] = lr
        self.opt.step()
        return norm


def check(r, tensors, meta):
    """Relative errors of one step."""
    e = {"latents": 0.0}
    for x in micro_batches(tensors):
        rows = x["from_pixels"].nonzero().flatten()
        if len(rows):
            got = latents_of(r.m, x["pixels"][rows], x["posterior"][rows])
            e["latents"] = max(e["latents"], rel(x["latents"][rows], got))
    mine = r.gradients(tensors, meta)
    e["loss"] = max(float((tensors[k] - v).abs() / v.abs().clamp_min(1e-12)) for k, v in mine.items())
    whole = torch.stack([p.grad.norm() for p in r.params.values()]).norm()
    diffs = {n: float((p.grad - tensors["grad." + n]).norm() / whole) for n, p in r.params.items()}
    e["gradient"] = sum(d * d for d in diffs.values()) ** 0.5
    e["worst gradient"] = max(diffs, key=diffs.get)
    for n, p in r.params.items():
        p.grad.copy_(tensors["grad." + n])
    lr = float(tensors["lr"])
    norm = r.update(lr, float(meta["max_grad_norm"]))
    e["norm"] = float((tensors["grad_norm"] - norm).abs() / norm)
    # in units of the learning rate, beyond four roundings of the parameter itself
    over = {n: float((((p - tensors["param." + n]).abs() - 5e-7 * p.abs()).clamp_min(0) / max(lr, 1e-30)).max())
            for n, p in r.params.items()}
    e["parameter"] = max(over.values())
    e["worst parameter"] = max(over, key=over.get)
    r.set(tensors)
    return e


def example(model, folder, lora):
    """Two steps on a tiny model, written as the C program does; full fine-tune or LoRA."""
    m = load_model(model)
    meta = {"format": "pt", "mode": "full", "prior_weight": "1", "pdm_weight": "0.1", "min_snr": "0",
            "max_grad_norm": "1", "weight_decay": "0.01", "pdm_layer": pdm_layer_name(m.unet)}
    side, c = 8 * 2 ** (len(m.vae.config.block_out_channels) - 1), m.unet.config.block_out_channels[0]
    start = {"param." + n: p.clone() for n, p in parameters(m).items()}
    if lora:
        meta |= {"mode": "lora", "rank": "4", "alpha": "8"}
        ends = (".to_q.weight", ".to_k.weight", ".to_v.weight", ".to_out.0.weight", ".q_proj.weight", ".v_proj.weight")
        start = {n.removesuffix("weight") + k: v for n, p in start.items() if n.endswith(ends)
                 for k, v in (("lora_A.weight", rand(n, 4, p.shape[1]) / 4), ("lora_B.weight", 0.1 * rand(n, p.shape[0], 4)))}
    folder.mkdir(parents=True, exist_ok=True)
    save_file(start, str(folder / "step-000000.safetensors"), metadata=meta)
    r = Replay(model, start, meta)
    for step in (1, 2):
        key = f"replay.{step}."
        x = {"kind": torch.tensor([0, 1, 2], dtype=torch.int32), "example": torch.zeros(3, dtype=torch.int32),
             "timesteps": randint(key + "t", 1000, 3).int(), "pixels": rand(key + "px", 3, 3, side, side).clamp(-1, 1),
             "ids": token_ids(m, "a photo of sks dog", "a photo of dog", "a photo of sks dog").int(),
             "posterior": rand(key + "post", 3, 4, 8, 8), "noise": rand(key + "n", 3, 4, 8, 8),
             "from_pixels": torch.ones(3, dtype=torch.uint8), "mask": (rand(key + "m", 3, 8, 8) > 0).to(torch.uint8),
             "mask_pdm": (rand(key + "p", 1, 64) > 0).to(torch.uint8), "qstar": rand(key + "q", 1, 64, c)}
        x["latents"] = latents_of(m, x["pixels"], x["posterior"])
        out = {f"input.0.{k}": v for k, v in x.items()}
        out |= r.gradients(out, meta)
        out |= {"grad." + n: p.grad.clone() for n, p in r.params.items()}
        out["lr"] = torch.tensor([1e-4])
        out["grad_norm"] = r.update(1e-4, 1.0).reshape(1)
        out |= {"param." + n: p.detach().clone() for n, p in r.params.items()}
        save_file({k: v.contiguous() for k, v in out.items()}, str(folder / f"step-{step:06d}.safetensors"), metadata=meta)


def main():
    a = argparse.ArgumentParser()
    a.add_argument("model", type=Path)
    a.add_argument("dump", type=Path)
    a.add_argument("--tolerance", type=float, default=1e-4, help="latents, losses, gradients, norm; relative")
    a.add_argument("--parameter-tolerance", type=float, default=1e-2, help="parameters, in units of the learning rate")
    a.add_argument("--example", choices=("full", "lora"), help="write a dump of a tiny model instead")
    o = a.parse_args()
    if o.example:
        return example(o.model, o.dump, o.example == "lora")
    files = sorted(o.dump.glob("step-*.safetensors"))
    if len(files) < 2:
        sys.exit(f"{o.dump}: no step-000000.safetensors with a step after it")
    start, meta = read(files[0])
    r, bad = Replay(o.model, start, meta), False
    for f in files[1:]:
        e = check(r, *read(f))
        bad |= not e["parameter"] <= o.parameter_tolerance
        bad |= any(not v <= o.tolerance for k, v in e.items() if k in ("latents", "loss", "gradient", "norm"))
        print(f.name, " ".join(f"{k} {v:.1e}" if isinstance(v, float) else f"({k} {v})" for k, v in e.items()))
    print("FAILED" if bad else "ok", len(files) - 1, "steps")
    sys.exit(bad)


main()
