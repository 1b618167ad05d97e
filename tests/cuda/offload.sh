#!/bin/sh
# Weights and moments with the host, the whole program on the simulated device: nothing forbidden is done; a card that is lost in training takes no
# finished step along, and the CPU goes on with the same losses.
. "$(dirname "$0")/../cli/lib.sh"
program=${TEST_BUILDDIR:-$PWD}/tests/cuda/pdmbooth-tui

run() {
  dir=$1
  shift
  "$program" --batch embedded:demo --run-dir "$dir" --set train.batch=1 --set train.steps=4 --set train.text_encoder=true --set losses.prior=false \
    --set losses.pdm=false --set losses.mask_dm=false --set subject.auto_mask=false --set subject.hold_out= --set prompts.test= --set samples.every=0 \
    --set train.accumulation=1 --set engine.offload=yes --set train.gradients=bf16 "$@" >out 2>err
}

CUDASIM_STRICT=1 CUDASIM_SEED=3 run whole --device cuda
check "on the simulated card, with streams in another order" test $? -eq 0
CUDASIM_FAIL=16000:719 run lost --device cuda
check "a card that is lost: code 4" test $? -eq 4
check "and a sentence" grep -q 'error: the GPU failed in .*resume the run' err
check "the last finished step is saved" sh -c 'ls lost/state | grep -q "^step-"'
ls lost/state | sed 's/^/# /'
run lost --device cpu --resume
check "the CPU goes on" test $? -eq 0
check "losses within 1e-4 of those of the card" sh -c 'paste -d , whole/metrics.csv lost/metrics.csv | awk -F, "
  NR == 1 { half = NF / 2 }
  NR > 1 { d = \$2 - \$(2 + half); if (d < 0) d = -d; if (d > 1e-4 * \$2) bad = 1; printf \"# %s %s\\n\", \$2, \$(2 + half); n++ }
  END { exit bad || n != 4 }"'
finish
