#!/bin/sh
# A day's work in a real terminal: xterm with sixel under Xvfb, keys by xdotool. A new subject from five photographs, a mask corrected, the profile changed,
# a training, its samples scrubbed, checkpoints compared, one kept, the rejected one deleted, one exported; after each step the disk is looked at. Prints TAP.
# usage: xsession.sh [DIR]     DIR: keeps a screenshot of each step there
. "$(dirname "$0")/../cli/lib.sh"
for tool in Xvfb xterm xdotool import compare; do
  command -v $tool >/dev/null || { echo "ok 1 # SKIP no $tool (Debian: xvfb xterm xdotool imagemagick)"; echo 1..1; exit 0; }
done
shots=${1:-$scratch/shots}
mkdir -p "$shots" photographs
cp "$top"/assets/demo-subject/poodle/[1-5].jpg photographs
before=$(cd photographs && cksum ./*)
export XDG_DATA_HOME=$scratch/data XDG_STATE_HOME=$scratch/state XDG_CONFIG_HOME=$scratch/config LC_ALL=C.UTF-8
unset TMUX NO_COLOR

Xvfb -displayfd 3 -screen 0 1400x900x24 3>display >/dev/null 2>&1 &
server=$!
trap 'kill $server 2>/dev/null; rm -rf "$scratch"' EXIT
# await SECONDS COMMAND...: until the command succeeds
await() {
  tries=$(($1 * 10))
  shift
  until "$@" >/dev/null 2>&1; do
    [ $tries -gt 0 ] || return 1
    sleep 0.1
    tries=$((tries - 1))
  done
}
await 20 test -s display
DISPLAY=:$(cat display)
export DISPLAY
xterm -ti vt340 -fa 'DejaVu Sans Mono' -fs 9 -geometry 150x50 -xrm 'XTerm*decTerminalID: vt340' -xrm 'XTerm*numColorRegisters: 256' \
  -e sh -c "'$program' 2>err; echo \$? >status" &

nth=0
# shot NAME: a screenshot, when two in a row are equal (or after five seconds)
shot() {
  nth=$((nth + 1)) rounds=10
  last=$shots/$(printf %02d $nth)-$1.png
  import -window root last.png
  while [ $rounds -gt 0 ]; do
    sleep 0.5
    import -window root "$last"
    cmp -s last.png "$last" && break
    cp "$last" last.png
    rounds=$((rounds - 1))
  done
}
keys() { xdotool key --delay 120 "$@"; }
words() { xdotool type --delay 15 "$1"; }
line() {
  words "$1"
  keys Return
  sleep 0.3
}
# command WORDS: through the palette
command_line() {
  keys colon
  sleep 0.2
  line "$1"
}
# differ A B: the share of pixels that do is over a tenth of a percent
differ() { compare -metric AE "$1" "$2" null: 2>ae; [ "$(sed 's/[ .e].*//' ae)" -gt 1300 ]; }

check "the demo subject is there" await 30 test -f data/pdmbooth/subjects/poodle/profile.ini
sleep 2
shot start
keys n
sleep 0.3
line "$scratch/photographs"
for answer in blue dog zwx "a photo of {token} {class}"; do
  keys ctrl+u
  line "$answer"
done
subject=data/pdmbooth/subjects/blue
check "a new subject from five photographs" await 10 grep -q '^token = zwx' $subject/profile.ini
check "its masks are derived at once" await 120 test -s $subject/derived/5.png
shot subjects
keys 2
shot masks
keys plus plus minus space Right Right space e u s
check "a mask is corrected and accepted" await 10 test -s $subject/masks/1.png
check "it is another one than was derived" sh -c "! cmp -s $subject/masks/1.png $subject/derived/1.png"
shot corrected
keys 4
for set in "train.steps 3" "train.batch 1" "prior.images 2" "prior.steps 2" "losses.pdm_steps 4" "samples.every 1" "samples.count 1" "samples.steps 2" \
  "checkpoints.every 1" "checkpoints.keep 3"; do
  command_line "profile.key ${set% *}"
  keys ctrl+u
  line "${set#* }"
done
keys s
check "the profile is changed" await 10 grep -q '^steps = 3$' $subject/profile.ini
check "and wants a checkpoint at each step" sh -c "grep -A9 '^\[checkpoints\]' $subject/profile.ini | grep -q '^every = 1$'"
shot profile
keys 1 t t
finished() { ls data/pdmbooth/runs/blue/*/summary.json; }
started() { ls data/pdmbooth/runs/blue/*/log.txt; }
check "two keys to a training" await 60 started
keys 5
shot training
check "it is done" await 300 finished
run=$(ls -d data/pdmbooth/runs/blue/*)
check "three steps with samples" test "$(ls -d "$run"/samples/step-00000[123] | wc -l)" -eq 3
check "the corrected mask was used" grep -q 'masks' "$run/profile.ini"
sleep 2
shot trained
cp "$last" newest.png
keys Left Left Left
shot scrubbed
check "scrubbing shows the samples of an earlier step" differ newest.png "$last"
keys 6
shot compare
check "three checkpoints" test -d "$run/checkpoints/step-000001" -a -d "$run/checkpoints/step-000002" -a -d "$run/checkpoints/final"
keys Left Left x
check "a checkpoint is rejected" await 10 grep -q '^rejected = true' "$run/verdicts.ini"
keys Right asterisk asterisk
check "another one gets two stars" await 10 grep -q '^stars = 2' "$run/verdicts.ini"
keys b Right f
shot flipped
keys f d
shot difference
keys d v
shot beside
keys v
command_line "compare.keep only"
sleep 0.5
shot keep
keys y
check "one is kept" await 10 grep -q '^chosen = .*/checkpoints/final' $subject/subject.ini
gone() { [ ! -e "$run/checkpoints/step-000001" ]; }
check "the rejected one is deleted" await 20 gone
check "no other" test -d "$run/checkpoints/step-000002" -a -d "$run/checkpoints/final"
command_line "compare.export single-file $scratch/kept.safetensors"
check "and exported" await 120 test -s kept.safetensors
check "as a single file that holds together" "$program" inspect kept.safetensors
shot exported
keys 7
shot log
keys 8
shot help
keys q
check "left with status 0" await 20 grep -q '^0$' status
check "the photographs are as they were" test "$before" = "$(cd photographs && cksum ./*)"
finish
