"""The maps of dynamic quantisation as bitsandbytes has them, for tests/unit/test_optimizer.c: tests/data/moments8.safetensors.

    python dump_moments8.py OUT.safetensors      (bitsandbytes 0.50.2; the CPU is enough)
"""
import sys

import bitsandbytes.functional as functional
from safetensors.numpy import save_file

save_file({name: functional.create_dynamic_map(signed=signed).numpy() for name, signed in (("m", True), ("v", False))}, sys.argv[1])
