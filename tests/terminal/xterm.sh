#!/bin/sh
# Pictures in a real terminal: xterm as a VT340 on a display of its own. After each of five rounds of forty random actions, resizes included, at least four
# visible pictures differ from their sources, and all from a fresh redraw, by an RMSE below 0.01 (tests/terminal/shot.c). Prints TAP; skipped where a program is missing.
# usage: xterm.sh [SEED]      environment: TEST_SRCDIR, TEST_BUILDDIR; XTERM_KEEP=DIR: screenshots and the log go there
set -u
for program in Xvfb xterm xdotool import script; do
  if ! command -v $program >/dev/null; then
    echo "ok 1 # SKIP no $program"
    echo "1..1"
    exit 0
  fi
done
if ! grep -q 'define HAVE_SIXEL' "$TEST_BUILDDIR/config.h"; then
  echo "ok 1 # SKIP a build without libsixel"
  echo "1..1"
  exit 0
fi
seed=${1:-1}
columns=120 rows=36
folder=$(mktemp -d) || exit 1
display_server= terminal=
trap 'kill $terminal $display_server 2>/dev/null; rm -rf "$folder"' EXIT
trap 'exit 130' INT TERM
sh "$TEST_SRCDIR/tests/terminal/make-run.sh" "$TEST_SRCDIR" "$folder" || exit 1
# the third photograph has more colours than a sixel picture: 0.0108 from its source at best
cp "$TEST_SRCDIR/assets/demo-subject/poodle/5.jpg" "$folder/pdmbooth/runs/poodle/20260102-030405-lora/samples/step-000300/0-0.png" || exit 1
mkdir -p "$folder/home" "${XTERM_KEEP:=$folder}"
: >"$folder/log"

# the first display that is free
Xvfb -displayfd 3 -screen 0 1600x1000x24 3>"$folder/display" >/dev/null 2>&1 &
display_server=$!
tries=0
while [ ! -s "$folder/display" ] && [ $tries -lt 100 ]; do sleep 0.1; tries=$((tries + 1)); done
DISPLAY=:$(cat "$folder/display")
export DISPLAY
unset TMUX COLORTERM NO_COLOR COLUMNS LINES
cat >"$folder/session" <<END
exec env HOME=$folder/home XDG_DATA_HOME=$folder XDG_CONFIG_HOME=$folder/home XDG_STATE_HOME=$folder/home XDG_RUNTIME_DIR=$folder/home \
  LC_ALL=C.UTF-8 TERM=xterm-256color OMP_WAIT_POLICY=passive script -qfc "$TEST_BUILDDIR/pdmbooth-tui" $folder/log
END
LC_ALL=C.UTF-8 xterm -T pdmbooth-under-test -ti vt340 -tn xterm-256color -fa 'DejaVu Sans Mono' -fs 9 -b 0 -bw 0 +sb -geometry ${columns}x$rows+0+0 \
  -xrm 'XTerm*decTerminalID: vt340' -xrm 'XTerm*numColorRegisters: 256' -xrm 'XTerm*maxGraphicSize: 1600x1000' -e sh "$folder/session" &
terminal=$!

n=0 failed=0
result() { # result STATUS NAME
  n=$((n + 1))
  if [ "$1" -eq 0 ]; then echo "ok $n - $2"; else echo "not ok $n - $2"; failed=$((failed + 1)); fi
}
shot() { import -window "$window" "$XTERM_KEEP/$1.png"; }
# settle NAME: screenshots until two in a row are alike and nothing has been written meanwhile
settle() {
  tries=0 written=-1
  shot "$1"
  while [ $tries -lt 60 ]; do
    sleep 0.3
    mv "$XTERM_KEEP/$1.png" "$folder/last.png"
    shot "$1"
    now=$(wc -c <"$folder/log")
    if [ "$now" -eq $written ] && cmp -s "$folder/last.png" "$XTERM_KEEP/$1.png"; then return; fi
    written=$now tries=$((tries + 1))
  done
}
act() {
  case $1 in
    size) xdotool windowsize "$window" $(($2 * cell_w)) $(($3 * cell_h)) ;;
    key) xdotool key "$2" ;;
  esac
  sleep 0.0"$4"
}

tries=0
while ! grep -qaF "$(printf '\033[?2004h')" "$folder/log" 2>/dev/null && [ $tries -lt 300 ]; do sleep 0.1; tries=$((tries + 1)); done
window=$(xdotool search --name pdmbooth-under-test | tail -n 1)
if [ -z "$window" ]; then
  result 1 "xterm shows the program"
  echo "1..$n"
  exit 1
fi
xdotool mousemove 3 3 # where keys go
settle start
eval "$(xdotool getwindowgeometry --shell "$window" | sed -n 's/^\(WIDTH\|HEIGHT\)=/window_&/p')"
cell_w=$((window_WIDTH / columns)) cell_h=$((window_HEIGHT / rows))

# round NUMBER SCREEN LEAST: forty actions, the last dozen on one screen, then at least LEAST pictures are looked at
round() {
  awk -v seed=$((seed * 100 + $1)) -v screen="$2" -v columns=$columns -v rows=$rows 'BEGIN {
    srand(seed)
    # nothing that trains, draws, changes or deletes: what is shown is to stay what the sources are
    any = split("1 2 5 6 7 8 1 6 1 6 Up Down Left Right Next Prior Home End Tab Escape question colon Escape", key, " ")
    few = split("Up Down Left Right", arrow, " ")
    for (i = 0; i < 26; i++) {
      if (rand() < 0.2) print "size", 20 + int(rand() * 160), 6 + int(rand() * 50), int(rand() * 9)
      else print "key", key[int(rand() * any) + 1], "-", int(rand() * 9)
    }
    print "key Escape - 9\nkey Escape - 9\nkey", screen, "- 9"
    for (i = 0; i < 10; i++) {
      if (rand() < 0.3) print "size", 60 + int(rand() * 100), 16 + int(rand() * 40), int(rand() * 9)
      else print "key", arrow[int(rand() * few) + 1], "-", int(rand() * 9)
    }
    print "size", columns, rows, 9
  }' >"$folder/actions"
  # each line has its words, none of them a pattern
  while read -r what one two wait; do act "$what" "$one" "$two" "$wait"; done <"$folder/actions"
  settle "before-$1"
  act key ctrl+l - 9
  settle "after-$1"
  "$TEST_BUILDDIR/tests/terminal/shot" "$folder/log" "$XTERM_KEEP/before-$1.png" "$XTERM_KEEP/after-$1.png" $columns $rows "$3" \
    "$TEST_SRCDIR"/assets/demo-subject/poodle/*.jpg
  result $? "round $1 of forty actions: pictures of screen $2 are as their sources and as drawn anew"
}
round 1 1 4
round 2 6 4
round 3 1 4
round 4 6 4
round 5 1 4
[ "$XTERM_KEEP" = "$folder" ] || cp "$folder/log" "$XTERM_KEEP/log"
act key Escape - 9
act key Escape - 9
act key q - 9
tries=0
while kill -0 $terminal 2>/dev/null && [ $tries -lt 50 ]; do sleep 0.1; tries=$((tries + 1)); done
if kill -0 $terminal 2>/dev/null; then result 1 "it leaves"; else result 0 "it leaves"; fi
echo "1..$n"
[ $failed -eq 0 ]
