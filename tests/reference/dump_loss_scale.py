"""loss_scale.safetensors: torch.amp.GradScaler with its defaults over STEPS steps of one weight, some of whose gradients are not finite.

overflow: the steps (from 0) whose gradient is infinite or NaN; change, scale: after which steps the scale is another one, and which;
weight: of SGD with rate 1 and gradients of 1 after each of those steps, so minus the number of updates made."""
from common import *

STEPS = 9000
# The very first; one alone; several in a row; the last before and the first after a doubling; one that restarts the count.
OVERFLOW = [0, 1, 5, 700, 701, 702, 2702, 2703, 4704, 6703]


def main():
    w = torch.zeros(1, requires_grad=True)
    sgd = torch.optim.SGD([w], 1.0)
    scaler = torch.amp.GradScaler("cpu")
    change, scale, weight, last = [], [], [], scaler.get_scale()
    assert last == 65536
    for i in range(STEPS):
        loss = scaler.scale(w.sum())
        loss.backward()
        if i in OVERFLOW:
            w.grad.fill_(float("nan") if i % 2 else float("inf"))
        scaler.step(sgd)
        scaler.update()
        sgd.zero_grad()
        if scaler.get_scale() != last:
            last = scaler.get_scale()
            change.append(i)
            scale.append(last)
            weight.append(float(w))
    d = Dump()
    d |= {"steps": torch.tensor([float(STEPS)]), "overflow": torch.tensor(OVERFLOW).float(), "change": torch.tensor(change).float(),
          "scale": torch.tensor(scale), "weight": torch.tensor(weight)}
    d.save(DATA / "loss_scale.safetensors")
    print(list(zip(change, scale, weight)))


main()
