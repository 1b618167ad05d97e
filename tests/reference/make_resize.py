"""Prints the table of tests/unit/test_image.c: SHA-256 of what the installed Pillow makes of a picture of pseudo-random bytes."""
import hashlib

import PIL
from PIL import Image

SIZES = [(64, 48, 32, 24), (64, 48, 33, 25), (37, 53, 16, 16), (37, 53, 80, 61), (640, 427, 96, 64), (640, 427, 64, 427), (640, 427, 640, 64),
         (1, 1, 7, 5), (300, 1, 7, 3), (1, 200, 3, 64), (17, 19, 17, 40), (17, 19, 40, 19), (97, 89, 1, 1), (48, 48, 48, 48), (2000, 3, 5, 2)]
FILTERS = {"BILINEAR": Image.BILINEAR, "BICUBIC": Image.BICUBIC, "NEAREST": Image.NEAREST}


def noise(n):
    x, out = 12345, bytearray()
    for _ in range(n):
        x = (x * 1664525 + 1013904223) & 0xFFFFFFFF
        out.append((x >> 24) * 2 & 255 if x & 0x10000 else 255 * (x >> 31))
    return bytes(out)


def main():
    print(f"/* made by tests/reference/make_resize.py with Pillow {PIL.__version__} */")
    for mode, channels in (("RGB", 3), ("L", 1)):
        for w, h, to_w, to_h in SIZES:
            picture = Image.frombytes(mode, (w, h), noise(w * h * channels))
            for name, f in FILTERS.items():
                digest = hashlib.sha256(picture.resize((to_w, to_h), f).tobytes()).hexdigest()[:16]
                print(f'{{{channels}, {w}, {h}, {to_w}, {to_h}, FILTER_{name}, "{digest}"}},')


main()
