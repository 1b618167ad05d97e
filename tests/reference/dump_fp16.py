"""fp16.safetensors: how far PyTorch's fp16 autocast (CPU) with a scaled loss is from fp32, on the networks, inputs and loss of nets_<model>.safetensors.

<model>.whole: 1 - cosine of the whole gradient against fp32's, |a - b| / |b| of it, the same of the UNet's output, and the scale of the loss: the largest power of
two, 65536 at most, whose gradients are finite (torch.amp.GradScaler comes down to it)."""
from common import *


def gradients(m, d, scale):
    for p in [*m.unet.parameters(), *m.text_encoder.parameters()]:
        p.requires_grad_(True)
        p.grad = None
    with torch.autocast("cpu", torch.float16, enabled=scale > 0):
        y = m.unet(d["grad.x"], d["grad.timesteps"], text_states(m, d["grad.ids"])).sample
    loss = (y.float() * d["grad.cotangent"]).sum() * (scale or 1)
    loss.backward()
    g = [p.grad.double().flatten() / (scale or 1) for p in [*m.unet.parameters(), *m.text_encoder.parameters()]]
    return torch.cat(g), y.detach().double()


def main():
    out = Dump()
    for model in ("sd1", "sd2"):
        m, d = load_model(model), load_file(str(DATA / f"nets_{model}.safetensors"))
        exact, y = gradients(m, d, 0)
        scale = 65536.0
        half, half_y = gradients(m, d, scale)
        while not torch.isfinite(half).all():
            scale /= 2
            half, half_y = gradients(m, d, scale)
        cosine = torch.nn.functional.cosine_similarity(half, exact, 0)
        whole = [1 - cosine, (half - exact).norm() / exact.norm(), (half_y - y).norm() / y.norm(), torch.tensor(scale)]
        out[f"{model}.whole"] = torch.stack([x.double() for x in whole])
        print(model, [float(x) for x in whole])
    out.save(DATA / "fp16.safetensors")


main()
