"""make_sd15.py OUT [--sd2]: a full-size Stable Diffusion 1.5 (or 2.1) directory with random F32 weights, for benchmarks.

Fast: no initialisers run; every weight is a piece of one block of normal numbers, scaled by 1/sqrt(fan in)."""
import argparse
import gzip
import json
import time

from common import *
from diffusers import AutoencoderKL, DDIMScheduler, PNDMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

BETAS = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", num_train_timesteps=1000,
             set_alpha_to_one=False, steps_offset=1)


def build(make):
    """The network with memory but without the initial values that its class would compute."""
    with torch.device("meta"):
        net = make()
    net.to_empty(device="cpu")
    block, at = torch.randn((1 << 22) + 1, generator=torch.Generator().manual_seed(1)), 0
    for name, p in net.named_parameters():
        flat = p.data.view(-1)
        for i in range(0, len(flat), len(block)):
            n = min(len(block), len(flat) - i)
            first = min(n, len(block) - at)
            flat[i : i + first] = block[at : at + first]
            flat[i + first : i + n] = block[: n - first]
            at = (at + n) % len(block)
        if p.ndim == 1:
            p.data.mul_(0.1).add_(1.0 if name.endswith("weight") else 0.0)
        else:
            p.data.mul_(0.02 if "embedding" in name else (p.shape[0] / p.numel()) ** 0.5)
    return net


def tokenizer(out, pad):
    """The real CLIP tokenizer from data/tokenizer (README.md, "Tokenizer")."""
    from dump_tokenizer import vocabulary

    text = gzip.open(DATA / "tokenizer/merges.txt.gz", "rt", encoding="utf-8").read()
    out.mkdir()
    (out / "merges.txt").write_text(text)
    merges = [tuple(line.split()) for line in text.splitlines()[1:]]
    (out / "vocab.json").write_text(json.dumps(vocabulary(merges), ensure_ascii=False))
    for f in ("tokenizer_config.json", "special_tokens_map.json"):
        config = json.loads((DATA / "sd1/tokenizer" / f).read_text())
        (out / f).write_text(json.dumps(config | {"pad_token": pad}, indent=2))


def main():
    a = argparse.ArgumentParser()
    a.add_argument("out", type=Path)
    a.add_argument("--sd2", action="store_true")
    o = a.parse_args()
    start = time.time()
    o.out.mkdir(parents=True)
    width = 1024 if o.sd2 else 768
    save = dict(safe_serialization=True, max_shard_size="20GB")
    build(lambda: UNet2DConditionModel(
        sample_size=96 if o.sd2 else 64, cross_attention_dim=width, use_linear_projection=o.sd2,
        attention_head_dim=(5, 10, 20, 20) if o.sd2 else 8)).save_pretrained(o.out / "unet", **save)
    build(lambda: AutoencoderKL(
        block_out_channels=(128, 256, 512, 512), layers_per_block=2, sample_size=768 if o.sd2 else 512,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4)).save_pretrained(o.out / "vae", **save)
    # Not on the meta device: the text encoder's position_ids are computed when it is made.
    text = CLIPTextModel(CLIPTextConfig(
        vocab_size=49408, hidden_size=width, intermediate_size=4 * width, num_hidden_layers=23 if o.sd2 else 12,
        num_attention_heads=16 if o.sd2 else 12, hidden_act="gelu" if o.sd2 else "quick_gelu", bos_token_id=49406,
        eos_token_id=49407, pad_token_id=0 if o.sd2 else 49407))
    text.save_pretrained(o.out / "text_encoder", **save)
    (DDIMScheduler(prediction_type="v_prediction", clip_sample=False, **BETAS) if o.sd2
     else PNDMScheduler(skip_prk_steps=True, **BETAS)).save_pretrained(o.out / "scheduler")
    tokenizer(o.out / "tokenizer", "!" if o.sd2 else "<|endoftext|>")
    index = json.loads((DATA / ("sd2" if o.sd2 else "sd1") / "model_index.json").read_text())
    (o.out / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")
    print(o.out, f"{time.time() - start:.0f} s")


main()
