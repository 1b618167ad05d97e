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

# A run that is watched all the while by a program that is stopped and continued in turn, a few seconds each: whatever else slows the machine down meets both parts.
# Who waits for a step looks once a second: looking costs as well.
run=$scratch/data/pdmbooth/runs/poodle/20260101-000000-bench
"$program" --batch embedded:demo-lora --run-dir "$run" --quiet --set train.steps=${BENCH_UI_STEPS:-700} --set prior.images=2 --set prior.steps=2 --set losses.pdm=false \
  --set samples.every=0 --set samples.count=1 --set samples.steps=2 --set samples.probe_every=0 >/dev/null &
running=$!
# STOP or CONT and the steps that were done then, a line each
cat >"$scratch/alternate" <<EOF
rows() { awk 'END { print NR - 1 }' "$run/metrics.csv" 2>/dev/null || echo 0; }
while [ \$(rows) -lt 10 ]; do sleep 1; done
while kill -0 $running 2>/dev/null; do
  for signal in STOP CONT; do
    kill -\$signal \$(pgrep -P \$1 pdmbooth-tui)
    echo \$signal \$(rows)
    sleep 3
  done
done
EOF
cat >"$scratch/watch.keys" <<EOF
size 200 60
cell 9 18
sixel yes
env LC_ALL=C.UTF-8
env XDG_DATA_HOME=$scratch/data
limit 1200000
start $program --attach $run
shell sh \$SCRATCH/alternate \$PPID >\$SCRATCH/turns
key q
exit 0
EOF
sleep 2
tests/terminal/script "$scratch/watch.keys" | grep '^not ok\|^#'
wait $running
running=
# seconds of the steps that began and ended within one turn
awk 'NR == FNR { if (last != "") for (i = from + 3; i < $2; i++) turn[i] = last; last = $1; from = $2; next }
     FNR > 1 { split($0, f, ","); if (f[1] in turn) print turn[f[1]], f[8] }' "$scratch/turns" "$run/metrics.csv" | sort -k1,1 -k2,2g |
  awk '{ v[$1, ++n[$1]] = $2 }
       function quartile(k, q) { return v[k, int((n[k] * q + 3) / 4)] }
       END { a = quartile("STOP", 2); b = quartile("CONT", 2)
             printf "a training step: %.4f s alone, %.4f s watched: %+.2f %% (medians of %d and %d; lower quartiles %+.2f %%)\n", a, b, 100 * (b / a - 1), n["STOP"],
                    n["CONT"], 100 * (quartile("CONT", 1) / quartile("STOP", 1) - 1) }'
