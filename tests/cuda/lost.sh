#!/bin/sh
# Calls that fail, from opening the (simulated) card to the last picture of a run: code 4 and a sentence, or what can be done without is done without; nothing
# half-written, nothing forbidden; what was saved goes on on the CPU. Environment: LOST_POINTS: how many calls of the run fail, each in a run of its own (6).
. "$(dirname "$0")/../cli/lib.sh"
program=${TEST_BUILDDIR:-$PWD}/tests/cuda/pdmbooth-tui
CUDASIM_REPORT=report
CUDASIM_STRICT=1
export CUDASIM_REPORT CUDASIM_STRICT
codes="719 2 1" # a lost card, no memory, a call that did nothing

calls() {
  sed -n '1s/.*violations, \([0-9]*\) calls.*/\1/p' report
}

# without an end of its own, doctor opens the card, asks and closes it
"$program" doctor --device cuda --seconds 0 >out 2>err
check "doctor" test $? -eq 0
opening=$(($(calls) / 2)) # it looks at the card twice
bad='' refusals=0
for code in $codes; do
  for at in $(seq 1 "$opening"); do
    CUDASIM_FAIL=$at:$code "$program" doctor --device cuda --seconds 0 >out 2>err
    case $? in
      0) ;;
      4) refusals=$((refusals + 1)) && grep -q 'does not run: .*\(GPU\|cublasLt\|cuDNN\)' out || bad="$bad $at:$code" ;;
      *) bad="$bad $at:$code" ;;
    esac
  done
done
check "each of $opening calls of opening fails: a sentence" test -z "$bad" -a "$refusals" -ge "$opening"
echo "# $refusals refusals;$bad"

# LoRA with prior preservation, PDM targets, samples after each step
run() {
  dir=$1
  shift
  "$program" --batch embedded:demo-lora --run-dir "$dir" --set train.steps=2 --set train.batch=1 --set train.accumulation=1 --set train.resolution=32 --set prior.images=1 \
    --set prior.steps=1 --set losses.pdm_steps=1 --set samples.count=1 --set samples.steps=1 --set samples.every=1 --set subject.hold_out= --set checkpoints.every=1 \
    --set engine.cache_dir="$scratch/cache-${dir%-*}" "$@" >out 2>err
}
run whole-1 --device cuda
check "a run" test $? -eq 0
all=$(calls)
points=${LOST_POINTS:-6} last=''
# shellcheck disable=SC2086 # words
set -- $codes
for i in $(seq 1 "$points"); do
  at=$((all * (2 * i - 1) / (2 * points))) code=$1
  shift
  set -- "$@" "$code"
  rm -rf cache-lost
  CUDASIM_FAIL=$at:$code run "lost-$i" --device cuda
  status=$?
  check "call $at of $all ends with $code: code 4 and a sentence, or a whole run" sh -c '[ "$1" -eq 0 ] && [ -d "$2/checkpoints/final" ] || { [ "$1" -eq 4 ] && [ "$(grep -c "error: .*\(GPU\|cublasLt\|cuDNN\)" err)" -eq 1 ]; }' \
    sh $status "lost-$i"
  sed 's/^/# /' err
  check "nothing half-written" test -z "$(find "lost-$i" cache-lost -name '*.tmp*' -o -name '.*' -type f 2>/dev/null)"
  [ $status -eq 0 ] || [ ! -d "lost-$i/state" ] || last="lost-$i"
done
check "some of them were saved" test -n "$last"
CUDASIM_DEVICES=0 run "$last" --device auto --resume
check "what was saved goes on on the CPU" test $? -eq 0
check "to the end" test "$(wc -l <"$last/metrics.csv")" -eq 3
finish
