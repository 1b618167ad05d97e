#!/bin/sh
# The workstation in a pane of the tmux that is installed: what the pane holds is what the program has drawn, after resizes too. Prints TAP; skipped without tmux.
# environment: TEST_SRCDIR, TEST_BUILDDIR
set -u
if ! command -v tmux >/dev/null; then
  echo "ok 1 # SKIP no tmux"
  echo "1..1"
  exit 0
fi
folder=$(mktemp -d) || exit 1
unset TMUX COLORTERM NO_COLOR COLUMNS LINES
export LC_ALL=C.UTF-8 HOME="$folder" TMUX_TMPDIR="$folder" OMP_WAIT_POLICY=passive TERM=xterm-256color
trap 'tmux kill-server 2>/dev/null; rm -rf "$folder"' EXIT
trap 'exit 130' INT TERM
sh "$TEST_SRCDIR/tests/terminal/make-run.sh" "$TEST_SRCDIR" "$folder/data" || exit 1
n=0 failed=0
check() { # check NAME COMMAND...
  name=$1
  shift
  n=$((n + 1))
  if "$@"; then echo "ok $n - $name"; else echo "not ok $n - $name" && failed=$((failed + 1)); fi
}
# shown FILE: the pane with its colours, once it has been the same for half a second
shown() {
  tries=0
  tmux capture-pane -ep >"$folder/$1"
  while [ $tries -lt 60 ]; do
    sleep 0.5
    mv "$folder/$1" "$folder/last"
    tmux capture-pane -ep >"$folder/$1"
    if cmp -s "$folder/last" "$folder/$1"; then return; fi
    tries=$((tries + 1))
  done
}
await() { # await TEXT: it is in the pane within a minute
  tries=0
  until tmux capture-pane -p | grep -q "$1" || [ $tries -ge 300 ]; do sleep 0.2; tries=$((tries + 1)); done
}
tmux -f /dev/null new-session -d -x 120 -y 36 "env XDG_DATA_HOME=$folder/data TMUX_TMPDIR=$folder $TEST_BUILDDIR/pdmbooth-tui; echo status \$? >$folder/ended"
await trained
tmux send-keys 6
await 'step 300'
shown first
blocks() { grep -c '[▀▄].*[▀▄]' "$folder/$1"; }
check "pictures are mosaics of many rows" test "$(blocks first)" -ge 20
tmux send-keys C-l
shown fresh
check "a pane holds what is drawn" cmp "$folder/first" "$folder/fresh"
tmux resize-window -x 80 -y 24
shown small
tmux send-keys C-l
shown small-fresh
check "after it became smaller too" cmp "$folder/small" "$folder/small-fresh"
tmux split-window -h 'sleep 1000'
sleep 1
tmux kill-pane -t 1
tmux resize-window -x 120 -y 36
await 'step 300'
shown again
check "as large as before it is as before" cmp "$folder/first" "$folder/again"
tmux send-keys q
tries=0
until [ -s "$folder/ended" ] || [ $tries -ge 100 ]; do sleep 0.1; tries=$((tries + 1)); done
check "it leaves" grep -q 'status 0' "$folder/ended"
echo "1..$n"
[ $failed -eq 0 ]
