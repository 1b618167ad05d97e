#!/bin/sh
# The fastest algorithms of a (simulated) card: found once by the plan of a run, noted in the cache directory, and kept with the run, which goes on with them whatever stands there.
. "$(dirname "$0")/../cli/lib.sh"
program=${TEST_BUILDDIR:-$PWD}/tests/cuda/pdmbooth-tui
CUDASIM_REPORT=report
export CUDASIM_REPORT

run() {
  "$program" --batch embedded:demo --device cuda --set subject.hold_out= --set train.batch=1 --set train.steps=1 --set train.mode=lora --set losses.prior=false \
    --set losses.pdm=false --set prompts.test= --set samples.every=0 --set engine.cache_dir="$scratch/cache" "$@" >out 2>err
}
same_losses() {
  for dir; do cut -d , -f 1-7 "$dir/metrics.csv" >"$dir.rows"; done
  cmp "$1.rows" "$2.rows"
}
measured() {
  awk '$2 == "cudaEventElapsedTime" { n = $1 } END { print n + 0 }' report
}

"$program" plan embedded:demo --device cuda --set engine.cache_dir="$scratch/cache" >out 2>err
check "a plan" test $? -eq 0
check "measures" test "$(measured)" -gt 0
check "and writes nothing" test ! -e cache

run --run-dir one
check "a run" test $? -eq 0
found=$(measured)
check "measures" test "$found" -gt 0
check "and notes it" sh -c 'grep -q "^pdmbooth-tui algorithms 1: cuda: Simulated GPU" cache/algorithms-*.txt && grep -q "^convolution " cache/algorithms-*.txt'
lines=$(grep -c ' = ' cache/algorithms-*.txt)
check "each shape once: at most eight measurements for it" test "$found" -le $((8 * lines))
cp -r cache was

run --run-dir two
check "another run" test $? -eq 0
check "measures nothing" test "$(measured)" -eq 0
check "and changes nothing" diff -r cache was
check "the same losses" same_losses one two
calls=$(sed -n '1s/.*violations, \([0-9]*\) calls.*/\1/p' report)

CUDASIM_ARCH=8.9 run --run-dir three
check "another card" test $? -eq 0
check "measures, and has a file of its own" sh -c '[ "$1" -gt 0 ] && [ "$(ls cache | wc -l)" -eq 2 ]' sh "$(measured)"

# lost in training, gone on with: the cache directory has been emptied meanwhile
CUDASIM_FAIL=$((calls * 3 / 4)):719 run --run-dir four
check "a card that is lost: code 4" test $? -eq 4
check "the run has kept its choices" sh -c 'for file in was/*.txt; do cmp "$file" four/state/choices; done'
rm -r cache
run --run-dir four --resume
check "it goes on" test $? -eq 0
check "and measures nothing" test "$(measured)" -eq 0
check "with the losses of a run that was never stopped" same_losses one four

: >cache
run --run-dir five
check "a cache directory that cannot be: done" test $? -eq 0
check "with a warning" grep -q 'not noted for later runs: .*cache' five/log.txt
finish
