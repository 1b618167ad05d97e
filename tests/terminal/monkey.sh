#!/bin/sh
# Random keys, clicks, resizes and signals on the workstation in an emulated terminal: it goes on, and gives the terminal back at the end. Prints TAP.
# usage: monkey.sh [SEED [LINES]]      environment: TEST_SRCDIR, TEST_BUILDDIR. LINES (250) of a dozen keys each.
# MONKEY_KEYS=50000: that many keys and other events, beside a training that is begun again whenever it ends, and a finished run to look at.
# In a build with sanitizers, what they find is shown and counts as a failure.
set -u
folder=$(mktemp -d) || exit 1
trainer=
trap '[ -z "$trainer" ] || kill $trainer 2>/dev/null; rm -rf "$folder"' EXIT
trap 'exit 130' INT TERM
export FOLDER=$folder ASAN_OPTIONS="log_path=$folder/sanitizer:${ASAN_OPTIONS:-}" UBSAN_OPTIONS="log_path=$folder/sanitizer:halt_on_error=1:${UBSAN_OPTIONS:-}"
export OMP_WAIT_POLICY=passive
lines=${2:-250} work=no
if [ -n "${MONKEY_KEYS:-}" ]; then
  lines=$((MONKEY_KEYS / 8 + 1)) work=yes # a line has eight on an average
fi

# a shell that does jobs, so that the program can be stopped, and brings it back at once
cat >"$folder/job.sh" <<END
echo \$\$ >"$folder/pid"
set -m
"$TEST_BUILDDIR/pdmbooth-tui"
status=\$?
while [ \$status -eq 148 ]; do
  fg >/dev/null
  status=\$?
done
exit \$status
END
# to NAME: the signal goes to the program
cat >"$folder/to" <<'END'
kill "-$1" $(pgrep -P "$(cat "$FOLDER/pid")")
END
# trainings, one after the other, until this script kills it
cat >"$folder/train.sh" <<END
trap 'kill \$child 2>/dev/null; exit' TERM
k=0
while :; do
  k=\$((k + 1))
  "$TEST_BUILDDIR/pdmbooth-tui" --batch embedded:demo-lora --run-dir "\$1/pdmbooth/runs/poodle/20260101-00000\$((k % 4))-\$k" --quiet --set train.steps=400 \\
    --set prior.images=2 --set prior.steps=2 --set samples.every=40 --set samples.count=1 --set samples.steps=2 --set checkpoints.every=100 >/dev/null 2>&1 &
  child=\$!
  wait \$child
done
END

awk -v seed="${1:-1}" -v lines="$lines" -v work=$work 'BEGIN {
  srand(seed)
  # no q, which leaves, and no t, which may train
  split("Up Down Left Right Enter Esc Tab S-Tab PgUp PgDn Home End Delete F1 Space Up", name, " ")
  letters = "abcdefghijklmnoprsuvwxyzABCDEFGHIJKLMNOPRSUVWXYZ0123456789:/?+-*[]<>=.,;%é漢"
  print "# seed " seed
  print "size 100 30"
  print "cell 9 18"
  print "sixel yes"
  if (work == "yes") print "limit 120000"
  if (work == "no") print "env XDG_DATA_HOME=$DIR/data"
  else print "env XDG_DATA_HOME=$FOLDER/data"
  if (work == "no") print "shell mkdir -p $DIR/data/pdmbooth && touch $DIR/data/pdmbooth/runs" # nothing can be trained below a file
  print "start sh $FOLDER/job.sh"
  print "expect poodle"
  for (i = 0; i < lines; i++) {
    x = rand()
    if (x < 0.55) {
      text = "text "
      for (k = 0; k < 12; k++) text = text substr(letters, int(rand() * length(letters)) + 1, 1)
      print text "x"
    } else if (x < 0.85) {
      print "key " name[int(rand() * 15) + 1] " " name[int(rand() * 15) + 1]
    } else if (x < 0.94) {
      split("press release drag click right wheel-up wheel-down", what, " ")
      print "mouse " what[int(rand() * 7) + 1] " " int(rand() * 100) " " int(rand() * 30)
    } else if (x < 0.985) {
      print "resize " int(rand() * 180) + 1 " " int(rand() * 55) + 1
    } else {
      split("CONT WINCH TSTP TSTP", sent, " ")
      print "shell sh $FOLDER/to " sent[int(rand() * 4) + 1]
    }
    if (work == "yes" && i % 100 == 50) print "key Esc Esc Esc 5" # the run is looked at, and more than once
  }
  print "resize 100 30"
  print "key Esc Esc Esc"
  print "key 1"
  print "expect Subjects"
  print "shell sh $FOLDER/to TERM"
  print "exit 143"
}' >"$folder/monkey.keys"

if [ $work = yes ]; then
  sh "$TEST_SRCDIR/tests/terminal/make-run.sh" "$TEST_SRCDIR" "$folder/data" || exit 1
  ASAN_OPTIONS=detect_leaks=0 sh "$folder/train.sh" "$folder/data" &
  trainer=$!
  tries=0
  while [ -z "$(find "$folder/data" -name metrics.csv -path '*20260101*')" ] && [ $tries -lt 1200 ]; do sleep 0.1; tries=$((tries + 1)); done
fi
cd "$TEST_BUILDDIR" || exit 1
tests/terminal/script "$folder/monkey.keys"
status=$?
for report in "$folder"/sanitizer*; do
  [ -f "$report" ] || continue
  echo "not ok - a sanitizer has found something"
  sed 's/^/# /' "$report"
  status=1
done
exit $status
