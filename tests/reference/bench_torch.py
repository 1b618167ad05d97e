"""bench_torch.py MODEL: PyTorch's time and peak memory for forward + backward of the UNet, one image of 512x512 (one line JSON).

Plain eager mode, every parameter with a gradient, fp32 and bf16 autocast, each in a process of its own, all cores."""
import argparse
import json
import resource
import subprocess
import time

from common import *
from diffusers import UNet2DConditionModel


def measure(o):
    torch.set_num_threads(o.threads)
    unet = UNet2DConditionModel.from_pretrained(o.model, subfolder="unet", torch_dtype=torch.float32)
    x = rand("x", 1, 4, o.latent, o.latent)
    h = rand("h", 1, 77, unet.config.cross_attention_dim)
    seconds = []
    for _ in range(o.repeat + 1):  # the first is a warm-up: memory is touched, kernels are chosen
        unet.zero_grad(set_to_none=False)
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=o.mode == "bf16"):
            y = unet(x, 500, h).sample
        forward = time.perf_counter() - start
        y.float().square().mean().backward()
        seconds.append((time.perf_counter() - start, forward))
    both, forward = min(seconds[1:])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps({"seconds": round(both, 3), "forward_seconds": round(forward, 3), "peak_mib": peak}))


def main():
    a = argparse.ArgumentParser()
    a.add_argument("model", type=Path)
    a.add_argument("--latent", type=int, default=64)
    a.add_argument("--repeat", type=int, default=2)
    a.add_argument("--threads", type=int, default=os.cpu_count())
    a.add_argument("--mode", choices=("fp32", "bf16"), help="only this one, in this process")
    o = a.parse_args()
    if o.mode:
        return measure(o)
    out = {"torch": torch.__version__, "threads": o.threads, "latent": o.latent}
    env = {**os.environ, "OMP_NUM_THREADS": str(o.threads)}
    for mode in ("fp32", "bf16"):
        lines = subprocess.run([sys.executable, __file__, *sys.argv[1:], "--mode", mode], env=env, check=True,
                               stdout=subprocess.PIPE, text=True).stdout.splitlines()
        out[mode] = json.loads(lines[-1])
    print(json.dumps(out))


main()
