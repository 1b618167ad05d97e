#!/bin/sh
# Runs fuzzers one after the other on the seeds beside this script and prints TAP.
# usage: run.sh runs|seconds N PROGRAM...        what is found is left as crash-* in the current directory
# Environment: FUZZ_LIBFUZZER=1: the programs are libFuzzer's; FUZZ_SEED: another start than 1.
set -u
seeds=$(cd "$(dirname "$0")" && pwd)/seeds
kind=$1 amount=$2
shift 2
# what is refused for its size is refused by malloc here, so that a header that promises gigabytes costs nothing
export ASAN_OPTIONS=allocator_may_return_null=1:max_allocation_size_mb=64:detect_leaks=1:allocator_release_to_os_interval_ms=-1
export OMP_NUM_THREADS=1
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM
n=0 status=0
for program in "$@"; do
  name=${program##*/fuzz_}
  n=$((n + 1))
  # seeds: those of its name, and for the readers of other programs' files the files of their tests
  mkdir -p "$scratch/$name" "$scratch/$name-seeds"
  case $name in
    lora) cp "$seeds"/../../data/interchange/lora*.safetensors "$seeds"/../../data/interchange/kohya*.safetensors "$scratch/$name-seeds" ;;
    single_file) cp "$seeds"/../../data/interchange/ldm*.safetensors "$scratch/$name-seeds" ;;
  esac
  [ ! -d "$seeds/$name" ] || cp "$seeds/$name"/* "$scratch/$name-seeds"
  now=$amount
  if [ "$kind$name" = runssingle_file ]; then now=$((amount / 20)); fi # a whole model's tensors each time
  case ${FUZZ_LIBFUZZER:-}$kind in
    1runs) set -- -runs="$now" ;;
    1seconds) set -- -max_total_time="$amount" ;;
    *) set -- "--$kind" "$now" --seed "${FUZZ_SEED:-1}" "$scratch/$name-seeds" ;;
  esac
  if [ -n "${FUZZ_LIBFUZZER:-}" ]; then
    set -- "$@" -seed="${FUZZ_SEED:-1}" -max_len=262144 -timeout=20 -rss_limit_mb=3000 -print_final_stats=1 "$scratch/$name" "$scratch/$name-seeds"
  fi
  if "./$program" "$@" >"$scratch/out" 2>&1; then
    echo "ok $n - $name: $(grep -E 'inputs from|^Done |number_of_executed_units' "$scratch/out" | tail -n 1 | sed 's/^[^:]*: *//')"
  else
    sed 's/^/# /' "$scratch/out" | tail -n 60
    echo "not ok $n - $name"
    status=1
  fi
done
echo "1..$n"
exit $status
