#!/bin/sh
# The README's pictures: every screen in xterm under Xvfb, in two sizes, with pixels (sixel) and without (cells alone). Not a test.
# usage: screenshots.sh DATA OUT [SCREEN...]   DATA: an XDG_DATA_HOME with subjects and a finished run of the first one; OUT: where the PNGs go;
#                                              SCREEN: number (1 to 8)    environment: TEST_BUILDDIR, COLUMNS_ROWS ("100x30 200x60")
set -eu
build=${TEST_BUILDDIR:-$PWD} data=$(cd "$1" && pwd) out=$(cd "$2" && pwd)
shift 2
for tool in Xvfb xterm xdotool import convert; do
  command -v $tool >/dev/null || { echo "$tool is missing (Debian: xvfb xterm xdotool imagemagick)" >&2; exit 1; }
done
names="none subjects masks prompts profile train compare log help"
folder=$(mktemp -d)
Xvfb -displayfd 3 -screen 0 1700x1000x24 3>"$folder/display" >/dev/null 2>&1 &
server=$!
trap 'kill $server 2>/dev/null; rm -rf "$folder"' EXIT
while [ ! -s "$folder/display" ]; do sleep 0.1; done
DISPLAY=:$(cat "$folder/display")
export DISPLAY
unset TMUX COLORTERM NO_COLOR COLUMNS LINES
# settle FILE: until two in a row are equal
settle() {
  import -window "$window" "$folder/last.png"
  for _ in 1 2 3 4 5 6 7 8 9 10; do
    sleep 0.7
    import -window "$window" "$1"
    if cmp -s "$folder/last.png" "$1"; then return; fi
    cp "$1" "$folder/last.png"
  done
}
for size in ${COLUMNS_ROWS:-100x30 200x60}; do
  for kind in sixel cells; do
    identity=vt340
    [ $kind = sixel ] || identity=vt220
    font=10
    [ "$size" = 100x30 ] || font=8
    xterm -ti $identity -tn xterm-256color -fa 'DejaVu Sans Mono' -fs $font -b 0 -bw 0 +sb -bg '#1c1f26' -fg '#d8dce4' -geometry "$size+0+0" \
      -xrm 'XTerm*numColorRegisters: 1024' -xrm 'XTerm*maxGraphicSize: 1700x1000' -e env HOME="$folder" XDG_DATA_HOME="$data" XDG_STATE_HOME="$folder" \
      XDG_CONFIG_HOME="$folder" LC_ALL=C.UTF-8 COLORTERM=truecolor "$build/pdmbooth-tui" &
    terminal=$!
    sleep 3
    xdotool mousemove 300 300 # keys go to the window below the pointer
    window=$(xdotool search --class xterm | tail -n 1)
    for screen in ${*:-1 2 3 4 5 6 7 8}; do
      name=$(echo "$names" | cut -d' ' -f$((screen + 1)))
      xdotool key "$screen"
      sleep 1.5
      settle "$folder/shot.png"
      convert "$folder/shot.png" -colors 200 "PNG8:$out/ui-$name-$size-$kind.png"
      echo "ui-$name-$size-$kind.png"
    done
    xdotool key q
    sleep 1
    kill $terminal 2>/dev/null || true
    wait $terminal 2>/dev/null || true
  done
done
