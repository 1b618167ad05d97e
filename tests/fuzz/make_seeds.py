"""Writes the seeds of the fuzzers: small files of every kind that each reader knows. Needs numpy and Pillow; the seeds are checked in."""
import io, json, os, struct, sys
import numpy as np
from PIL import Image

top = sys.argv[1] if len(sys.argv) > 1 else "tests"


def put(folder, name, data):
    os.makedirs(f"{top}/fuzz/seeds/{folder}", exist_ok=True)
    with open(f"{top}/fuzz/seeds/{folder}/{name}", "wb") as f:
        f.write(data if isinstance(data, bytes) else data.encode())


def tensors(entries, meta=None):
    header, data = ({"__metadata__": meta} if meta else {}), b""
    for name, dtype, shape, size in entries:
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + size]}
        data += bytes(i % 61 for i in range(size))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


put("safetensors", "two", tensors([("a.weight", "F32", [2, 3], 24), ("b", "F16", [4], 8)], {"format": "pt"}))
put("safetensors", "types", tensors([(t, t, [2], n) for t, n in [("BF16", 4), ("F64", 16), ("I64", 16), ("U8", 2), ("BOOL", 2), ("I32", 8)]]))
put("safetensors", "empty", tensors([]))
put("safetensors", "zero", tensors([("z", "F32", [0, 3], 0), ("s", "F32", [], 4)]))

for network in ("unet", "text_encoder", "vae"):
    for model in ("sd1", "sd2"):
        with open(f"{top}/data/{model}/{network}/config.json") as f:
            put("config", f"{model}-{network}", json.dumps(json.load(f)))
for model in ("sd1", "sd2"):
    with open(f"{top}/data/{model}/scheduler/scheduler_config.json") as f:
        put("config", f"{model}-scheduler", json.dumps(json.load(f)))

put("profile", "short", "[model]\npath = /\n[subject]\nclass = dog\nimages = /\n[train]\nsteps = 3\n")
put("profile", "long", "; c\n[model]\npath = /\n[subject]\nname = x\ntoken = sks\nclass = dog\nimages = embedded:poodle\n[prompts]\ntest = a {token} {class}\n"
    "test = caf\u00e9\n[train]\nmode = full\nresolution = 512x768\nlr = 1e-6\nschedule = cosine\n[engine]\nmemory = 12G\n")
put("prompts", "lines", b"\0# a comment\na photo of {token} {class}\n\n  two  \r\ncaf\xc3\xa9")
put("prompts", "ini", b"\1[prompts live]\na = a {token} {class} in the snow\nb = x\n[prompts object]\na = y\n")

put("tokenizer", "text", "\0A photo of sks dog's best friend, 1234 \u00e9\u0301 \u4f60\u597d <|endoftext|> \U0001f429!")
put("tokenizer", "long", "\0" + "word " * 100)
vocabulary = {c: i for i, c in enumerate("abcdefghijklmnopqrstuvwxyz")}
vocabulary.update({c + "</w>": 26 + i for i, c in enumerate("abcdefghijklmnopqrstuvwxyz")})
vocabulary.update({"do": 52, "dog</w>": 53, "<|startoftext|>": 54, "<|endoftext|>": 55})
special = {k: {"content": v, "normalized": k == "eos_token"} for k, v in
           {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>", "pad_token": "!"}.items()}
put("tokenizer", "files", b"\1" + json.dumps(vocabulary).encode() + b"\xff#version: 0.2\nd o\ndo g</w>\n\xff" + json.dumps({"model_max_length": 77}).encode() +
    b"\xff" + json.dumps(special).encode())
put("tokenizer", "files-added", b"\1" + json.dumps(vocabulary).encode() + b"\xffd o\n\xff" +
    json.dumps({"added_tokens_decoder": {"54": {"content": "<|startoftext|>", "special": True}, "55": {"content": "<|endoftext|>"}}}).encode() + b"\xff{}")

pixels = np.random.default_rng(1).integers(0, 256, (9, 11, 4), dtype=np.uint8)
pictures = {"rgb.png": (pixels[..., :3], {}), "rgba.png": (pixels, {}), "grey.png": (pixels[..., 0], {}), "rgb.jpg": (pixels[..., :3], {"quality": 80}),
            "grey.jpg": (pixels[..., 0], {}), "progressive.jpg": (pixels[..., :3], {"progressive": True}), "lossy.webp": (pixels[..., :3], {"quality": 50}),
            "lossless.webp": (pixels, {"lossless": True})}
for name, (array, options) in pictures.items():
    f = io.BytesIO()
    Image.fromarray(array).save(f, {"png": "PNG", "jpg": "JPEG", "webp": "WEBP"}[name.split(".")[1]], **options)
    put("picture", name, f.getvalue())
exif = Image.Exif()
exif[0x0112] = 6
for name, kind in (("turned.jpg", "JPEG"), ("turned.png", "PNG"), ("turned.webp", "WEBP")):
    f = io.BytesIO()
    Image.fromarray(pixels[..., :3]).save(f, kind, exif=exif)
    put("picture", name, f.getvalue())
for name, image, kind in (("cmyk.jpg", Image.fromarray(pixels, "CMYK"), "JPEG"), ("palette.png", Image.fromarray(pixels[..., :3]).quantize(5), "PNG"),
                          ("deep.png", Image.fromarray((pixels[..., 0].astype(np.uint16) * 200)), "PNG"),
                          ("black-white.png", Image.fromarray(pixels[..., 0] > 99), "PNG")):
    f = io.BytesIO()
    image.save(f, kind)
    put("picture", name, f.getvalue())
f = io.BytesIO()
from PIL.PngImagePlugin import PngInfo
info = PngInfo()
info.add_text("prompt", "a dog")
info.add_itxt("parameters", "caf\u00e9", "fr", "texte")
Image.fromarray(pixels[..., :3]).save(f, "PNG", pnginfo=info)
put("picture", "text.png", f.getvalue())

for name, array in (("f32", np.zeros((1, 2, 3), np.float32)), ("f16", np.ones(5, np.float16)), ("f64", np.ones((), np.float64)),
                    ("i64", np.arange(4)), ("bool", np.array([True, False])), ("empty", np.zeros((0, 4), np.float32))):
    f = io.BytesIO()
    np.save(f, array)
    put("npy", name, f.getvalue())
