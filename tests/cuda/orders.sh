#!/bin/sh
# A card's threads run in any order: every operation, and a step of the demo, with the simulated ones the other way round and shuffled.
. "$(dirname "$0")/../cli/lib.sh"
tests=${TEST_BUILDDIR:-$PWD}/tests/cuda

for order in reverse shuffle; do
  CUDASIM_ORDER=$order CUDASIM_SEED=7 "$tests/test_cuda_ops" >out 2>&1
  check "every operation, threads in another order: $order" test $? -eq 0
  grep '^not ok' out | sed 's/^/# /'
done
for order in forward reverse shuffle; do
  CUDASIM_STRICT=1 CUDASIM_ORDER=$order CUDASIM_SEED=7 "$tests/pdmbooth-tui" --batch embedded:demo --device cuda --run-dir $order --set train.steps=1 --set train.batch=1 \
    --set losses.pdm=false --set prior.images=1 --set prior.steps=1 --set subject.hold_out= --set prompts.test= --set samples.every=0 >out 2>err
  check "a step of the demo: $order" test $? -eq 0
  cut -d , -f 1-7 $order/metrics.csv >$order.csv
done
check "the same losses to the last digit: reverse" cmp forward.csv reverse.csv
check "the same losses to the last digit: shuffle" cmp forward.csv shuffle.csv
check "and the same weights" sh -c 'cd forward && find checkpoints -name "*.safetensors" | while read -r f; do cmp "$f" "../reverse/$f" && cmp "$f" "../shuffle/$f" || exit 1; done && find . -name "*.safetensors" | grep -q .'
finish
