"""nets_<model>.safetensors: forward passes of the three networks, and every gradient of a fixed scalar loss."""
from common import *

# Latent heights and widths; 9x7 and 6x10 have odd sizes on the way down, so the UNet upsamples to the skip's size.
UNET_SIZES = [(8, 8), (8, 12), (6, 10), (9, 7)]
VAE_SIZES = [(8, 8), (8, 12), (5, 7)]
PROMPTS = ("a photo of sks dog", "A red car, on the beach!")
GRAD_SIZE = (6, 10)
# To save space: of gradients with more than 256 elements, only every k-th element in flat order, k prime.
SAMPLED = ("sd2",)


def prime_above(x):
    k = max(5, int(x) + 1)
    while any(k % i == 0 for i in range(2, k)):
        k += 1
    return k


def name(h, w):
    return f"{h}x{w}"


def loss_and_gradients(m, d, tap, autocast):
    """loss = sum(unet(x, t, text(ids)) * cotangent), through UNet and text encoder."""
    for p in [*m.unet.parameters(), *m.text_encoder.parameters()]:
        p.requires_grad_(True)
        p.grad = None
    x = d["grad.x"].clone().requires_grad_(True)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        h = text_states(m, d["grad.ids"])
        h.retain_grad()
        y = m.unet(x, d["grad.timesteps"], h).sample
    loss = (y.float() * d["grad.cotangent"]).sum()
    loss.backward()
    grads = {f"grad.unet.{n}": p.grad for n, p in m.unet.named_parameters()}
    grads |= {f"grad.text_encoder.{text_name(n)}": p.grad for n, p in m.text_encoder.named_parameters()}
    missing = [n for n, g in grads.items() if g is None]
    assert not missing, missing
    return {"grad.loss": loss, "grad.y": y, "grad.q": tap.q, "grad.dx": x.grad, "grad.dh": h.grad, **grads}


def main(model):
    m = load_model(model)
    d = Dump()
    tap = PdmTap(m.unet)
    factor = 2 ** (len(m.vae.config.block_out_channels) - 1)
    with torch.no_grad():
        d["text.ids"] = token_ids(m, *PROMPTS, "")
        d["text.states"] = h = text_states(m, d["text.ids"])
        for size in VAE_SIZES:
            px = rand(f"{model}.px", 1, 3, size[0] * factor, size[1] * factor).clamp(-1, 1)
            post = m.vae.encode(px).latent_dist
            z = rand(f"{model}.z", 1, 4, *size)
            key = f"vae.{name(*size)}"
            d |= {f"{key}.pixels": px, f"{key}.mean": post.mean, f"{key}.logvar": post.logvar,
                  f"{key}.z": z, f"{key}.decoded": m.vae.decode(z).sample}
        for size in UNET_SIZES:
            x = rand(f"{model}.x{size}", 3, 4, *size)
            key = f"unet.{name(*size)}"
            d[f"{key}.x"] = x
            d[f"{key}.timesteps"] = torch.tensor([0, 431, 999])
            d[f"{key}.y"] = m.unet(x, d[f"{key}.timesteps"], h).sample
            d[f"{key}.q"] = tap.q
    d["grad.ids"] = token_ids(m, *PROMPTS)
    d["grad.x"] = rand(f"{model}.gx", 2, 4, *GRAD_SIZE)
    d["grad.timesteps"] = torch.tensor([37, 820])
    d["grad.cotangent"] = rand(f"{model}.cot", 2, 4, *GRAD_SIZE)
    exact = loss_and_gradients(m, d, tap, False)
    exact = {k: v.detach().clone() for k, v in exact.items()}
    auto = {k: v.detach().float().clone() for k, v in loss_and_gradients(m, d, tap, True).items()}
    # bf16 autocast (CPU) against fp32: per parameter cosine and |a-b|/|b|, the names sorted by bytes.
    names = sorted(k for k in exact if k.startswith(("grad.unet.", "grad.text_encoder.")))
    flat = lambda g: torch.cat([g[k].double().flatten() for k in names])
    cos = lambda a, b: torch.nn.functional.cosine_similarity(a.double().flatten(), b.double().flatten(), 0)
    d["bf16.loss"] = auto["grad.loss"]
    d["bf16.cosine"] = torch.stack([cos(auto[k], exact[k]) for k in names])
    d["bf16.relative"] = torch.tensor([rel(auto[k], exact[k]) for k in names])
    d["bf16.norm"] = torch.stack([exact[k].norm() for k in names])
    whole = {"cosine": float(cos(flat(auto), flat(exact))), "relative": rel(flat(auto), flat(exact)),
             "y_relative": rel(auto["grad.y"], exact["grad.y"]), "loss_fp32": float(exact["grad.loss"]),
             "loss_bf16": float(auto["grad.loss"]), "gradient_norm": float(flat(exact).norm())}
    d["bf16.whole"] = torch.tensor([whole["cosine"], whole["relative"], whole["y_relative"]])
    # Most rows of the token table have no gradient: only those of the ids that occur are kept.
    table = "grad.text_encoder.text_model.embeddings.token_embedding.weight"
    rows = torch.unique(d["grad.ids"])
    assert exact[table].abs().sum(1).nonzero().numel() == len(rows)
    d["grad.token_rows"] = rows
    exact[table] = exact[table][rows]
    if model in SAMPLED:
        strides = [prime_above(exact[n].numel() / 256) if exact[n].numel() > 256 else 1 for n in names]
        exact |= {n: exact[n].flatten()[::k] if k > 1 else exact[n] for n, k in zip(names, strides)}
        d["grad.strides"] = torch.tensor(strides)
    d |= exact
    d.save(DATA / f"nets_{model}.safetensors")
    print(model, pdm_layer_name(m.unet), whole)
    zero = [n for n, v in zip(names, d["bf16.norm"]) if v < 1e-6 * whole["gradient_norm"]]
    print(len(zero), "gradients are zero but for rounding:", sorted({n.split(".", 2)[2][-40:] for n in zero})[:6])


for model in sys.argv[1:] or ("sd1", "sd2"):
    main(model)
