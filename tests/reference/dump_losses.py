"""losses.safetensors: every loss term with and without masks and its gradient; noise and targets; masks brought to latent size;
photographs resized. Definitions of the resampling: README.md, "Resampling"."""
import itertools

from common import *
from losses import add_noise, masked_mse, snr_weight, target
from PIL import Image
from torchvision.transforms import functional as F
from torchvision.transforms import InterpolationMode


def loss_terms(d):
    """Four examples, latents 5x6: whole mask, sparse mask, one element, empty mask."""
    abar = torch.tensor(load_model("sd1").abar.tolist())
    b, h, w = 4, 5, 6
    z, noise, pred = (rand(f"loss.{k}", b, 4, h, w) for k in ("z", "noise", "pred"))
    offset = rand("loss.offset", b, 4)
    t = torch.tensor([0, 120, 640, 999])
    mask = torch.ones(b, h, w, dtype=torch.uint8)
    mask[1] = rand("loss.mask", h, w) > 0.5
    mask[2] = 0
    mask[2, 4, 2] = 1
    mask[3] = 0
    noisy = noise + 0.1 * offset[:, :, None, None]  # offset noise: per image and channel
    d |= {"loss.z": z, "loss.noise": noise, "loss.offset": offset, "loss.pred": pred, "loss.timesteps": t, "loss.mask": mask,
          "loss.abar": abar, "loss.x": add_noise(abar, z, noise, t), "loss.x_offset": add_noise(abar, z, noisy, t)}
    for kind, masked, snr, off in itertools.product(("epsilon", "v"), (0, 1), (0, 1), (0, 1)):
        eps = noisy if off else noise
        p = pred.clone().requires_grad_(True)
        weight = snr_weight(abar, t, 5.0 if snr else None, kind == "v")
        loss = masked_mse(p, target(abar, z, eps, t, kind == "v"), mask[:, None] if masked else None, weight)
        loss.backward()
        key = f"loss.{kind}.mask{masked}.snr{snr}.offset{off}"
        d |= {f"{key}.value": loss, f"{key}.gradient": p.grad}
        d[f"loss.{kind}.snr_weight"] = snr_weight(abar, t, 5.0, kind == "v")
    d["loss.v_target"] = target(abar, z, noise, t, True)
    tokens, channels = 30, 8
    q, qstar = rand("loss.q", b, tokens, channels), rand("loss.qstar", b, tokens, channels)
    d |= {"pdm.q": q, "pdm.qstar": qstar, "pdm.mask": mask.flatten(1)}
    for masked in (0, 1):
        p = q.clone().requires_grad_(True)
        loss = masked_mse(p, qstar, mask.flatten(1)[:, :, None] if masked else None, torch.ones(b))
        loss.backward()
        d |= {f"pdm.mask{masked}.value": loss, f"pdm.mask{masked}.gradient": p.grad}


def as_tensor(picture):
    t = torch.tensor(list(picture.tobytes()), dtype=torch.uint8).view(picture.height, picture.width, -1)
    return t[:, :, 0] if picture.mode == "L" else t


def latent_masks(d):
    """A cropped mask (0 or 255) at latent size: transforms.Resize(BICUBIC) on a PIL picture of mode L, as in the reference,
    that is Pillow's antialiased bicubic (a = -0.5) in 8 bits; 1 where the 8-bit result is above zero."""
    shapes = {"blob64": (64, 64, 8, 8), "rect48x80": (48, 80, 6, 10), "thin64": (64, 64, 8, 8), "sparse32": (32, 32, 8, 8),
              "same8": (8, 8, 8, 8), "sparse40x24": (40, 24, 5, 3), "sparse96": (96, 96, 12, 12), "up6": (6, 9, 12, 18)}
    for name, (H, W, h, w) in shapes.items():
        y, x = torch.meshgrid(torch.arange(H), torch.arange(W), indexing="ij")
        if name.startswith("sparse"):
            m = rand(name, H, W) > 2.4
        elif name.startswith("thin"):
            m = ((x - y).abs() < 1) | (x == 3) | (y == 60)
        else:
            m = ((x - W * 0.45) / (W * 0.3)) ** 2 + ((y - H * 0.55) / (H * 0.25)) ** 2 < 1
        m = m.to(torch.uint8) * 255
        small = as_tensor(F.resize(Image.fromarray(m.numpy()), [h, w], InterpolationMode.BICUBIC))
        d |= {f"mask.{name}.in": m, f"mask.{name}.grey": small, f"mask.{name}.out": small > 0}
        print(name, "selected", int((small > 0).sum()), "of", h * w, "values of 1 or 2:", int(((small > 0) & (small < 3)).sum()))


def photographs(d):
    """transforms.Resize(side, BILINEAR) on a PIL picture: Pillow's fixed-point triangle filter, widened when shrinking."""
    for name, (h, w), side in (("down", (50, 37), 16), ("down_wide", (31, 64), 24), ("up", (11, 17), 24), ("odd", (33, 47), 20),
                               ("same", (16, 21), 16), ("large", (90, 61), 8)):
        im = (rand("photo." + name, h, w, 3) * 70 + 128).clamp(0, 255).to(torch.uint8)
        im[: h // 3, : w // 2] = torch.tensor([255, 0, 30], dtype=torch.uint8)
        out = F.resize(Image.fromarray(im.numpy()), side, InterpolationMode.BILINEAR)
        # A mask file takes the same way before it is cropped, but bicubic.
        grey = (im[:, :, 0] > 200).to(torch.uint8) * 255
        grey_out = F.resize(Image.fromarray(grey.numpy()), side, InterpolationMode.BICUBIC)
        d |= {f"photo.{name}.in": im, f"photo.{name}.out": as_tensor(out), f"photo.{name}.mask_in": grey,
              f"photo.{name}.mask_out": as_tensor(grey_out) > 0}
        centre = F.center_crop(out, side)
        d[f"photo.{name}.centre"] = as_tensor(centre)


def main():
    d = Dump()
    loss_terms(d)
    latent_masks(d)
    photographs(d)
    d.save(DATA / "losses.safetensors")


main()
