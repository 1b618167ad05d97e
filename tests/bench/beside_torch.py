"""beside_torch.py BENCH_UNET MODEL [--modes fp32 bf16] [--latent 64]: the C engine and PyTorch in one run, turn by turn, as ratios.

MODEL: for instance what tests/reference/make_sd15.py makes. Needs the packages of tests/reference/requirements.txt."""
import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

TORCH = Path(__file__).resolve().parent.parent / "reference" / "bench_torch.py"


def last_line(command):
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])


def main():
    a = argparse.ArgumentParser()
    a.add_argument("program")
    a.add_argument("model")
    a.add_argument("--modes", nargs="+", default=["fp32", "bf16"])
    a.add_argument("--latent", default="64")
    a.add_argument("--repeat", default="2")
    o = a.parse_args()
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    common = ["--latent", o.latent, "--repeat", o.repeat]
    for mode in o.modes:
        ours = last_line([o.program, o.model, "--mode", mode, *common])
        theirs = last_line([sys.executable, TORCH, o.model, "--mode", mode, *common])
        print(mode, ours)
        print(mode, "torch", theirs)
        ratio = {k: round(ours[k] / theirs[k], 2) for k in ("seconds", "forward_seconds", "peak_mib")}
        print(mode, "ours / PyTorch:", ratio, flush=True)


main()
