#!/bin/sh
# The whole program on the simulated device: a step of the demo, whose loss is the CPU's; which device is taken, and what is said when there is none.
. "$(dirname "$0")/../cli/lib.sh"
program=${TEST_BUILDDIR:-$PWD}/tests/cuda/pdmbooth-tui

run() {
  dir=$1 device=$2
  shift 2
  # without a held-out photograph no probe, which would take most of the time
  "$program" --batch embedded:demo --run-dir "$dir" --device "$device" --set subject.hold_out= --set train.batch=1 --set train.steps=1 --set train.mode=lora --set losses.prior=false \
    --set losses.pdm=false --set prompts.test= --set samples.every=0 "$@" >out 2>err
}

run cpu cpu
check "on the CPU" test $? -eq 0
run cuda cuda
check "on the simulated device" test $? -eq 0
sed 's/^/# /' err
check "the log names the device" grep -q 'engine: cuda: ' cuda/log.txt
grep 'engine: ' cuda/log.txt | sed 's/^/# /'
check "losses of both within 1e-3" sh -c 'paste -d , cpu/metrics.csv cuda/metrics.csv | awk -F, "
  NR == 1 { half = NF / 2 }
  NR > 1 { for (i = 2; i <= 5; i += 3) { d = \$i - \$(i + half); if (d < 0) d = -d; if (d > 1e-3 * \$i) bad = 1; printf \"# %s %s\\n\", \$i, \$(i + half) } n++ }
  END { exit bad || n != 1 }"'

# The losses of a run on the simulated device against those of another: within $3 of each other.
near() {
  paste -d , "$1/metrics.csv" "$2/metrics.csv" | awk -F, -v most="$3" '
    NR > 1 { d = $5 - $14; if (d < 0) d = -d; if (!(d <= most * $5)) bad = 1; printf "# %s %s\n", $5, $14; n++ }
    END { exit bad || n != 1 }'
}
run fp16 cuda --set train.precision=fp16
check "fp16 on the simulated device" test $? -eq 0
check "its loss is fp32's within 2e-3" near cpu fp16 2e-3
run half cpu --set train.precision=fp16
check "and the CPU's in fp16 within 1e-3" near half fp16 1e-3
run tf32 cuda --set train.precision=tf32
check "tf32 on the simulated device" test $? -eq 0
check "its loss is fp32's within 2e-3" near cpu tf32 2e-3
check "but not the same: products were rounded" sh -c '! cmp -s cuda/metrics.csv tf32/metrics.csv && ! grep -q TF32 tf32/log.txt'

# recorded as CUDA graphs and not
launches() {
  awk '$2 == "cudaGraphLaunch" { n = $1 } END { print n + 0 }' "$1"
}
for graphs in auto no; do
  export CUDASIM_REPORT=report-$graphs
  run graphs-$graphs cuda --set train.steps=3 --set engine.graphs=$graphs
  check "graphs = $graphs" test $? -eq 0
  cut -d , -f 1-7 graphs-$graphs/metrics.csv >$graphs.csv
done
unset CUDASIM_REPORT
check "steps are recorded, and launched again" test "$(launches report-auto)" -ge 2
check "graphs = no: none is" test "$(launches report-no)" -eq 0
check "the same losses to the last digit" cmp auto.csv no.csv

CUDASIM_DEVICES=0
export CUDASIM_DEVICES
refused "cuda without a card: code 4 and a sentence" 4 "no GPU" "$program" --batch embedded:demo --run-dir none --device cuda
refused "cuda:64 is no word for a device" 2 "cuda:64" "$program" --batch embedded:demo --run-dir none --device cuda:64
run auto auto
check "auto without a card: done" test $? -eq 0
check "and says so, once" test "$(grep -c 'no GPU.*the CPU computes' auto/log.txt)" -eq 1
CUDASIM_DEVICES=1
refused "a second card that is not there" 4 "no GPU 1" "$program" --batch embedded:demo --run-dir none --device cuda:1
finish
