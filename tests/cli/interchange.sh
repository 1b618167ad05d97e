#!/bin/sh
# Other programs' files from outside: a single file as base model, export in every form, LoRAs of every dialect, start_from, inspect.
. "$(dirname "$0")/lib.sh"
data=$top/tests/data

# picture NAME OPTION...: two steps on the same noise; leaves NAME/latents.npy
picture() {
  name=$1
  shift
  "$program" sample "$@" --prompt "a photo of sks dog" --steps 2 --seed 3 --size 64x64 --dump "$name" >/dev/null 2>"$name.log" || cat "$name.log"
}
# train NAME OPTION...: one step on the embedded photographs
train() {
  name=$1
  shift
  "$program" --batch embedded:demo --run-dir "$name" --set model.path=sd1.safetensors --set train.batch=1 --set prompts.test= --set train.mode=lora --set losses.prior=false \
    --set losses.pdm=false --set train.steps=1 --set train.resolution=64 --set subject.hold_out= "$@" >"$name.json" 2>"$name.log" || cat "$name.log"
}

"$program" export embedded --as single-file --out model.safetensors >paths 2>err
check "single file: written" test $? -eq 0 -a -s model.safetensors -a -s model-config/model_index.json
check "single file: its paths on standard output" test "$(cat paths)" = "$(printf 'model.safetensors\nmodel-config')"
check "single file: no weights among the configs" test -z "$(find model-config -name '*.safetensors')"
picture embedded embedded
picture single model.safetensors
check "single file: the same picture" cmp embedded/latents.npy single/latents.npy
check "what was assumed is said" grep -q "configs and tokenizer from .*model-config" single.log
mv model-config elsewhere
refused "single file: what tensors do not tell" 3 "put a diffusers directory with that model's configs" "$program" sample model.safetensors --prompt x
picture given model.safetensors --config elsewhere
check "single file: --config" cmp embedded/latents.npy given/latents.npy
mv elsewhere model-config
refused "export: nothing is overwritten" 2 "exists already" "$program" export embedded --as single-file --out model.safetensors
check "export: --force" sh -c '"$0" export embedded --as single-file --out model.safetensors --force --dtype bf16 >/dev/null 2>&1' "$program"
check "export: no temporary file is left" test -z "$(find . -name '*.new-*' -o -name '*.tmp-*' -o -name '*.old-*' | head -n 1)"
"$program" export "$data/sd2" --as single-file --out sd2.safetensors >/dev/null 2>&1
check "single file of Stable Diffusion 2: its .yaml" grep -q 'parameterization: "v"' sd2.yaml
"$program" export "$data/sd1" --as single-file --out sd1.safetensors >/dev/null 2>&1
picture sd1 sd1.safetensors
picture sd1-directory "$data/sd1"
check "single file: the same picture as from the directory" cmp sd1/latents.npy sd1-directory/latents.npy

train run --set train.rank=2 --set train.alpha=4 --set train.text_encoder=true --set train.lr=0.01
check "training on a single file" grep -q '"status":"done"' run.json
check "info.json: the file's hash" grep -q '"file":.*"sd1.safetensors"' run/info.json
lora=run/checkpoints/final
picture trained "$lora" --base sd1.safetensors
check "the adapters show" sh -c '! cmp -s trained/latents.npy sd1/latents.npy'
for form in lora-kohya lora-diffusers lora-diffusers-old lora-peft; do
  out=$form.safetensors
  [ $form != lora-peft ] || out=$form
  "$program" export "$lora" --as $form --base sd1.safetensors --out $out >/dev/null 2>err
  check "$form: written" test $? -eq 0 -a -e $out
  picture "from-$form" $out --base sd1.safetensors
  check "$form: the same picture" cmp trained/latents.npy "from-$form/latents.npy"
  check "$form: inspect" sh -c '"$0" inspect "$1" | grep -q "^modules *136"' "$program" "$out"
done
train again --set train.start_from=lora-kohya.safetensors --set train.text_encoder=true --set train.lr=0
picture continued again/checkpoints/final --base sd1.safetensors
check "start_from: begins with the file's adapters" cmp trained/latents.npy continued/latents.npy
start() {
  rm -rf refused
  "$program" --batch embedded:demo --run-dir refused --set train.steps=1 --set model.path=sd1.safetensors --set train.resolution=64 --set train.mode=lora --set prompts.test= --set losses.prior=false --set losses.pdm=false "$@"
}
refused "start_from: text encoder not trained" 2 "set text_encoder = true" start --set train.text_encoder=false --set train.start_from=lora-kohya.safetensors
refused "start_from: another model" 3 "made for another model" start --set model.path=embedded --set train.start_from="$data/interchange/lora_kohya.safetensors"
refused "start_from: mode full" 2 "start_from is for mode lora" start --set train.mode=full --set train.start_from=lora-kohya.safetensors
refused "start_from: convolutions" 3 "cannot be trained" start --set model.path="$data/interchange/ldm_sd1.safetensors" --set train.resolution=16 \
  --set train.text_encoder=true --set train.start_from="$data/interchange/kohya_rest.safetensors"

"$program" export sd1.safetensors --merge lora-kohya.safetensors --scale 0 --as diffusers --dtype fp32 --out same >/dev/null 2>&1
picture same same
check "merged at scale 0: the base model" cmp sd1/latents.npy same/latents.npy
refused "export: a model is no LoRA" 2 "is a whole model" "$program" export embedded --as lora-kohya --out x.safetensors
refused "export: a LoRA is no model" 2 "needs --base" "$program" export lora-kohya.safetensors --as diffusers --out x
refused "export: the old dialect knows attention only" 2 "attention only" "$program" export "$data/interchange/kohya_rest.safetensors" --as lora-diffusers-old --out x.safetensors
refused "export: no --out" 2 "--out" "$program" export embedded --as diffusers
refused "export: no --as" 2 "--as" "$program" export embedded --out x
check "nothing was left by what was refused" test ! -e x -a ! -e x.safetensors

"$program" inspect --json --tensors model.safetensors >inspect.json
check "inspect --json" sh -c 'grep -q "\"kind\":.*\"single-file\"" inspect.json && grep -q "input_blocks.0.0.weight" inspect.json'
head -c 1000000 model.safetensors >cut.safetensors
"$program" inspect cut.safetensors >out 2>&1
check "inspect: something is wrong: 3" test $? -eq 3
check "inspect: what is wrong" grep -q "^problem .*end of the file" out
refused "inspect: no such file" 3 "nothing-here" "$program" inspect nothing-here
finish
