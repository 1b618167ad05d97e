"""Intersection over union of derived masks with the true ones of made-up subjects (tests/reference/README.md, "Masks").

    python make_mask_subjects.py SUBJECTS --font NotoColorEmoji.ttf --first 100 --count 24
    python measure_masks.py PROGRAM SUBJECTS [--model embedded:demo] [--first 100] [--count 24]

For each subject the program derives masks three times: of all photographs together, with the first one's mask given (measured on the others),
and of each photograph by itself. Prints a line for each subject and the means, with the worst photograph in brackets."""
import argparse
import os
import shutil
import subprocess
import tempfile

import numpy as np
from PIL import Image


def mask_of(path):
    return np.asarray(Image.open(path).convert("L")) > 127


def iou(a, b):
    either = (a | b).sum()
    return (a & b).sum() / either if either else 1.0


def derive(program, profile, class_name, photographs, given):
    """IoU by name, of those without a given mask."""
    with tempfile.TemporaryDirectory() as scratch:
        images = os.path.join(scratch, "images")
        os.makedirs(os.path.join(images, "masks"))
        for name in photographs:
            shutil.copy(photographs[name][0], images)
        for name in given:
            shutil.copy(photographs[name][1], os.path.join(images, "masks"))
        out = os.path.join(scratch, "out")
        settings = {"subject.images": images, "subject.class": class_name, "subject.hold_out": "", "prompts.class": f"a photo of {class_name}"}
        command = [program, "masks", profile, "--out", out, "--quiet"]
        for key, value in settings.items():
            command += ["--set", f"{key}={value}"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return {name: iou(mask_of(os.path.join(out, name + ".png")), mask_of(photographs[name][1])) for name in photographs if name not in given}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("subjects")
    parser.add_argument("--model", default="embedded:demo", help="a profile; its model is used")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=24)
    a = parser.parse_args()
    total = {"together": [], "one given": [], "apart": []}
    for folder in sorted(os.listdir(a.subjects)):
        number, class_name = folder.split("-", 1)
        if not a.first <= int(number) < a.first + a.count:
            continue
        top = os.path.join(a.subjects, folder)
        names = sorted(f[:-4] for f in os.listdir(top) if f.endswith(".jpg"))
        photographs = {n: (os.path.join(top, n + ".jpg"), os.path.join(top, "masks", n + ".png")) for n in names}
        class_name = class_name.replace("_", " ")
        found = {
            "together": list(derive(a.program, a.model, class_name, photographs, []).values()),
            "one given": list(derive(a.program, a.model, class_name, photographs, names[:1]).values()),
            "apart": [v for n in names for v in derive(a.program, a.model, class_name, {n: photographs[n]}, []).values()],
        }
        for kind, values in found.items():
            total[kind] += values
        print(folder, *(f"{kind} {np.mean(v):.3f} ({min(v):.3f})" for kind, v in found.items()), sep="  ", flush=True)
    print("all", *(f"{kind} {np.mean(v):.3f} ({min(v):.3f})" for kind, v in total.items()), sep="  ")


if __name__ == "__main__":
    main()
