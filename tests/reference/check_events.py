"""Reads a run's event file with TensorBoard and compares it with metrics.csv: every step once, every value, the pictures.

usage: check_events.py RUN_DIR     needs the package tensorboard
"""
import csv
import math
import struct
import sys
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

COLUMNS = {
    "loss/instance": "instance", "loss/prior": "prior", "loss/pdm": "pdm", "loss/total": "total", "loss/probe": "probe",
    "train/lr": "lr", "train/grad_norm": "grad_norm", "train/seconds": "seconds",
}


def close(a, b):
    return math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-12)


def main(run):
    run = Path(run)
    files = list(run.glob("events.out.tfevents.*"))
    assert len(files) == 1, files
    raw = list(LegacyEventFileLoader(str(files[0])).Load())  # raises DataLossError where a CRC is wrong
    assert raw[0].file_version == "brain.Event:2", raw[0]
    rows = list(csv.DictReader(open(run / "metrics.csv")))
    accumulator = EventAccumulator(str(run), size_guidance={"scalars": 0, "images": 0, "tensors": 0})
    accumulator.Reload()
    have = set(accumulator.Tags()["scalars"])
    for tag, column in COLUMNS.items():
        want = {int(r["step"]): float(r[column]) for r in rows if r[column] not in ("", "inf")}
        got = [(e.step, e.value) for e in accumulator.Scalars(tag)] if tag in have else []
        steps = [s for s, _ in got]
        assert steps == sorted(set(steps)), f"{tag}: a step stands twice or out of order: {steps}"
        assert set(steps) == set(want), f"{tag}: {len(steps)} steps, metrics.csv has {len(want)}"
        for step, value in got:
            exact = struct.unpack("f", struct.pack("f", want[step]))[0]
            assert close(value, exact), f"{tag} at step {step}: {value}, metrics.csv has {want[step]}"
        print(f"{tag}: {len(got)} values")
    for tag in accumulator.Tags()["images"]:
        for event in accumulator.Images(tag):
            file = run / "samples" / f"step-{event.step:06d}" / f"{tag.rsplit('_', 1)[1]}-0.png"
            assert event.encoded_image_string == file.read_bytes(), file
        print(f"{tag}: {len(accumulator.Images(tag))} pictures, the bytes of samples/")
    print("equal")


main(sys.argv[1])
