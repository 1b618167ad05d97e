#!/usr/bin/env python3
"""Plan beside reality: runs short trainings and prints, as a Markdown table, what was planned and what the run took.

usage: plan_table.py PROGRAM [--model DIR [--resolution WxH]] [--only NAME ...] [--threads N] [--keep DIR]

Without --model: the demo. With it: a model of Stable Diffusion 1.5's shapes (tests/reference/make_sd15.py), at 512x512, on two photographs of the
demo subject; wants up to 17 GB of memory. Each run has a run directory and a cache of its own, made below a temporary directory.
"""
import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
DEMO = ["train.steps=8", "train.center_crop=false", "prior.images=16", "prior.steps=4", "samples.steps=4", "samples.every=4",
        "losses.pdm_steps=8", "checkpoints.every=4"]
LARGE = ["train.steps=1", "prior.images=1", "prior.steps=2", "prior.sampler=ddim", "samples.steps=2", "samples.count=1", "samples.every=0",
         "losses.pdm_steps=1", "prompts.test=a photo of {token} {class}", "train.batch=1", "checkpoints.save_weights=false"]
CASES = {
    "full": ["train.mode=full", "train.text_encoder=false"],
    "full-text": ["train.mode=full", "train.text_encoder=true"],
    "lora": ["train.mode=lora", "train.text_encoder=false", "losses.prior=false"],
}


def sets(values):
    return [part for value in values for part in ("--set", value)]


def two_photographs(root):
    """A directory with two photographs of the demo subject and their masks."""
    folder, source = os.path.join(root, "photographs"), os.path.join(HERE, "../../assets/demo-subject/poodle")
    os.makedirs(os.path.join(folder, "masks"), exist_ok=True)
    for name in ("1.jpg", "2.jpg", "masks/1.png", "masks/2.png"):
        shutil.copy(os.path.join(source, name), os.path.join(folder, name))
    return folder


def tree_bytes(folder):
    return sum(os.path.getsize(os.path.join(base, name)) for base, _, names in os.walk(folder) for name in names)


def stage_seconds(log):
    """{"training": (taken, expected), ...} of the run's own line."""
    line = [text for text in log.splitlines() if " info: time: " in text][-1].split(" info: time: ")[1]
    return {name: (float(took), float(planned)) for name, took, planned in re.findall(r"([a-z ]+?) ([\d.]+) s \(([\d.]+) expected\)", line)}


def run(args, name, values, root):
    profile = "embedded:demo" if not args.model else os.path.join(HERE, "../../assets/profiles/sd15-full.ini")
    folder = os.path.join(root, name)
    common = ["--threads", str(args.threads)] + sets(values + [f"engine.cache_dir={folder}/cache", f"prior.dir={folder}/class"])
    if args.model and args.resolution:
        common += sets([f"train.resolution={args.resolution}"])
    if args.model:
        common += sets([f"model.path={args.model}", f"subject.images={two_photographs(root)}"])
    plan = subprocess.run([args.program, "plan", profile, "--json", "--run-dir", f"{folder}/run"] + common, capture_output=True, text=True)
    plan = json.loads(plan.stdout)
    if plan["status"] != "fits":
        return f"| {name} | {plan['error']} |"
    done = subprocess.run([args.program, "--batch", profile, "--run-dir", f"{folder}/run"] + common, capture_output=True, text=True)
    result = json.loads(done.stdout)
    if result["status"] != "done":
        return f"| {name} | {result['error']} |"
    with open(f"{folder}/run/log.txt") as f:
        times = stage_seconds(f.read())
    memory, mib = result["memory"], 1 << 20
    parts = ", ".join(f"{stage.strip(' ,')} {took:.1f} ({planned:.1f})" for stage, (took, planned) in times.items())
    took, planned = (sum(pair[i] for pair in times.values()) for i in (0, 1))
    off = memory["planned"] / memory["peak"] - 1
    return (f"| {name} | {memory['planned'] / mib:.0f} | {memory['peak'] / mib:.0f} | {100 * off:+.1f} % "
            f"| {memory['passes_planned'] / mib:.2f} | {memory['passes_used'] / mib:.2f} "
            f"| {plan['disk']['left'] / mib:.1f} | {tree_bytes(folder + '/run') / mib:.1f} | {took:.0f} | {planned:.0f} | {parts} |")


def main():
    p = argparse.ArgumentParser()
    p.add_argument("program")
    p.add_argument("--model")
    p.add_argument("--resolution", help="WxH instead of the profile's 512x512, with --model")
    p.add_argument("--only", nargs="*")
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--keep", help="a directory for the runs, which stay there")
    args = p.parse_args()
    args.program = os.path.abspath(args.program)
    print("| run | memory planned MiB | VmHWM MiB | off | passes planned MiB | used MiB | disk planned MiB | left MiB | seconds | planned "
          "| stages: seconds (planned) |\n|---|---|---|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as temporary:
        root = os.path.abspath(args.keep) if args.keep else temporary
        for name, values in CASES.items():
            for recompute in ("false", "true"):
                full = name + (" recomputed" if recompute == "true" else "")
                if args.only and full not in args.only:
                    continue
                values_of = (LARGE if args.model else DEMO) + values + [f"train.recompute={recompute}"]
                print(run(args, full, values_of, root), flush=True)


if __name__ == "__main__":
    sys.exit(main())
