"""Photographs of made-up subjects with true masks, to measure automatic masks on (tests/reference/README.md, "Masks").

    python make_mask_subjects.py OUT [--first 0] [--count 20] [--font NotoColorEmoji.ttf] [--size 256]

Writes OUT/NNN-CLASS/K.jpg and OUT/NNN-CLASS/masks/K.png. A subject is a drawing of random shapes and colours (or, with --font, a
glyph of a colour font), put on backgrounds of its own: studio, wood, grass, stones, road, rug, desert, snow, beach, fabric, forest, night,
clutter; flat, textured or crowded. Areas go from about 6 to 60 percent; some touch the border; most throw a shadow, which is not the subject.
Everything is a function of the subject's number."""
import argparse
import math
import os

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

GLYPHS = [("dog", "\U0001F415"), ("dog", "\U0001F429"), ("cat", "\U0001F408"), ("cow", "\U0001F404"), ("pig", "\U0001F416"), ("horse", "\U0001F40E"),
          ("elephant", "\U0001F418"), ("rabbit", "\U0001F407"), ("duck", "\U0001F986"), ("penguin", "\U0001F427"), ("turtle", "\U0001F422"),
          ("fish", "\U0001F41F"), ("car", "\U0001F697"), ("truck", "\U0001F69A"), ("bus", "\U0001F68C"), ("rocket", "\U0001F680"), ("boat", "⛵"),
          ("cake", "\U0001F382"), ("cup", "☕"), ("hat", "\U0001F3A9"), ("guitar", "\U0001F3B8"), ("chair", "\U0001FA91"), ("book", "\U0001F4D5"),
          ("balloon", "\U0001F388"), ("backpack", "\U0001F392"), ("clock", "⏰"), ("clock", "\U0001F570"), ("sneaker", "\U0001F45F"),
          ("boot", "\U0001F462"), ("teapot", "\U0001FAD6"), ("vase", "\U0001F3FA"), ("candle", "\U0001F56F"), ("glasses", "\U0001F453"),
          ("bowl", "\U0001F963"), ("can", "\U0001F96B"), ("apple", "\U0001F34E"), ("banana", "\U0001F34C"), ("fox", "\U0001F98A"), ("bear", "\U0001F43B"),
          ("lion", "\U0001F981"), ("stuffed animal", "\U0001F9F8"), ("cat", "\U0001F431"), ("car", "\U0001F699"), ("toy", "\U0001FA80")]


def noise(r, n, cell, contrast):
    """Smooth noise in [-contrast, contrast]."""
    k = max(2, int(math.ceil(n / cell)) + 2)
    a = Image.fromarray((r.random((k, k)) * 255).astype("uint8")).resize((n, n), Image.BICUBIC)
    return (np.asarray(a, float) / 255 - 0.5) * 2 * contrast


def flat(colour, n):
    return np.ones((n, n, 3)) * np.asarray(colour, float)


def gradient(top, bottom, n):
    t = np.linspace(0, 1, n)[:, None, None]
    return (1 - t) * np.asarray(top, float) + t * np.asarray(bottom, float) + np.zeros((n, n, 1))


def grain(r, a, cell, contrast):
    return a + noise(r, a.shape[0], cell, contrast)[:, :, None]


def colour(r, low=30, high=240):
    return r.integers(low, high, 3)


def picture(a):
    return Image.fromarray(np.clip(a, 0, 255).astype("uint8"))


def studio(r, n):
    c = colour(r, 90, 250)
    return picture(gradient(c, c * r.uniform(0.6, 1.0), n))


def wood(r, n):
    base = np.array([150, 95, 50]) * r.uniform(0.7, 1.3)
    y, x = np.mgrid[0:n, 0:n]
    a = flat(base, n) + (18 * np.sin(y / 3.1 + noise(r, n, n / 4, 6) + x / 60) + noise(r, n, 3, 10))[:, :, None]
    im = picture(a)
    d = ImageDraw.Draw(im)
    for k in range(0, n, n // 6):
        d.line([0, k, n, k], fill=tuple((base * 0.5).astype(int)), width=2)
    return im


def flowers(r, d, n, count, size):
    for _ in range(count):
        x, y, s = r.uniform(0, n), r.choice([r.uniform(0, 0.3), r.uniform(0.7, 1.0)]) * n, size * r.uniform(0.6, 1.2)
        petal, heart = tuple(int(v) for v in r.choice([[250, 200, 30], [240, 120, 160], [250, 250, 250]])), (100, 50, 30)
        for k in range(9):
            t = k / 9 * 2 * math.pi
            d.ellipse([x + s * math.cos(t) - s * 0.45, y + s * math.sin(t) - s * 0.45, x + s * math.cos(t) + s * 0.45, y + s * math.sin(t) + s * 0.45],
                      fill=petal)
        d.ellipse([x - s * 0.7, y - s * 0.7, x + s * 0.7, y + s * 0.7], fill=heart)


def grass(r, n):
    im = picture(grain(r, grain(r, flat([60, 160, 50], n), 4, 40), 1.5, 25))
    flowers(r, ImageDraw.Draw(im), n, int(r.integers(0, 7)), n * 0.06)
    return im


def stones(r, n):
    im = Image.new("RGB", (n, n), (60, 58, 55))
    d = ImageDraw.Draw(im)
    s = n / r.integers(7, 12)
    for j in range(int(n / s) + 2):
        for i in range(int(n / s) + 2):
            x, y, g = i * s + (j % 2) * s / 2 - s / 2, j * s - s / 2, int(r.integers(90, 190))
            d.rounded_rectangle([x + 1, y + 1, x + s - 2, y + s - 2], s * 0.35, fill=(g, g, int(g * 0.95)))
    return im


def road(r, n):
    im = picture(gradient([90, 150, 230], [170, 210, 240], n))
    d = ImageDraw.Draw(im)
    d.rectangle([0, n * 0.42, n, n], fill=(80, 130, 50))
    d.polygon([(n * 0.45, n * 0.42), (n * 0.6, n * 0.42), (n * 1.1, n), (0, n)], fill=(140, 90, 55))
    return picture(grain(r, np.asarray(im, float), 3, 16))


def rug(r, n):
    im = wood(r, n)
    d = ImageDraw.Draw(im)
    c = tuple(int(v) for v in (r.choice([[240, 240, 236], [120, 60, 150], [200, 60, 60]])))
    d.rounded_rectangle([n * 0.05, n * 0.33, n * 0.92, n * 0.96], n * 0.05, fill=c)
    d.rounded_rectangle([n * 0.1, n * 0.38, n * 0.87, n * 0.91], n * 0.04, outline=tuple(int(v * 0.85) for v in c), width=2)
    return im


def cactus(d, x, y, s):
    g = (70, 160, 80)
    d.rounded_rectangle([x - s * 0.12, y - s, x + s * 0.12, y], s * 0.12, fill=g)
    for k in (-1, 1):
        a = sorted([x + k * s * 0.45, x])
        d.rounded_rectangle([a[0], y - s * 0.5, a[1], y - s * 0.36], s * 0.07, fill=g)
        b = sorted([x + k * s * 0.45, x + k * s * 0.3])
        d.rounded_rectangle([b[0], y - s * 0.85, b[1], y - s * 0.38], s * 0.07, fill=g)


def desert(r, n):
    im = picture(grain(r, np.concatenate([gradient([245, 180, 90], [250, 210, 140], n)[: n * 2 // 5], flat([215, 140, 60], n)[n * 2 // 5:]]), n / 6, 14))
    d = ImageDraw.Draw(im)
    for _ in range(int(r.integers(1, 4))):
        cactus(d, r.uniform(0, n), n * r.uniform(0.4, 0.6), n * r.uniform(0.15, 0.3))
    return im


def snow(r, n):
    a = np.concatenate([gradient([150, 190, 230], [210, 225, 240], n)[: n * 2 // 5], flat([236, 240, 246], n)[n * 2 // 5:]])
    im = picture(grain(r, a, n / 5, 8))
    d = ImageDraw.Draw(im)
    for _ in range(int(r.integers(0, 4))):
        x, y, s = r.uniform(0, n), n * 0.45, n * r.uniform(0.1, 0.25)
        for k in range(3):
            d.polygon([(x, y - s * (1.6 - 0.4 * k)), (x - s * (0.3 + 0.12 * k), y - s * (0.9 - 0.4 * k)), (x + s * (0.3 + 0.12 * k), y - s * (0.9 - 0.4 * k))],
                      fill=(50, 100 + 10 * k, 70))
    return im


def beach(r, n):
    a = np.concatenate([gradient([110, 180, 240], [180, 220, 245], n)[: n // 3], flat([40, 140, 190], n)[: n // 5]])
    a = np.concatenate([a, flat([230, 205, 150], n)[len(a):]])
    return picture(grain(r, grain(r, a, 2, 12), n / 4, 10))


def fabric(r, n):
    y, x = np.mgrid[0:n, 0:n]
    c = np.array([235, 130, 170]) if r.random() < 0.6 else colour(r)
    return picture(flat(c, n) + (22 * np.sin((x + y * r.uniform(0.3, 1.5)) / n * 14 + noise(r, n, n / 3, 3)))[:, :, None])


def forest(r, n):
    im = picture(grain(r, grain(r, flat([30, 80, 35], n), n / 8, 40), 3, 25))
    d = ImageDraw.Draw(im)
    for _ in range(int(r.integers(3, 9))):
        x, w = r.uniform(0, n), n * r.uniform(0.03, 0.09)
        d.rectangle([x, 0, x + w, n * r.uniform(0.5, 0.8)], fill=(90, 65, 40))
    for _ in range(40):
        x, y, s = r.uniform(0, n), r.uniform(0, n), n * r.uniform(0.02, 0.07)
        d.ellipse([x, y, x + 2 * s, y + s], fill=(30, int(r.integers(80, 170)), 40))
    return im


def night(r, n):
    im = picture(gradient([15, 20, 50], [45, 40, 80], n))
    d = ImageDraw.Draw(im)
    for _ in range(50):
        x, y = r.uniform(0, n), r.uniform(0, n * 0.6)
        d.ellipse([x, y, x + 2, y + 2], fill=(240, 240, 220))
    d.rectangle([0, n * 0.7, n, n], fill=(30, 40, 35))
    return im


def clutter(r, n):
    im = picture(flat(colour(r), n))
    d = ImageDraw.Draw(im)
    for _ in range(int(r.integers(12, 40))):
        x, y, w, h = r.uniform(-0.1, 1) * n, r.uniform(-0.1, 1) * n, r.uniform(0.05, 0.3) * n, r.uniform(0.05, 0.3) * n
        getattr(d, r.choice(["ellipse", "rectangle"]))([x, y, x + w, y + h], fill=tuple(int(v) for v in colour(r)))
    return im.filter(ImageFilter.GaussianBlur(float(r.choice([0, 0, 1.5, 4]))))


PLACES = [studio, wood, grass, stones, road, rug, desert, snow, beach, fabric, forest, night, clutter, studio]


def shaded(c, size, mask):
    """A flat colour with light from the upper left, in the mask."""
    y, x = np.mgrid[0:size, 0:size] / size
    light = 1.12 - 0.35 * (0.4 * x + 0.6 * y)
    a = np.clip(np.asarray(c, float)[None, None] * light[:, :, None], 0, 255).astype("uint8")
    out = Image.fromarray(a).convert("RGBA")
    out.putalpha(mask)
    return out


def part(r, size):
    """A random outline around the middle, its mask."""
    m = Image.new("L", (size, size), 0)
    d = ImageDraw.Draw(m)
    cx, cy, w, h = size * r.uniform(0.3, 0.7), size * r.uniform(0.3, 0.7), size * r.uniform(0.12, 0.3), size * r.uniform(0.12, 0.3)
    kind = r.integers(0, 4)
    if kind == 0:
        d.ellipse([cx - w, cy - h, cx + w, cy + h], fill=255)
    elif kind == 1:
        d.rounded_rectangle([cx - w, cy - h, cx + w, cy + h], min(w, h) * 0.4, fill=255)
    elif kind == 2:
        k = int(r.integers(3, 9))
        d.polygon([(cx + w * (1 if i % 2 else 0.6) * math.cos(2 * math.pi * i / k), cy + h * (1 if i % 2 else 0.6) * math.sin(2 * math.pi * i / k))
                   for i in range(k)], fill=255)
    else:
        d.ellipse([cx - w, cy - h, cx + w, cy + h], fill=255)
        d.ellipse([cx - w * 0.55, cy - h * 0.55, cx + w * 0.55, cy + h * 0.55], fill=0)
    return m


def drawing(r, size=256):
    """A thing of two to six parts, RGBA."""
    im = Image.new("RGBA", (size, size), (0, 0, 0, 0))
    style = r.random()
    palette = [colour(r, 20, 250) for _ in range(int(r.integers(1, 5)))]
    if style < 0.15:
        palette = [np.array([244, 244, 240]), np.array([225, 225, 230])]
    elif style < 0.3:
        palette = [np.array([28, 26, 30]), np.array([50, 45, 48])]
    body = Image.new("L", (size, size), 0)
    for k in range(int(r.integers(2, 7))):
        m = part(r, size)
        if k and not np.any((np.asarray(m) > 0) & (np.asarray(body) > 0)):
            continue
        im.alpha_composite(shaded(palette[k % len(palette)], size, m))
        body = Image.fromarray(np.maximum(np.asarray(body), np.asarray(m)))
    for _ in range(int(r.integers(0, 5))):  # marks on it, eyes or dials
        x, y = r.uniform(0.3, 0.7, 2) * size
        s = size * r.uniform(0.01, 0.05)
        dot = Image.new("L", (size, size), 0)
        ImageDraw.Draw(dot).ellipse([x - s, y - s, x + s, y + s], fill=255)
        dot = Image.fromarray(np.minimum(np.asarray(dot), np.asarray(body)))
        im.alpha_composite(shaded(colour(r, 0, 255), size, dot))
    return im.crop(im.getbbox())


def glyph(font, text):
    im = Image.new("RGBA", (160, 160), (0, 0, 0, 0))
    ImageDraw.Draw(im).text((8, 8), text, font=font, embedded_color=True)
    return im.crop(im.getbbox())


def photograph(r, thing, place, n):
    share = r.choice([r.uniform(0.10, 0.35), r.uniform(0.06, 0.12), r.uniform(0.35, 0.6)], p=[0.7, 0.15, 0.15])
    fill = np.mean(np.asarray(thing)[:, :, 3] > 127)
    k = math.sqrt(share * n * n / (fill * thing.width * thing.height))
    k = min(k, 1.05 * n / max(thing.width, thing.height))
    t = thing.transpose(Image.FLIP_LEFT_RIGHT) if r.random() < 0.5 else thing
    t = t.resize((max(8, int(t.width * k)), max(8, int(t.height * k))), Image.BICUBIC).rotate(r.uniform(-6, 6), Image.BICUBIC, expand=True)
    x, y = (n - t.width) * r.uniform(0.15, 0.85), (n - t.height) * r.uniform(0.3, 0.9)
    if r.random() < 0.12:
        x = r.choice([-0.12 * t.width, n - 0.88 * t.width])
    x, y = int(x), int(y)
    im = place(r, n).convert("RGBA")
    if r.random() < 0.7:
        s = Image.new("RGBA", (n, n), (0, 0, 0, 0))
        ImageDraw.Draw(s).ellipse([x + t.width * 0.05, y + t.height * 0.9, x + t.width * 0.95, y + t.height * 1.05], fill=(0, 0, 0, 130))
        im.alpha_composite(s.filter(ImageFilter.GaussianBlur(n / 50)))
    layer = Image.new("RGBA", (n, n), (0, 0, 0, 0))
    layer.paste(t, (x, y))
    im.alpha_composite(layer)
    mask = Image.fromarray(((np.asarray(layer)[:, :, 3] > 127) * 255).astype("uint8"))
    return im.convert("RGB"), mask


def subject(number, out, font, n):
    r = np.random.default_rng(1000 + number)
    if font and number % 4:
        name, text = GLYPHS[(number * 7) % len(GLYPHS)]
        thing = glyph(font, text)
    else:
        name, thing = "toy", drawing(r)
    folder = os.path.join(out, "%03d-%s" % (number, name.replace(" ", "_")))
    os.makedirs(os.path.join(folder, "masks"), exist_ok=True)
    places = r.permutation(len(PLACES))
    for k in range(int(r.integers(3, 6))):
        im, mask = photograph(r, thing, PLACES[places[k]], n)
        im.save(os.path.join(folder, "%d.jpg" % (k + 1)), quality=92)
        mask.save(os.path.join(folder, "masks", "%d.png" % (k + 1)))


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("out")
    p.add_argument("--first", type=int, default=0)
    p.add_argument("--count", type=int, default=20)
    p.add_argument("--font")
    p.add_argument("--size", type=int, default=256)
    a = p.parse_args()
    font = ImageFont.truetype(a.font, 109) if a.font else None
    for i in range(a.first, a.first + a.count):
        subject(i, a.out, font, a.size)
