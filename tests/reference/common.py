"""What all reference scripts share: places, loading of the two tiny models, dumps, the PDM layer."""
import os
import sys
import warnings
import zlib
from pathlib import Path
from types import SimpleNamespace

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_NUM_THREADS", "1")
warnings.filterwarnings("ignore")

import torch
from safetensors.torch import load_file, save_file

torch.set_num_threads(1)

HERE = Path(__file__).resolve().parent
DATA = HERE.parent / "data"
# The tokenizer of the tiny models, the photographs and the list of prompts come from here.
SHARED = Path(os.environ.get("PDMBOOTH_SHARED", HERE.parents[2] / "shared"))


def rand(name, *shape):
    """Normal numbers that depend on the name only."""
    g = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    return torch.randn(*shape, generator=g)


def randint(name, high, *shape):
    g = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    return torch.randint(0, high, shape, generator=g)


class Dump(dict):
    """Tensors by name; save() writes them as F32, I32 or U8."""

    def save(self, path):
        out = {}
        for name, t in self.items():
            t = torch.as_tensor(t).detach()
            if t.dtype == torch.bool:
                t = t.to(torch.uint8)
            elif t.dtype != torch.uint8:
                t = t.float() if t.is_floating_point() else t.to(torch.int32)
            if t.is_floating_point() and not torch.isfinite(t).all():
                sys.exit(f"{path}: {name} is not finite")
            out[name] = t.contiguous().clone()
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        save_file(out, str(path), metadata={"format": "pt"})
        print(f"{path}  {len(out)} tensors, {os.path.getsize(path)} bytes")


def load_model(path, dtype=torch.float32):
    """A diffusers directory; networks in eval mode (there is no dropout), without gradients."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer
    from diffusers import DDIMScheduler

    path = Path(path)
    if not path.exists():
        path = DATA / path
    kw = dict(torch_dtype=dtype, use_safetensors=True)
    m = SimpleNamespace(
        path=path,
        unet=UNet2DConditionModel.from_pretrained(path, subfolder="unet", **kw),
        vae=AutoencoderKL.from_pretrained(path, subfolder="vae", **kw),
        text_encoder=CLIPTextModel.from_pretrained(path, subfolder="text_encoder", dtype=dtype),
        tokenizer=CLIPTokenizer.from_pretrained(path, subfolder="tokenizer"),
        ddim=DDIMScheduler.from_pretrained(path, subfolder="scheduler"),
    )
    for net in (m.unet, m.vae, m.text_encoder):
        net.eval().requires_grad_(False)
    # abar_t as in method.md section 3, in F32 as diffusers computes it
    m.abar = m.ddim.alphas_cumprod
    m.v_prediction = m.ddim.config.prediction_type == "v_prediction"
    return m


def token_ids(m, *prompts):
    """Ids [n, 77], padded and cut as method.md section 2 says."""
    return m.tokenizer(list(prompts), padding="max_length", truncation=True, max_length=77,
                       return_tensors="pt").input_ids


def text_states(m, ids):
    return m.text_encoder(ids).last_hidden_state


def pdm_layer_name(unet):
    """The last up block with attention, its last attention, its last transformer block (method.md section 5)."""
    i = max(i for i, b in enumerate(unet.up_blocks) if getattr(b, "attentions", None))
    a = len(unet.up_blocks[i].attentions) - 1
    t = len(unet.up_blocks[i].attentions[a].transformer_blocks) - 1
    return f"up_blocks.{i}.attentions.{a}.transformer_blocks.{t}.attn1"


class PdmTap:
    """Catches Q, the output of to_q before the split into heads, [n, tokens, channels], on every forward pass."""

    def __init__(self, unet, layer=None):
        self.q = None
        layer = unet.get_submodule(layer or pdm_layer_name(unet)).to_q
        self.handle = layer.register_forward_hook(self.catch)

    def catch(self, module, args, out):
        self.q = out


def text_name(name):
    """The text encoder's tensor names as on disk: transformers 5 leaves `text_model.` out, older files have it.
    Dumps always use the names with the prefix."""
    return name if name.startswith("text_model.") else "text_model." + name


def rel(a, b):
    return float((a - b).norm() / b.norm().clamp_min(1e-30))
