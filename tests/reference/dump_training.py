"""training_<case>.safetensors: ten AdamW steps from given inputs; schedules.safetensors: learning rates and EMA."""
from common import *
from diffusers.optimization import get_scheduler
from diffusers.training_utils import EMAModel
from losses import step_losses
from peft import LoraConfig

STEPS = 10
# The numbers of a case stand in the dump as `config.*`; text: the text encoder is trained too.
CASES = {
    "full": dict(model="sd1", slots=("instance", "prior", "pdm"), batch=1, accumulation=1, size=(8, 8), lr=1e-3,
                 schedule="constant", warmup=0, text=True, masks=True, max_grad_norm=1.0),
    "full_batch": dict(model="sd2", slots=("instance", "prior", "pdm"), batch=2, accumulation=2, size=(6, 4), lr=1e-3,
                       schedule="cosine", warmup=3, text=True, masks=True, snr_gamma=5.0, max_grad_norm=1.0),
    "lora": dict(model="sd1", slots=("instance", "pdm"), batch=1, accumulation=1, size=(8, 8), lr=5e-3,
                 schedule="constant", warmup=0, text=False, masks=True, max_grad_norm=1.0, rank=4, alpha=4),
    "lora_text": dict(model="sd2", slots=("instance", "prior", "pdm"), batch=1, accumulation=1, size=(4, 6), lr=5e-3,
                      schedule="constant_with_warmup", warmup=4, text=True, masks=False, max_grad_norm=0.3, rank=4,
                      alpha=8),
}
KEPT = ("conv_in.weight", "time_embedding.linear_1.bias", "down_blocks.0.resnets.0.time_emb_proj.weight",
        "down_blocks.1.downsamplers.0.conv.bias", "mid_block.attentions.0.transformer_blocks.0.ff.net.0.proj.weight",
        "up_blocks.1.resnets.0.conv_shortcut.weight", "up_blocks.3.attentions.1.transformer_blocks.0.attn1.to_q.weight",
        "up_blocks.3.attentions.1.norm.weight", "conv_out.bias", "text_model.embeddings.position_embedding.weight",
        "text_model.encoder.layers.0.self_attn.v_proj.weight", "text_model.final_layer_norm.bias")


def random_input(case, c, i, m, tokens, channels):
    """Inputs of micro-batch i; every array is stored under `step.<i>.`"""
    n, b, (h, w) = len(c["slots"]), c["batch"], c["size"]
    key = f"{case}.{i}."
    x = {"latents": rand(key + "z", n, b, 4, h, w), "noise": rand(key + "noise", n, b, 4, h, w),
         "timesteps": randint(key + "t", 1000, n, b),
         "ids": torch.stack([token_ids(m, "a photo of dog" if s == "prior" else "a photo of sks dog").expand(b, 77)
                             for s in c["slots"]]),
         "qstar": rand(key + "q", b, tokens, channels)}
    if c["masks"]:
        x["mask_dm"] = (rand(key + "dm", b, h, w) > 0.3).to(torch.uint8)
        x["mask_pdm"] = (rand(key + "pdm", b, tokens) > 0.3).to(torch.uint8)
        if i == 3:  # a crop that misses the subject: the term of that example is 0
            x["mask_dm"][0] = 0
    return x


def add_lora(case, c, m, dtype):
    """Rank-r adapters by PEFT; the initial values are set from names, so they do not depend on PEFT's own init."""
    def config(targets):
        return LoraConfig(r=c["rank"], lora_alpha=c["alpha"], target_modules=targets, init_lora_weights="gaussian")
    m.unet.add_adapter(config(["to_q", "to_k", "to_v", "to_out.0"]))
    if c["text"]:
        m.text_encoder.add_adapter(config(["q_proj", "k_proj", "v_proj", "out_proj"]))
    for net in (m.unet, m.text_encoder):
        for n, p in net.named_parameters():
            if "lora_" in n:  # down: normal, deviation 1/rank; up: 0
                p.data = (rand(f"{case}.{n}", *p.shape) / c["rank"] if "lora_A" in n else torch.zeros(p.shape)).to(dtype)


def trained(m):
    """Name -> parameter, the names as in a file: unet.X, text_encoder.text_model.X, without PEFT's `.default`."""
    out = {f"unet.{n}": p for n, p in m.unet.named_parameters() if p.requires_grad}
    out |= {f"text_encoder.{text_name(n)}": p for n, p in m.text_encoder.named_parameters() if p.requires_grad}
    return {n.replace(".default", "").replace(".base_layer", ""): p for n, p in sorted(out.items())}


def run(case, c, dtype):
    m = load_model(c["model"], dtype)
    lora = "rank" in c
    if lora:
        add_lora(case, c, m, dtype)
    else:
        m.unet.requires_grad_(True)
        m.text_encoder.requires_grad_(c["text"])
    tap = PdmTap(m.unet)
    params = trained(m)
    start = {n: p.detach().clone() for n, p in params.items()}
    opt = torch.optim.AdamW(params.values(), lr=c["lr"], betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2)
    sched = get_scheduler(c["schedule"], opt, num_warmup_steps=c["warmup"], num_training_steps=STEPS)
    cfg = dict(slots=c["slots"], prior_weight=1.0, pdm_weight=0.1, snr_gamma=c.get("snr_gamma"))
    tokens, channels = c["size"][0] * c["size"][1], m.unet.config.block_out_channels[0]
    d, losses, norms, lrs = Dump(), {}, [], []
    for step in range(STEPS):
        for a in range(c["accumulation"]):
            i = step * c["accumulation"] + a
            x = random_input(case, c, i, m, tokens, channels)
            d |= {f"step.{i}.{k}": v for k, v in x.items()}
            x = {k: v.to(dtype) if v.is_floating_point() else v for k, v in x.items()}
            loss = step_losses(m, x, tap, cfg)
            (loss["total"] / c["accumulation"]).backward()
            for k, v in loss.items():
                losses.setdefault(f"loss.{k}", []).append(float(v))
        norms.append(float(torch.nn.utils.clip_grad_norm_(params.values(), c["max_grad_norm"])))
        lrs.append(opt.param_groups[0]["lr"])
        opt.step()
        sched.step()
        opt.zero_grad()
    d |= {k: torch.tensor(v) for k, v in losses.items()}
    d |= {"grad_norm": torch.tensor(norms), "lr": torch.tensor(lrs)}
    if lora:
        d |= {f"init.{n}": p for n, p in start.items() if "lora_A" in n}
        d |= {f"final.{n}": p for n, p in params.items()}
    else:
        d |= {f"final.{n}": p for n, p in params.items() if n.split(".", 1)[1] in KEPT}
    stack = lambda f: torch.stack([f(n, p.detach()) for n, p in params.items()])
    d["final_sum"] = stack(lambda n, p: p.sum())
    d["final_norm"] = stack(lambda n, p: p.norm())
    d["final_change"] = stack(lambda n, p: (p - start[n]).norm())
    for k in ("batch", "accumulation", "warmup", "rank", "alpha"):
        if k in c:
            d[f"config.{k}"] = torch.tensor(c[k])
    for k in ("lr", "max_grad_norm", "snr_gamma"):
        if k in c:
            d[f"config.{k}"] = torch.tensor(c[k])
    return d, {n: p.detach() for n, p in params.items()}


def schedules():
    d, n, lr = Dump(), 60, 1e-4
    variants = [("constant", 0, {}), ("constant_with_warmup", 7, {}), ("linear", 0, {}), ("linear", 7, {}), ("cosine", 0, {}),
                ("cosine", 7, {}), ("cosine_with_restarts", 0, {"num_cycles": 1}), ("cosine_with_restarts", 7, {"num_cycles": 3}),
                ("polynomial", 0, {"power": 1.0}), ("polynomial", 7, {"power": 2.0})]
    for name, warmup, extra in variants:
        opt = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=lr)
        s = get_scheduler(name, opt, num_warmup_steps=warmup, num_training_steps=n, **extra)
        rates = []
        for _ in range(n):
            rates.append(opt.param_groups[0]["lr"])
            opt.step()
            s.step()
        d[".".join([name, f"warmup{warmup}", *(f"{k}{v:g}" for k, v in extra.items())])] = torch.tensor(rates)
    # EMA: values of a parameter after each of 40 updates, decay 0.75, so that both sides of the min() occur.
    p = torch.nn.Parameter(rand("ema.start", 4))
    ema = EMAModel([p], decay=0.75)
    values, kept, decays = [p.detach().clone()], [], []
    formula, kept_formula = p.detach().clone(), []
    for k in range(40):
        p.data = rand(f"ema.{k}", 4)
        ema.step([p])
        decay = min(0.75, (1 + k) / (10 + k))
        formula = formula - (1 - decay) * (formula - p.detach())
        values.append(p.detach().clone())
        kept.append(ema.shadow_params[0].clone())
        kept_formula.append(formula)
        decays.append(ema.cur_decay_value)
    d |= {"ema.values": torch.stack(values), "ema.diffusers": torch.stack(kept), "ema.formula": torch.stack(kept_formula),
          "ema.diffusers_decays": torch.tensor(decays)}
    d.save(DATA / "schedules.safetensors")
    print("decays", decays[:4])


def main(case):
    d, params = run(case, CASES[case], torch.float32)
    exact, exact_params = run(case, CASES[case], torch.float64)
    # How far rounding alone takes each parameter: large where the gradient is mathematically zero (AdamW divides
    # rounding noise by itself), e.g. keys' biases, and shifts in front of a group norm with one channel a group.
    d["final_spread"] = torch.stack([(params[n].double() - exact_params[n]).norm() for n in sorted(params)])
    d.save(DATA / f"training_{case}.safetensors")
    for k in d:
        if k.startswith("loss.") or k == "grad_norm":
            print(case, k, [f"{v:.5f}" for v in d[k][:10].tolist()], "fp32 against fp64",
                  f"{float(((d[k].double() - exact[k]) / exact[k].abs().clamp_min(1e-9)).abs().max()):.1e}")
    ratio = d["final_spread"] / d["final_change"]
    order = ratio.argsort(descending=True)[:24]
    print(case, "spread / change:", [(sorted(params)[i][-50:], f"{float(ratio[i]):.0e}") for i in order])


if __name__ == "__main__":
    for case in sys.argv[1:] or CASES:
        main(case)
    if not sys.argv[1:]:
        schedules()
