"""Diffusers' names of Stable Diffusion's tensors to those of single-file checkpoints, and of adapters to kohya's, written from the
descriptions of the formats and independent of the C code: what the exports are compared with."""
import re

import torch

RESNET = [("norm1", "in_layers.0"), ("conv1", "in_layers.2"), ("time_emb_proj", "emb_layers.1"), ("norm2", "out_layers.0"),
          ("conv2", "out_layers.3"), ("conv_shortcut", "skip_connection")]
ENDS = {"conv_in": "input_blocks.0.0", "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
        "conv_norm_out": "out.0", "conv_out": "out.2"}


def unet_key(name, config):
    layers, levels = config["layers_per_block"], len(config["block_out_channels"])
    module, leaf = name.rsplit(".", 1)
    if module in ENDS:
        return f"{ENDS[module]}.{leaf}"
    m = re.match(r"(down|up|mid)_block(?:s\.(\d+))?\.(\w+?)\.(\d+)\.(.*)", name)
    side, block, kind, j, rest = m[1], int(m[2] or 0), m[3], int(m[4]), m[5]
    if kind == "resnets":
        for a, b in RESNET:
            if rest.startswith(a + "."):
                rest = b + rest[len(a):]
                break
    if side == "mid":
        return f"middle_block.{1 if kind == 'attentions' else 2 * j}.{rest}"
    if kind == "downsamplers":
        return f"input_blocks.{(layers + 1) * (block + 1)}.0.op.{leaf}"
    if kind == "upsamplers":
        place = 2 if "CrossAttn" in config["up_block_types"][block] else 1
        return f"output_blocks.{(layers + 1) * block + layers}.{place}.conv.{leaf}"
    n = (layers + 1) * block + j + (1 if side == "down" else 0)
    return f"{'input' if side == 'down' else 'output'}_blocks.{n}.{0 if kind == 'resnets' else 1}.{rest}"


def vae_key(name, config):
    levels = len(config["block_out_channels"])
    name = re.sub(r"down_blocks\.(\d+)\.resnets\.(\d+)", r"down.\1.block.\2", name)
    name = re.sub(r"up_blocks\.(\d+)\.resnets\.(\d+)", lambda m: f"up.{levels - 1 - int(m[1])}.block.{m[2]}", name)
    name = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0", r"down.\1.downsample", name)
    name = re.sub(r"up_blocks\.(\d+)\.upsamplers\.0", lambda m: f"up.{levels - 1 - int(m[1])}.upsample", name)
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
    for a, b in (("group_norm", "norm"), ("to_q", "q"), ("to_k", "k"), ("to_v", "v"), ("to_out.0", "proj_out")):
        name = name.replace(f"mid_block.attentions.0.{a}.", f"mid.attn_1.{b}.")
    return name.replace("conv_shortcut", "nin_shortcut").replace("conv_norm_out", "norm_out")


def open_clip(text):
    """Names without text_model. -> OpenCLIP's tensors, with the projection and the scale that published files have and nobody uses."""
    out = {"token_embedding.weight": text["embeddings.token_embedding.weight"],
           "positional_embedding": text["embeddings.position_embedding.weight"],
           "ln_final.weight": text["final_layer_norm.weight"], "ln_final.bias": text["final_layer_norm.bias"]}
    n = 1 + max(int(k.split(".")[2]) for k in text if k.startswith("encoder.layers."))
    for i in range(n):
        a, b = f"encoder.layers.{i}.", f"transformer.resblocks.{i}."
        for leaf in ("weight", "bias"):
            out[f"{b}attn.in_proj_{leaf}"] = torch.cat([text[f"{a}self_attn.{x}_proj.{leaf}"] for x in "qkv"])
            for x, y in (("self_attn.out_proj", "attn.out_proj"), ("layer_norm1", "ln_1"), ("layer_norm2", "ln_2"),
                         ("mlp.fc1", "mlp.c_fc"), ("mlp.fc2", "mlp.c_proj")):
                out[f"{b}{y}.{leaf}"] = text[f"{a}{x}.{leaf}"]
    width = text["final_layer_norm.weight"].shape[0]
    out["text_projection"] = torch.eye(width).to(text["final_layer_norm.weight"].dtype)
    out["logit_scale"] = torch.tensor(4.6052).to(text["final_layer_norm.weight"].dtype)
    return out


def single_file(unet, vae, text, open_clip_layout):
    """State dicts of diffusers' and transformers' modules (with their .config) to one checkpoint."""
    out = {"model.diffusion_model." + unet_key(k, unet.config): t for k, t in unet.state_dict().items()}
    for k, t in vae.state_dict().items():
        k = vae_key(k, vae.config)
        out["first_stage_model." + k] = t[:, :, None, None] if ".attn_1." in k and t.ndim == 2 else t
    t = {k.removeprefix("text_model."): v for k, v in text.state_dict().items() if not k.endswith("position_ids")}
    if open_clip_layout:
        out |= {"cond_stage_model.model." + k: v for k, v in open_clip(t).items()}
    else:
        out |= {"cond_stage_model.transformer.text_model." + k: v for k, v in t.items()}
        out["cond_stage_model.transformer.text_model.embeddings.position_ids"] = torch.arange(77)[None]
    return {k: v.contiguous() for k, v in out.items()}


def kohya_key(network, module):
    return ("lora_unet_" if network == "unet" else "lora_te_") + module.replace(".", "_")
