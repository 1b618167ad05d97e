#!/bin/sh
# Plans of a card's memory in each of its modes, as rows of the table in tests/bench/README.md ("Modes of a card's memory"); nothing is computed.
# usage: modes.sh PROGRAM NAME=MODEL...      PROGRAM: pdmbooth-tui where there is a card, tests/cuda/pdmbooth-tui for the simulated one; MODEL: a diffusers directory
# Environment: PHOTOS, a directory of photographs (default: those of the demo in the tree)
set -u
program=$1
shift
photos=${PHOTOS:-$(dirname "$0")/../../assets/demo-subject/poodle}
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT

# peak FILE OBJECT: GiB of the peak in the first of these objects
peak() {
  sed -n "s/.*\"$2\":{\"peak\":\([0-9]*\).*/\1/p" "$1" | awk '{ printf "%.2f", $1 / 1073741824 }'
}

# row NAME MODEL WHAT MODE SETTING...
row() {
  name=$1 model=$2 what=$3 mode=$4
  shift 4
  if "$program" plan "$scratch/profile.ini" --device cuda --json --set model.path="$model" "$@" >"$scratch/plan.json" 2>"$scratch/err"; then
    echo "| $name | $what | $mode | $(peak "$scratch/plan.json" memory) | $(peak "$scratch/plan.json" host_memory) |"
  else
    echo "| $name | $what | $mode | $(cat "$scratch/err") | |"
    status=1
  fi
}

cat >"$scratch/profile.ini" <<END
[model]
path = embedded
[subject]
images = $(cd "$photos" && pwd)
token = sks
class = dog
[train]
text_encoder = true
resolution = 512
precision = bf16
batch = 1
rank = 4
[losses]
prior = true
pdm = true
[prompts]
test = a photo of {token} {class}
[prior]
batch = 1
[samples]
batch = 1
[engine]
offload = no
END
status=0
echo "| model | | mode | card | machine |"
echo "|---|---|---|---|---|"
for pair; do
  name=${pair%%=*} model=${pair#*=} full="full with text encoder" lora="LoRA of rank 4, text encoder too"
  row "$name" "$model" "$full" "everything on the card" --set train.mode=full
  row "$name" "$model" "$full" "blocks computed again" --set train.mode=full --set train.recompute=true
  row "$name" "$model" "$full" "and moments in 8 bits, gradients in bf16" --set train.mode=full --set train.recompute=true --set train.moments=8bit --set train.gradients=bf16
  row "$name" "$model" "$full" "blocks computed again, offload" --set train.mode=full --set train.recompute=true --set engine.offload=yes
  row "$name" "$model" "$lora" "everything on the card" --set train.mode=lora
  row "$name" "$model" "$lora" "blocks computed again" --set train.mode=lora --set train.recompute=true
  row "$name" "$model" "$lora" "blocks computed again, offload" --set train.mode=lora --set train.recompute=true --set engine.offload=yes
done
exit $status
