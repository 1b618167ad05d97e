"""Writes the two tiny models (seeded random weights, F16) and their copies in other dialects.

Every weight is disturbed, norms and biases too, so that a transposed, swapped or forgotten one shows.
Matrices have a gain near 1/sqrt(fan in): activations stay O(1)."""
import shutil
import json

from common import *
from diffusers import AutoencoderKL, DDIMScheduler, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

DOWN = ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",)
UP = ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3
BETAS = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", num_train_timesteps=1000,
             set_alpha_to_one=False, steps_offset=1)


def fill(net, tag, gains=()):
    for name, p in net.named_parameters():
        r = rand(f"{tag}.{name}", *p.shape)
        if p.ndim == 1:
            p.data = 1 + 0.1 * r if name.endswith("weight") else 0.1 * r
        elif "embedding" in name:  # tokens and positions
            p.data = 0.5 * r
        else:
            p.data = r / (p.numel() / p.shape[0]) ** 0.5
        for part, gain in gains:
            if name.startswith(part):
                p.data *= gain
        # What is stored is F16: the values are those, in every type.
        p.data = p.data.half().float()
    return net.eval().requires_grad_(False)


def unet(**kw):
    return UNet2DConditionModel(sample_size=8, in_channels=4, out_channels=4, down_block_types=DOWN,
                                up_block_types=UP, **kw)


def vae(channels, groups, scaling):
    n = len(channels)
    return AutoencoderKL(block_out_channels=channels, layers_per_block=1, norm_num_groups=groups, latent_channels=4,
                         down_block_types=("DownEncoderBlock2D",) * n, up_block_types=("UpDecoderBlock2D",) * n,
                         sample_size=64, scaling_factor=scaling)


def text(**kw):
    return CLIPTextModel(CLIPTextConfig(vocab_size=1136, max_position_embeddings=77, bos_token_id=1134,
                                        eos_token_id=1135, **kw))


def write(name, scheduler, unet, vae, text_encoder, pad):
    out = DATA / name
    shutil.rmtree(out, ignore_errors=True)
    tok = SHARED / "tiny-sd/tokenizer"
    pipe = StableDiffusionPipeline(unet=unet.half(), vae=vae.half(), text_encoder=text_encoder.half(),
                                   tokenizer=CLIPTokenizer.from_pretrained(tok), scheduler=scheduler,
                                   safety_checker=None, feature_extractor=None, requires_safety_checker=False)
    pipe.save_pretrained(out)
    # The tokenizer in the files that models on the hub have (transformers 5 writes one tokenizer.json instead).
    shutil.rmtree(out / "tokenizer")
    shutil.copytree(tok, out / "tokenizer", copy_function=shutil.copyfile)
    (out / "tokenizer").chmod(0o755)
    for f in ("tokenizer_config.json", "special_tokens_map.json"):
        p = out / "tokenizer" / f
        config = json.loads(p.read_text())
        config["pad_token"] = pad
        p.write_text(json.dumps(config, indent=2) + "\n")
    return out


def dialects(sd1):
    """The same sd1 weights in the other names that are in use."""
    out = DATA / "dialects"
    shutil.rmtree(out, ignore_errors=True)
    te = load_file(sd1 / "text_encoder/model.safetensors")
    prefixed = any(k.startswith("text_model.") for k in te)
    other = {(k.removeprefix("text_model.") if prefixed else "text_model." + k): t for k, t in te.items()}
    (out / "text_encoder_other").mkdir(parents=True)
    save_file(other, str(out / "text_encoder_other/model.safetensors"), metadata={"format": "pt"})
    (out / "text_encoder_bf16").mkdir()
    save_file({k: t.bfloat16() for k, t in te.items()}, str(out / "text_encoder_bf16/model.safetensors"),
              metadata={"format": "pt"})
    # diffusers before 0.18 named the VAE's attention so; some files hold the matrices as 1x1 convolutions.
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    for name, conv in (("vae_old_linear", False), ("vae_old_conv", True)):
        weights = {}
        for k, t in load_file(sd1 / "vae/diffusion_pytorch_model.safetensors").items():
            for new, o in old.items():
                if f".attentions.0.{new}." in k:
                    k = k.replace(new, o)
                    t = t[:, :, None, None] if conv and t.ndim == 2 else t
            weights[k] = t.contiguous()
        (out / name).mkdir()
        save_file(weights, str(out / name / "diffusion_pytorch_model.safetensors"), metadata={"format": "pt"})
    for part in ("text_encoder_other", "text_encoder_bf16", "vae_old_linear", "vae_old_conv"):
        src = sd1 / ("vae" if part.startswith("vae") else "text_encoder") / "config.json"
        shutil.copyfile(src, out / part / "config.json")
    AutoencoderKL.from_pretrained(sd1, subfolder="vae", torch_dtype=torch.float16).save_pretrained(
        out / "vae_sharded", max_shard_size="25KB")


def main():
    # conv_out of the UNet is small: the 999 steps of inversion then do not blow up rounding errors.
    small = [("conv_out.weight", 0.4)]
    sd1 = write("sd1", PNDMScheduler(skip_prk_steps=True, **BETAS),
                fill(unet(block_out_channels=(8, 16, 24, 24), layers_per_block=2, attention_head_dim=2,
                          cross_attention_dim=32, norm_num_groups=4), "sd1.unet", small),
                fill(vae((4, 8, 8, 8), 2, 0.18215), "sd1.vae"),
                fill(text(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
                          hidden_act="quick_gelu", pad_token_id=1135), "sd1.text"), "<|endoftext|>")
    write("sd2", DDIMScheduler(prediction_type="v_prediction", clip_sample=False, **BETAS),
          fill(unet(block_out_channels=(8, 16, 24, 32), layers_per_block=1, attention_head_dim=(1, 2, 4, 4),
                    cross_attention_dim=40, norm_num_groups=8, norm_eps=1e-4, use_linear_projection=True,
                    transformer_layers_per_block=(2, 1, 1, 1)), "sd2.unet", small),
          fill(vae((4, 8, 12), 4, 0.27307), "sd2.vae"),
          fill(text(hidden_size=40, intermediate_size=96, num_hidden_layers=3, num_attention_heads=5,
                    hidden_act="gelu", pad_token_id=0), "sd2.text"), "!")
    dialects(sd1)


if __name__ == "__main__":
    main()
