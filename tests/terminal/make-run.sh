#!/bin/sh
# A run as its directory shows it, for the screens: pictures of the demo subject stand for samples.
# usage: make-run.sh TOP DIR     below DIR/pdmbooth/runs
set -eu
top=$1 run=$2/pdmbooth/runs/poodle/20260102-030405-lora
mkdir -p "$run/samples/step-000100" "$run/samples/step-000300" "$run/checkpoints/step-000100" "$run/checkpoints/step-000200" "$run/checkpoints/final"
cat >"$run/profile.ini" <<END
[model]
path = embedded
[subject]
name = poodle
token = sks
class = dog
images = embedded:poodle
[prompts]
test = a photo of sks dog
test = a photo of sks dog in the snow
[train]
mode = lora
steps = 300
resolution = 64
[samples]
seed = 7
steps = 2
END
echo 'step,instance,prior,pdm,total,lr,grad_norm,seconds,probe' >"$run/metrics.csv"
for step in 100 200 300; do echo "$step,0.1,0.1,0.1,0.3,1e-4,1,10,0.1$((400 - step))" >>"$run/metrics.csv"; done
echo '{"status":"done","steps":300}' >"$run/summary.json"
for step in 100 300; do
  for prompt in 0 1; do cp "$top/assets/demo-subject/poodle/$((prompt + step / 100)).jpg" "$run/samples/step-000$step/$prompt-0.png"; done
  echo weights >"$run/checkpoints/step-000100/pytorch_lora_weights.safetensors"
done
printf '[step 300]\nstars = 2\nrejected = false\nnote = eyes are right\n' >"$run/verdicts.ini"
