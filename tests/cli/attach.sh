#!/bin/sh
# A run that cron might have begun, with two terminals attached to it: both watch and steer it; one is killed, the other goes on doing so.
. "$(dirname "$0")/lib.sh"
build=${TEST_BUILDDIR:-$(dirname "$program")}

cat >profile.ini <<EOF
[profile]
base = embedded:demo
[train]
mode = lora
text_encoder = false
batch = 1
steps = 400
schedule = constant
[losses]
prior = false
pdm = false
[prompts]
test = a car
[samples]
count = 1
steps = 1
every = 0
probe_every = 0
[subject]
hold_out =
EOF
mkdir -p data/pdmbooth/runs/car
export RUN=$scratch/data/pdmbooth/runs/car/20260101-000000-cron FROM=$scratch
run() {
  setsid "$program" --batch profile.ini --run-dir "$RUN" --resume >>out 2>>err </dev/null
  echo $? >status
}
run &
running=$!
rows() { awk 'END { print NR - 1 }' "$RUN/metrics.csv" 2>/dev/null || echo 0; }
# wait_for COMMAND: a minute at most
wait_for() {
  tries=0
  until "$@" || [ $tries -ge 600 ]; do sleep 0.1; tries=$((tries + 1)); done
}
stepping() { [ "$(rows)" -ge 2 ]; }
wait_for stepping

wait_file='for i in $(seq 600); do [ -e $FROM/%s ] && exit; sleep 0.1; done; exit 1'
# The first terminal finds the run by itself and lets it wait; then it is killed.
cat >first.keys <<EOF
size 100 30
limit 60000
env LC_ALL=C.UTF-8
env XDG_DATA_HOME=$scratch/data
start $program
expect car: training
key 5
expect running
key p
expect paused training
shell touch \$FROM/waits
shell $(printf "$wait_file" second)
signal KILL
wait 300
shell touch \$FROM/killed
EOF
# The second one is attached to it by name, and goes on steering it.
cat >second.keys <<EOF
size 80 24
limit 60000
env LC_ALL=C.UTF-8
start $program --attach $RUN
expect paused training
shell touch \$FROM/second
shell $(printf "$wait_file" killed)
expect paused training
key p
expect running
key m
text a {token} in the snow
key Enter
expect asked for: sample
key R
key C-u
text 0.00001
key Enter
expect asked for: lr
text c
expect asked for: checkpoint
shell for i in \$(seq 600); do ls \$RUN/samples/step-*/*.png >/dev/null 2>&1 && exit; sleep 0.1; done; exit 1
key S s
expect stopped after
key q
exit 0
EOF
(cd "$build" && exec tests/terminal/script "$scratch/first.keys") >first.out 2>&1 &
first=$!
wait_for test -e waits
held=$(rows)
(cd "$build" && exec tests/terminal/script "$scratch/second.keys") >second.out 2>&1
check "the second terminal steers the run, the first one being killed" grep -q '^ok' second.out
wait $first
check "the first terminal found the run and let it wait" grep -q '^ok' first.out
[ -e status ] || "$program" control "$RUN" stop >/dev/null 2>&1
wait $running
check "stopped by request: as by SIGTERM" test "$(cat status)" -eq 143
check "no step was made while it waited" grep -q "paused by a request" "$RUN/log.txt"
check "it had not ended" test "$held" -lt 400 -a "$(rows)" -gt "$held" -a "$(rows)" -lt 400
check "the journal: samples of a prompt, rate, checkpoint" sh -c "cut -d, -f2,3,5 '$RUN/journal.csv' | tr '\n' ' ' | grep -q 'sample,0,a+.*in+the+snow lr,1.*e-05 checkpoint,0'"
check "the picture of that prompt" sh -c "grep -q 'a sks in the snow' '$RUN'/samples/step-*/*.png"
check "the checkpoint" sh -c "ls -d '$RUN'/checkpoints/step-*"
check "nothing is left to be asked" test -z "$(ls "$RUN/control")"
refused "--attach: not a run" 3 "not the directory of a run" "$program" --plain --attach profile.ini
refused "--attach: a value is needed" 2 "--attach needs a value" "$program" --attach
[ $failed -eq 0 ] || sed 's/^/# /' first.out second.out
finish
