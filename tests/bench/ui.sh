#!/bin/sh
# The workstation while nothing happens, and what a training loses while it is watched. Environment: TEST_SRCDIR, TEST_BUILDDIR.
set -u
build=${TEST_BUILDDIR:-$PWD}
program=$build/pdmbooth-tui
scratch=$(mktemp -d) || exit 1
trap 'kill $running 2>/dev/null; rm -rf "$scratch"' EXIT
export SCRATCH=$scratch OMP_WAIT_POLICY=passive HOME=$scratch XDG_DATA_HOME=$scratch/data
running=
cd "$build" || exit 1

# ticks: of processor time that the program of this script has used, in hundredths of a second
cat >"$scratch/ticks" <<'EOF'
awk '{ sub(/.*\) /, ""); print $12 + $13 }' "/proc/$(pgrep -P "$1" pdmbooth-tui)/stat"
EOF
cat >"$scratch/idle.keys" <<EOF
size 200 60
cell 9 18
sixel yes
env LC_ALL=C.UTF-8
start $program
expect masked
settle 1000
wait 2000
shell sh \$SCRATCH/ticks \$PPID >\$SCRATCH/before
wait 20000
shell sh \$SCRATCH/ticks \$PPID >\$SCRATCH/after
key q
exit 0
EOF
tests/terminal/script "$scratch/idle.keys" | grep '^not ok\|^#'
awk 'NR == FNR { before = $1; next } { printf "idle load: %.2f %% of a core (20 s)\n", ($1 - before) / 20 }' "$scratch/before" "$scratch/after"

# A run of 130 steps; it is watched in every other 20 of them. Who waits for a step looks once a second: looking costs as well.
run=$scratch/data/pdmbooth/runs/poodle/20260101-000000-bench
"$program" --batch embedded:demo-lora --run-dir "$run" --quiet --set train.steps=130 --set prior.images=2 --set prior.steps=2 --set losses.pdm=false \
  --set samples.every=0 --set samples.count=1 --set samples.steps=2 --set samples.probe_every=0 >/dev/null &
running=$!
rows() { awk 'END { print NR - 1 }' "$run/metrics.csv" 2>/dev/null || echo 0; }
await() { while [ "$(rows)" -lt "$1" ] && kill -0 $running 2>/dev/null; do sleep 1; done; }
for from in 24 64 104; do
  await $from
  cat >"$scratch/watch.keys" <<EOF
size 200 60
cell 9 18
sixel yes
env LC_ALL=C.UTF-8
env XDG_DATA_HOME=$scratch/data
limit 600000
start $program --attach $run
expect training
shell while [ \$(awk 'END { print NR - 1 }' $run/metrics.csv) -lt $((from + 20)) ] && kill -0 $running; do sleep 1; done
key q
text b
exit 0
EOF
  tests/terminal/script "$scratch/watch.keys" | grep '^not ok\|^#'
done
wait $running
running=
# seconds of steps well inside each part
awk -F, 'NR > 1 { part = int(($1 - 5) / 20); if (($1 - 5) % 20 > 4 && ($1 - 5) % 20 < 18 && part < 6) print part % 2, $8 }' "$run/metrics.csv" | sort -k1,1n -k2,2g |
  awk '{ v[$1, ++n[$1]] = $2 } END { a = v[0, int((n[0] + 1) / 2)]; b = v[1, int((n[1] + 1) / 2)]
         printf "a training step: %.4f s alone, %.4f s watched: %+.2f %%\n", a, b, 100 * (b / a - 1) }'
