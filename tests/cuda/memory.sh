#!/bin/sh
# Memory of a card, simulated: what a run takes of it is what the plan says, to the byte; a smaller card is planned for, or refused.
. "$(dirname "$0")/../cli/lib.sh"
program=${TEST_BUILDDIR:-$PWD}/tests/cuda/pdmbooth-tui
short="--device cuda --set engine.offload=no --set prompts.test=one --set train.steps=1 --set train.batch=1 --set train.ema_decay=0 --set subject.hold_out= --set losses.pdm_steps=2
  --set prior.images=1 --set prior.steps=2 --set samples.every=0 --set samples.count=1 --set samples.steps=2 --set samples.probe_every=0"

# of FILE NAME: the number after "NAME": in the object after "memory":
of() {
  sed -n "s/.*\"memory\":{[^}]*\"$2\":\([0-9]*\).*/\1/p" "$1" | tail -n 1
}

# same NAME ARGUMENT...: the plan, and the run's own figure and the simulator's
same() {
  what=$1
  shift
  "$program" plan embedded:demo $short "$@" --json >plan.json 2>err
  check "$what: planned" test $? -eq 0
  rm -rf run
  CUDASIM_REPORT=report "$program" --batch embedded:demo $short "$@" --run-dir run --json >run.json 2>err
  status=$?
  check "$what: run" test $status -eq 0
  [ $status -eq 0 ] || tail -n 5 err | sed 's/^/# /'
  planned=$(of plan.json peak) counted=$(of run.json peak) taken=$(sed -n '1s/.*device memory \([0-9]*\) bytes.*/\1/p' report)
  echo "# planned $planned, counted $counted, taken $taken"
  check "$what: bytes taken are the bytes planned" test "$planned" -eq "$taken" -a "$counted" -eq "$taken"
}

same "full, fp32"
rows=$(cat run/metrics.csv)
whole=$planned
same "full, bf16" --set train.precision=bf16 --set losses.pdm=false --set losses.prior=false
same "full, moments in 8 bits, gradients in bf16" --set train.moments=8bit --set train.gradients=bf16 --set losses.pdm=false --set losses.prior=false
same "LoRA, fp32" --set train.mode=lora --set losses.prior=false --set losses.pdm=false
same "full, offloaded" --set engine.offload=yes --set train.precision=bf16 --set losses.pdm=false --set losses.prior=false
same "LoRA, offloaded" --set engine.offload=yes --set train.mode=lora --set train.precision=bf16 --set losses.prior=false --set losses.pdm=false
same "LoRA, bf16" --set train.mode=lora --set train.precision=bf16 --set losses.prior=false --set losses.pdm=false

# a card whose free memory, less the thirty-second that is left alone, is 4 MiB too small
CUDASIM_MEMORY=$((whole + whole / 31 - 4194304))
export CUDASIM_MEMORY
same "a smaller card"
check "it computes some blocks again" grep -q '"recomputed":[1-9]' plan.json
steps() {
  cut -d , -f 1-7
}
check "with the same losses" test "$(echo "$rows" | steps)" = "$(steps <run/metrics.csv)"
check "memory in [engine] is the card's" sh -c '"$1" plan embedded:demo $2 --set engine.memory='$((whole - 4194304))' --json >plan.json; grep -q "\"recomputed\":[1-9]" plan.json' sh "$program" "$short"

CUDASIM_MEMORY=$((whole + whole / 31 - 89128960))
"$program" plan embedded:demo $short --set engine.least_moments=8bit --json >plan.json 2>err
check "a much smaller card: fewer bits for the moments, where that is allowed" grep -q '"status":"fits".*"moments":"8bit"' plan.json

CUDASIM_MEMORY=$((whole / 2))
refused "a card that is too small: code 4, and which memory" 4 "of the card's memory" "$program" --batch embedded:demo $short --run-dir none
check "and what the card has" grep -q 'the card has .* are free for this run' err
check "and nothing was begun" test ! -e none
"$program" plan embedded:demo $short --set train.mode=lora >out 2>err
check "the plan says which memory is which" sh -c 'grep -q "^memory of the card: .* at the peak" out && grep -q "^memory of the machine: .* at the peak" out'
finish
