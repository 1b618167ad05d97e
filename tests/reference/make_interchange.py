"""Writes data/interchange: small files as other programs write them, and what diffusers computes with them.

ldm_sd1, ldm_sd2: a single-file checkpoint and, beside it, its configs and tokenizer. lora_*: adapters of ldm_sd1 in every
dialect, all of which mean the same numbers; kohya_rest: modules beyond attention, with ranks and alphas of their own."""
import json
import shutil

from common import *
from diffusers import AutoencoderKL, DDIMScheduler, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from ldm import kohya_key, single_file
from make_models import BETAS, fill
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
from transformers import CLIPTextConfig, CLIPTextModel

OUT = DATA / "interchange"
DOWN = ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D")
UP = ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D")


def parts(tag, width, groups, linear, act, layers, heads, pad):
    unet = UNet2DConditionModel(sample_size=8, block_out_channels=(4, 8, 8), layers_per_block=layers, down_block_types=DOWN,
                                up_block_types=UP, cross_attention_dim=width, attention_head_dim=heads, norm_num_groups=groups,
                                use_linear_projection=linear)
    vae = AutoencoderKL(block_out_channels=(4, 8), layers_per_block=1, norm_num_groups=2, latent_channels=4, sample_size=16,
                        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2)
    text = CLIPTextModel(CLIPTextConfig(vocab_size=1136, max_position_embeddings=77, bos_token_id=1134, eos_token_id=1135,
                                        hidden_size=width, intermediate_size=2 * width, num_hidden_layers=2,
                                        num_attention_heads=2, hidden_act=act, pad_token_id=pad))
    return [fill(n, f"interchange.{tag}.{i}") for i, n in enumerate((unet, vae, text))]


def config_directory(out, unet, vae, text, scheduler, tokenizer):
    for name, part in (("unet", unet), ("vae", vae), ("scheduler", scheduler), ("text_encoder", text)):
        (part.save_config if hasattr(part, "save_config") else part.config.save_pretrained)(out / name)
    shutil.copytree(DATA / tokenizer / "tokenizer", out / "tokenizer", copy_function=shutil.copyfile)
    index = {"_class_name": "StableDiffusionPipeline", "_diffusers_version": "0.42.1", "feature_extractor": [None, None],
             "requires_safety_checker": False, "safety_checker": [None, None],
             "scheduler": ["diffusers", type(scheduler).__name__], "text_encoder": ["transformers", "CLIPTextModel"],
             "tokenizer": ["transformers", "CLIPTokenizer"], "unet": ["diffusers", "UNet2DConditionModel"],
             "vae": ["diffusers", "AutoencoderKL"]}
    (out / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")


@torch.no_grad()
def results(pipe, tag):
    """What the networks give for fixed inputs."""
    ids = randint("interchange.ids", 1136, 2, 77)
    x, t = rand("interchange.x", 2, 4, 8, 8), torch.tensor([7, 801])
    z = rand("interchange.z", 1, 4, 8, 8)
    states = pipe.text_encoder(ids).last_hidden_state
    return {f"{tag}.states": states, f"{tag}.y": pipe.unet(x, t, states).sample, f"{tag}.decoded": pipe.vae.decode(z).sample}


def read_single(name):
    pipe = StableDiffusionPipeline.from_single_file(str(OUT / f"{name}.safetensors"), config=str(OUT / f"{name}-config"),
                                                    safety_checker=None, local_files_only=True, torch_dtype=torch.float32)
    for n in (pipe.unet, pipe.vae, pipe.text_encoder):
        n.float().eval().requires_grad_(False)
    return pipe


def checkpoint(name, networks, open_clip_layout, scheduler, tokenizer, dump):
    unet, vae, text = networks
    config_directory(OUT / f"{name}-config", unet, vae, text, scheduler, tokenizer)
    tensors = {k: t.half() if t.is_floating_point() else t for k, t in single_file(unet, vae, text, open_clip_layout).items()}
    save_file(tensors, str(OUT / f"{name}.safetensors"), metadata={"format": "pt"})
    want = results(SimpleNamespace(unet=unet, vae=vae, text_encoder=text), name)
    have = results(read_single(name), name)
    for k in want:  # diffusers reads the file as it was meant
        assert rel(have[k], want[k]) < 1e-5, (k, rel(have[k], want[k]))
    dump.update(want)


def adapters(unet, text):
    """module -> (A, B) with the scale in B; random, and strong enough to show."""
    out = {}
    for network, net, ends in (("unet", unet, ("to_q", "to_k", "to_v", "to_out.0")),
                               ("text_encoder", text, ("q_proj", "k_proj", "v_proj", "out_proj"))):
        for name, m in net.named_modules():
            if name.endswith(ends) and isinstance(m, torch.nn.Linear):
                name = text_name(name) if network == "text_encoder" else name
                a, b = (rand(f"interchange.{network}.{name}.{i}", *s) for i, s in (("a", (2, m.in_features)), ("b", (m.out_features, 2))))
                out[network, name] = (0.5 * a.half().float(), 0.5 * b.half().float())
    return out


def save(name, tensors, **metadata):
    save_file({k: t.half().contiguous() for k, t in tensors.items()}, str(OUT / f"{name}.safetensors"),
              metadata={"format": "pt"} | metadata)


def peft_directory(networks, lora):
    """Written by peft; ranks and alphas by pattern, and rank-stabilised scaling for the text encoder."""
    for network, net in networks.items():
        mine = {m: ab for (n, m), ab in lora.items() if n == network}
        rs = network == "text_encoder"
        config = LoraConfig(r=2, lora_alpha=1 if rs else 4, target_modules=["q_proj", "k_proj", "v_proj", "out_proj"] if rs else
                            ["to_q", "to_k", "to_v", "to_out.0"], use_rslora=rs,
                            **({} if rs else dict(rank_pattern={"attn2.to_k": 3}, alpha_pattern={"attn2.to_k": 6, "mid_block.*to_v": 1})))
        model = get_peft_model(net, config)
        state = get_peft_model_state_dict(model)
        for key in state:
            module = key.removeprefix("base_model.model.").rsplit(".lora_", 1)[0]
            a, b = mine[text_name(module) if rs else module]
            layer = model.base_model.model.get_submodule(module)
            scale = layer.scaling["default"]
            if state[key].shape[0 if "lora_A" in key else 1] == 3:  # a row of zeros more
                a, b = torch.cat([a, torch.zeros(1, a.shape[1])]), torch.cat([b, torch.zeros(b.shape[0], 1)], 1)
            part = a if "lora_A" in key else b / scale
            (layer.lora_A if "lora_A" in key else layer.lora_B)["default"].weight.data = part
        model.save_pretrained(OUT / "lora_peft" / network, safe_serialization=True)
        (OUT / "lora_peft" / network / "README.md").unlink(missing_ok=True)
        model.unload()


def lora_files(pipe, dump):
    lora = adapters(pipe.unet, pipe.text_encoder)
    kohya, module, old, peft = {}, {}, {}, {}
    for (network, name), (a, b) in lora.items():
        k = kohya_key(network, name)
        kohya |= {f"{k}.lora_down.weight": a, f"{k}.lora_up.weight": 2 * b, f"{k}.alpha": torch.tensor(1.0)}
        unet = network == "unet"
        m = f"{network}.{name}." + ("lora" if unet else "lora_linear_layer")
        module |= {f"{m}.down.weight": a, f"{m}.up.weight": b}
        parent, leaf = name.removesuffix(".0").rsplit(".", 1)
        leaf = leaf if unet else "to_" + leaf.removesuffix("_proj")
        o = f"{network}.{parent}.{'processor.' if unet else ''}{leaf}_lora"
        old |= {f"{o}.down.weight": a, f"{o}.up.weight": b}
        peft |= {f"{network}.{name}.lora_A.weight": a, f"{network}.{name}.lora_B.weight": b / 2}
    save("lora_kohya", kohya, ss_network_module="networks.lora", ss_network_dim="2", ss_network_alpha="1", ss_v2="False",
         ss_base_model_version="sd_v1")
    save("lora_module", module)
    save("lora_old", old)
    meta = {f"{n}.{k}": v for n in ("unet", "text_encoder") for k, v in dict(r=2, lora_alpha=4, use_rslora=False, use_dora=False).items()}
    save("lora_in_diffusers", peft, lora_adapter_metadata=json.dumps(meta))
    for name in ("lora_kohya", "lora_module", "lora_old"):
        pipe.load_lora_weights(str(OUT / f"{name}.safetensors"))
        have = results(pipe, "lora")
        if "lora.y" in dump:
            assert rel(have["lora.y"], dump["lora.y"]) < 1e-4 and rel(have["lora.states"], dump["lora.states"]) < 1e-4, name
        dump.update({k: t for k, t in have.items() if "decoded" not in k})
        pipe.unload_lora_weights()
    peft_directory({"unet": pipe.unet, "text_encoder": pipe.text_encoder}, lora)


def rest(pipe, dump):
    """kohya's file with modules beyond attention; what it means is added to the weights by hand."""
    targets = {"unet": ("ff.net.0.proj", "ff.net.2", "proj_in", "proj_out", "conv1", "conv2", "conv_shortcut", "time_emb_proj",
                        "downsamplers.0.conv", "upsamplers.0.conv", "conv_in", "linear_1"),
               "text_encoder": ("mlp.fc1", "mlp.fc2")}
    out = {}
    for network, net in (("unet", pipe.unet), ("text_encoder", pipe.text_encoder)):
        for i, (name, m) in enumerate(net.named_modules()):
            if not name.endswith(targets[network]) or not hasattr(m, "weight"):
                continue
            r, alpha, w = 1 + i % 3, 1.0 + i % 2, m.weight
            full = text_name(name) if network == "text_encoder" else name
            down = (0.3 * rand(f"rest.{full}.down", r, *w.shape[1:])).half().float()
            up = (0.3 * rand(f"rest.{full}.up", w.shape[0], r)).half().float()
            k = kohya_key(network, full)
            out |= {f"{k}.lora_down.weight": down, f"{k}.lora_up.weight": up[:, :, None, None] if w.ndim == 4 else up,
                    f"{k}.alpha": torch.tensor(alpha)}
            w.data += alpha / r * (up @ down.flatten(1)).reshape(w.shape)
    save("kohya_rest", out, ss_network_module="networks.lora", ss_v2="False")
    dump.update({k: t for k, t in results(pipe, "rest").items() if "decoded" not in k})


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    dump = Dump({"in.ids": randint("interchange.ids", 1136, 2, 77), "in.x": rand("interchange.x", 2, 4, 8, 8),
                 "in.t": torch.tensor([7, 801]), "in.z": rand("interchange.z", 1, 4, 8, 8)})
    checkpoint("ldm_sd1", parts("sd1", 16, 2, False, "quick_gelu", 1, 2, 1135), False,
               PNDMScheduler(skip_prk_steps=True, **BETAS), "sd1", dump)
    checkpoint("ldm_sd2", parts("sd2", 20, 4, True, "gelu", 2, (1, 2, 2), 0), True,
               DDIMScheduler(prediction_type="v_prediction", clip_sample=False, **BETAS), "sd2", dump)
    lora_files(read_single("ldm_sd1"), dump)
    rest(read_single("ldm_sd1"), dump)
    dump.save(OUT / "expected.safetensors")


main()
