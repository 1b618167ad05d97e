"""The loss terms of method.md section 4, for dump_losses.py, dump_training.py and replay.py."""
import torch


def add_noise(abar, z, noise, t):
    a = abar.to(z.dtype)[t].view(-1, 1, 1, 1)
    return a.sqrt() * z + (1 - a).sqrt() * noise


def target(abar, z, noise, t, v_prediction):
    a = abar.to(z.dtype)[t].view(-1, 1, 1, 1)
    return a.sqrt() * noise - (1 - a).sqrt() * z if v_prediction else noise


def snr_weight(abar, t, gamma, v_prediction):
    """Min-SNR weight of each example; gamma None: 1."""
    if gamma is None:
        return torch.ones(len(t), dtype=abar.dtype)
    snr = abar[t] / (1 - abar[t])
    return snr.clamp(max=gamma) / (snr + 1 if v_prediction else snr)


def masked_mse(pred, goal, mask, weight):
    """Mean over examples of weight * mean over the selected elements; an empty mask gives 0, not NaN.

    pred [b, ...]; mask broadcasts against pred, None selects everything."""
    terms = []
    for i in range(len(pred)):
        square = (pred[i] - goal[i]) ** 2
        if mask is None:
            mean = square.mean()
        else:
            m = mask[i].to(square.dtype).expand_as(square)
            mean = (square * m).sum() / m.sum().clamp(min=1)
        terms.append(weight[i] * mean)
    return torch.stack(terms).mean()


def step_losses(m, x, tap, cfg):
    """One micro-batch: all slots of all examples in one forward pass of text encoder and UNet.

    x: `latents` and `noise` [slots, b, 4, h, w], `timesteps` [slots, b], `ids` [slots, b, 77], `mask_dm` [b, h, w],
    `mask_prior`, `mask_pdm` [b, tokens], `qstar` [b, tokens, channels]; a mask that is not used is None.
    cfg: slots (names in order), prior_weight, pdm_weight, snr_gamma. Returns the terms and `total`."""
    slots, b = cfg["slots"], x["latents"].shape[1]
    z, noise, t = (x[k].flatten(0, 1) for k in ("latents", "noise", "timesteps"))
    h = m.text_encoder(x["ids"].flatten(0, 1)).last_hidden_state
    out = m.unet(add_noise(m.abar, z, noise, t), t, h).sample
    goal = target(m.abar, z, noise, t, m.v_prediction)
    weight = snr_weight(m.abar, t, cfg.get("snr_gamma"), m.v_prediction).to(z.dtype)
    of = {s: slice(i * b, (i + 1) * b) for i, s in enumerate(slots)}
    loss = {}
    for slot, mask in (("instance", "mask_dm"), ("prior", "mask_prior")):
        if slot in of:
            r = of[slot]
            chosen = x.get(mask)
            loss[slot] = masked_mse(out[r], goal[r], chosen if chosen is None else chosen[:, None], weight[r])
    if "pdm" in of:
        chosen = x.get("mask_pdm")
        loss["pdm"] = masked_mse(tap.q[of["pdm"]], x["qstar"], chosen if chosen is None else chosen[:, :, None],
                                 torch.ones(b, dtype=z.dtype))
    loss["total"] = (loss.get("instance", 0) + cfg["prior_weight"] * loss.get("prior", 0)
                     + cfg["pdm_weight"] * loss.get("pdm", 0))
    return loss
