#!/bin/sh
# What can be said of a card only on a card: every operation against ref, the parity table, a training of the demo beside the CPU's, compute-sanitizer over the operations, and the
# benchmark. Environment: TEST_SRCDIR, TEST_BUILDDIR. Written to tests/gpu/CARD-DATE.log, which belongs into the tree. Ends with "N passed, N failed".
set -u
build=${TEST_BUILDDIR:-$PWD}
program=$build/pdmbooth-tui
if ! "$program" doctor --device cuda --seconds 0.2 >/dev/null 2>&1; then
  "$program" doctor --device cuda --seconds 0 | sed -n '/^CUDA/,/^[A-Z][a-z]/p' >&2
  echo "gpu-check: there is no card that can be used; make check-cudasim needs none" >&2
  exit 4
fi
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
card=$("$program" doctor --device cuda --json --seconds 0 | sed 's/.*"engine":"cuda: \([^,"]*\).*/\1/' | tr ' /' '--')
mkdir -p "${TEST_SRCDIR:-.}/tests/gpu"
log=${TEST_SRCDIR:-.}/tests/gpu/$card-$(date +%Y-%m-%d).log
passed=0 failed=0

# stage NAME COMMAND...: one test; all that it prints goes to the log
stage() {
  name=$1
  shift
  echo "=== $name"
  if "$@"; then passed=$((passed + 1)); else failed=$((failed + 1)) && echo "FAILED: $name"; fi
}

demo() {
  for device in cpu cuda; do
    "$program" --batch embedded:demo --device $device --run-dir "$scratch/$device" --quiet --set train.steps=20 --set prior.images=4 --set prior.steps=10 \
      --set samples.every=0 --set losses.pdm_steps=10 >/dev/null || return 1
  done
  paste -d , "$scratch/cpu/metrics.csv" "$scratch/cuda/metrics.csv" | awk -F, '
    NR == 1 { half = NF / 2 }
    NR > 1 { d = $5 - $(5 + half); if (d < 0) d = -d; if (d / $5 > worst) worst = d / $5; cpu += $8; cuda += $(8 + half); n++ }
    END { printf "%d steps: total losses differ by at most %.2e relative; %.4f s a step on the CPU, %.4f s on the card\n", n, worst, cpu / n, cuda / n; exit worst > 1e-3 || n != 20 }'
}

# recorded as CUDA graphs or not: the same to the last digit
graphs() {
  for graphs in auto no; do
    "$program" --batch embedded:demo-lora --device cuda --run-dir "$scratch/graphs-$graphs" --quiet --set train.steps=50 --set train.precision=bf16 --set engine.graphs=$graphs \
      --set prior.images=4 --set prior.steps=10 --set samples.every=25 --set losses.pdm_steps=10 >/dev/null || return 1
    cut -d , -f 8 "$scratch/graphs-$graphs/metrics.csv" | awk -v which=$graphs 'NR > 11 { sum += $1; n++ } END { printf "graphs = %s: %.4f s a step\n", which, sum / n }'
    cut -d , -f 1-7 "$scratch/graphs-$graphs/metrics.csv" >"$scratch/$graphs.csv"
  done
  cmp "$scratch/auto.csv" "$scratch/no.csv"
}

{
  "$program" doctor --device cuda
  stage "every operation against ref" "$build/tests/unit/test_backend"
  stage "parity with the Python libraries' dumps" "$build/tests/parity/parity" cuda --no-mistakes
  stage "the demo beside the CPU's" demo
  stage "the same with and without CUDA graphs" graphs
  if command -v compute-sanitizer >/dev/null; then
    for tool in memcheck racecheck initcheck synccheck; do
      stage "compute-sanitizer $tool" compute-sanitizer --tool $tool --error-exitcode 1 "$build/tests/unit/test_backend"
    done
  else
    echo "compute-sanitizer is not installed: left out"
  fi
  if [ -n "${BENCH_MODEL:-}" ]; then
    for mode in fp32 bf16; do stage "UNet of $BENCH_MODEL, $mode" "$build/tests/bench/bench_unet" "$BENCH_MODEL" --mode $mode --repeat 5; done
  fi
  echo "$passed passed, $failed failed"
} 2>&1 | tee "$log"
echo "written to $log"
tail -n 1 "$log" | grep -q ', 0 failed$'
