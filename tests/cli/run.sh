#!/bin/sh
# A short complete run and what it leaves; a run stopped by SIGTERM and gone on with; pictures from what was trained.
. "$(dirname "$0")/lib.sh"

# short NAME OPTION...: a run of a few steps on the embedded model; with prefix=exec in place of the shell
prefix=
short() {
  dir=$1
  shift
  $prefix "$program" --batch embedded:demo --run-dir "$dir" --set train.batch=1 --set prompts.test="a {token} {class} in the snow" --set prompts.test=car \
    --set samples.count=2 --set samples.steps=2 --set samples.every=0 --set prior.images=2 --set prior.steps=2 --set prior.batch=2 \
    --set losses.pdm_steps=4 "$@"
}
rows() { # how many rows metrics.csv has
  if [ -f "$1/metrics.csv" ]; then awk 'END { print NR - 1 }' "$1/metrics.csv"; else echo 0; fi
}

short full --set train.steps=3 --set samples.every=2 >out 2>err
check "full fine-tune: done" test $? -eq 0
sed 's/^/# /' err
check "one line of JSON" test "$(wc -l <out)" -eq 1
check "JSON: status, steps, checkpoint" grep -q '"status":"done","exit_code":0,.*"steps":3,.*"checkpoint":"[^"]*/full/checkpoints/' out
check "metrics.csv: header" sh -c 'head -n 1 full/metrics.csv | grep -q "^step,instance,prior,pdm,total,lr,grad_norm,seconds"'
check "metrics.csv: a row for each step, every loss a number" awk -F, 'NR > 1 && ($1 != NR - 1 || $2 <= 0 || $3 <= 0 || $4 <= 0 || $5 <= 0) { bad = 1 } END { exit bad || NR != 4 }' full/metrics.csv
check "profile.ini: every key" test "$(grep -c '^[a-z_0-9]* = ' full/profile.ini)" -ge 60
check "info.json: hashes of photographs and model" test "$(grep -c '"sha256"' full/info.json)" -ge 8
check "samples of step 2 and of the end" test -s full/samples/step-000002/1-1.png -a -s full/samples/step-000003/0-0.png
check "sample knows its prompt" grep -q 'a sks dog in the snow' full/samples/step-000003/0-0.png
check "report and TensorBoard's file" sh -c 'test -s full/report.html && test "$(ls full/events.out.tfevents.* | wc -l)" -eq 1'
check "sheet and curves" test -s full/samples/step-000003.png -a -s full/curves.png
check "log" grep -q 'info: running embedded:demo' full/log.txt
check "nothing half-written" test -z "$(find full -name '*.tmp*' -o -name '.*' ! -name . | head -n 1)"
final=$(sed 's/.*"checkpoint":"\([^"]*\)".*/\1/' out)
check "the final model is a diffusers directory" test -f "$final/model_index.json" -a -f "$final/unet/diffusion_pytorch_model.safetensors"
refused "a directory that holds a run is kept" 2 "already holds a run" short full --set train.steps=3
"$program" --batch full/profile.ini --run-dir again --set train.steps=1 --set prompts.test= >/dev/null 2>&1
check "the frozen profile runs as it is" test $? -eq 0

"$program" sample "$final" --prompt "a photo of sks dog" --count 2 --steps 2 --sheet sheet.png --out pictures --dump dump >paths 2>err
check "sample from the model" test $? -eq 0 -a -s sheet.png -a -s pictures/01-0.png -a -s pictures/01-1.png
check "sample: paths on standard output" test "$(cat paths)" = "$(printf 'pictures/01-0.png\npictures/01-1.png\nsheet.png')"
check "sample: dump" test -s dump/noise.npy -a -s dump/latents.npy -a -s dump/text.npy -a -s dump/negative.npy
"$program" sample "$final" --prompt "a photo of sks dog" --count 2 --steps 2 --latents dump/noise.npy --dump dump2 >/dev/null 2>&1
check "sample from given noise: the same latents" cmp dump/latents.npy dump2/latents.npy
check "sheet of existing pictures" "$program" sheet two.png --label row --column-label a --column-label b pictures/01-0.png -
check "its PNG" sh -c 'head -c 4 two.png | grep -q PNG'

# stop SIGNAL ROWS: goes on with the run "stopped" until metrics.csv has that many rows, then sends the signal; its exit status
lora="--set train.mode=lora --set losses.prior=false --set losses.pdm=false --set train.steps=30"
stop() {
  (prefix=exec; short stopped --resume $lora) >out 2>err &
  pid=$!
  tries=0
  while [ "$(rows stopped)" -lt "$2" ] && [ $tries -lt 2000 ] && kill -0 $pid 2>/dev/null; do
    sleep 0.05
    tries=$((tries + 1))
  done
  kill "-$1" $pid
  wait $pid
}
stop TERM 3
check "SIGTERM: 143" test $? -eq 143
check "SIGTERM: JSON" grep -q '"status":"sigterm","exit_code":143' out
first=$(rows stopped)
check "SIGTERM: stopped on the way" test "$first" -ge 3 -a "$first" -lt 30
stop INT $((first + 3))
check "SIGINT: 130" test $? -eq 130
check "SIGINT: JSON, went on where it stopped" grep -q "\"status\":\"sigint\",\"exit_code\":130,.*\"start_step\":$first," out
second=$(rows stopped)
short stopped --resume $lora >out 2>err
check "--resume: done" test $? -eq 0
check "--resume: begins where it stopped" grep -q "\"start_step\":$second,\"steps\":30" out
check "--resume: each step once" sh -c 'tail -n +2 stopped/metrics.csv | cut -d, -f1 | tr "\n" " " | grep -qx "$(seq 30 | tr "\n" " ")"'
check "--resume: one event file, begun anew" test "$(ls stopped/events.out.tfevents.* | wc -l)" -eq 1
check "LoRA file" test -s stopped/checkpoints/final/pytorch_lora_weights.safetensors
"$program" sample stopped/checkpoints/final --base embedded --prompt "sks dog" --steps 2 --out lora >/dev/null 2>&1
check "sample from the LoRA" test $? -eq 0 -a -s lora/01-0.png
short new --resume $lora --set train.steps=1 --set prompts.test= >/dev/null 2>&1
check "--resume with nothing to resume begins" test $? -eq 0 -a "$(rows new)" -eq 1
short dumped $lora --set train.steps=1 --set prompts.test= --dump-steps 1 --dump steps >/dev/null 2>&1
check "--dump-steps writes safetensors" sh -c 'ls steps/*.safetensors steps/*/*.safetensors 2>/dev/null | grep -q safetensors'
finish
