"""pdm_<model>.safetensors: target features Q* of method.md section 5 (999 steps of inversion, 999 of reconstruction), computed
directly with the formulas; --check compares with fp64. A scheduler of diffusers is not used: DDIMInverseScheduler's levels differ by one."""
from common import *
from PIL import Image

PHOTOS = {"sd1": ("mantel_clock/1.jpg", "poodle/2.jpg"), "sd2": ("poodle/1.jpg",)}
ROWS = {"sd1": (0, 37, 63), "sd2": (5, 42)}  # tokens (8x8, row by row) kept at every t
FULL = (0, 1, 2, 50, 137, 250, 431, 500, 750, 900, 998, 999)  # t with whole maps


def pixels(path, side):
    """Short side to `side` (bilinear, antialiased), centre crop; [3, side, side] u8."""
    im = Image.open(path).convert("RGB")
    w, h = im.size
    w, h = (side, int(side * h / w)) if w <= h else (int(side * w / h), side)
    im = im.resize((w, h), Image.BILINEAR)
    left, top = int(round((w - side) / 2)), int(round((h - side) / 2))
    return torch.tensor(list(im.crop((left, top, left + side, top + side)).tobytes()),
                        dtype=torch.uint8).view(side, side, 3).permute(2, 0, 1)


def eps_of(m, out, x, abar):
    """Noise from the network's output for a sample at level abar."""
    return abar.sqrt() * out + (1 - abar).sqrt() * x if m.v_prediction else out


@torch.no_grad()
def trajectory(m, px, h):
    """z0, the latents x_t of the inversion (t = 0..999) and of the reconstruction, Q at every t of the latter."""
    tap, abar = PdmTap(m.unet), m.abar.to(h.dtype)
    h = h.expand(len(px), -1, -1)
    x = z0 = m.vae.encode(px).latent_dist.mode() * m.vae.config.scaling_factor

    def move(x, out, a, b):
        eps = eps_of(m, out, x, a)
        return b.sqrt() * (x - (1 - a).sqrt() * eps) / a.sqrt() + (1 - b).sqrt() * eps

    up = [x]
    for t in range(1, 1000):
        x = move(x, m.unet(x, t, h).sample, abar[t - 1], abar[t])
        up.append(x)
    down, q = {999: x}, {}
    for t in range(999, 0, -1):
        out = m.unet(x, t, h).sample
        q[t] = tap.q
        x = move(x, out, abar[t], abar[t - 1])
        down[t - 1] = x
    m.unet(x, 0, h)
    q[0] = tap.q
    stack = lambda s: torch.stack([s[t] for t in range(1000)], 1)  # [photograph, t, ...]
    return z0, stack(up), stack(down), stack(q)


def main(model):
    results = []
    for dtype in (torch.float32, torch.float64) if "--check" in sys.argv else (torch.float32,):
        m = load_model(model, dtype)
        side = 8 * 2 ** (len(m.vae.config.block_out_channels) - 1)
        raw = torch.stack([pixels(SHARED / "demo-subject" / p, side) for p in PHOTOS[model]])
        ids = token_ids(m, "a photo of clock")
        with torch.no_grad():
            h = text_states(m, ids)
        results.append(trajectory(m, raw.to(dtype) / 127.5 - 1, h))
    z0, up, down, q = results[0]
    full, rows = list(FULL), list(ROWS[model])
    d = Dump(pixels=raw, ids=ids, z0=z0, inverted=up[:, 999], reconstructed=down[:, 0],
             rows=torch.tensor(rows), full_t=torch.tensor(full),
             inversion_rows=up.flatten(3)[:, :, :, rows[:1]], reconstruction_rows=down.flatten(3)[:, :, :, rows[:1]],
             inversion_full=up[:, full], reconstruction_full=down[:, full],
             q_rows=q[:, :, rows], q_full=q[:, full])
    d.save(DATA / f"pdm_{model}.safetensors")
    for name, a, b in zip(("z0", "inversion", "reconstruction", "q"), results[0], results[-1]):
        per_t = [rel(a[:, t].double(), b[:, t]) for t in (0, 1, 100, 500, 999)] if name != "z0" else []
        print(model, name, "std", float(a.std()), "fp32 against fp64", rel(a.double(), b), per_t)
    print("back at the start:", rel(down[:, 0], z0))


for model in PHOTOS:
    main(model)
