#!/bin/sh
# The interface from outside: sessions line by line (--plain), and on a pseudo-terminal (script, of util-linux) that is given back however the program ends.
. "$(dirname "$0")/lib.sh"
export XDG_DATA_HOME=$scratch/data XDG_STATE_HOME=$scratch/state XDG_CONFIG_HOME=$scratch/config TERM=xterm-256color
unset TMUX COLORTERM NO_COLOR

# lines LINE...: gives the lines one after the other to --plain; what it prints is in the file out
lines() {
  for line in "$@"; do echo "$line"; done >in
  timeout 60 "$program" --plain <in >out 2>err
}

"$program" </dev/null >out 2>err
check "no terminal: status 2" test $? -eq 2
check "no terminal: what to use instead" grep -q -e "--batch" err

lines quit
check "first start: the demo subject is there" grep -q '^poodle masked' out
check "first start: its profile is a file" test -f data/pdmbooth/subjects/poodle/profile.ini

mkdir photographs
cp "$top"/assets/demo-subject/poodle/[12].jpg photographs
cp photographs/1.jpg photographs/3.jpg
lines "subject.add photographs" dog2 dog zwx "a picture of {token} {class}" quit
check "new subject: named, with class and token" grep -q '^token = zwx' data/pdmbooth/subjects/dog2/profile.ini
check "new subject: the photographs stay" test "$(ls photographs)" = "$(printf '1.jpg\n2.jpg\n3.jpg')"
check "new subject: its prompt" grep -q '^instance = a picture of {token} {class}' data/pdmbooth/subjects/dog2/profile.ini
check "new subject: shown" grep -q 'it is zwx dog' out
# session FILE LINE...: the lines, then the session goes on until FILE is there (two minutes); what it prints is in out
session() {
  file=$1 tries=0
  shift
  {
    printf '%s\n' "$@"
    while ! ls $file >/dev/null 2>&1 && [ $tries -lt 1200 ]; do sleep 0.1; tries=$((tries + 1)); done
    sleep 1
    echo quit
  } | timeout 200 "$program" --plain >out 2>err
}
subject=data/pdmbooth/subjects/dog2
session "$subject/derived/3.png" "subject.select dog2" 2
check "new subject: its masks are derived at once" test -s $subject/derived/1.png -a -s $subject/derived/2.png
lines "subject.select dog2" 2
check "masks: derived, how sure, and what they leave" grep -q 'derived, confidence 0\.[0-9]*.*leaves [0-9]* of 256 training elements' out
lines "subject.select dog2" 2 i s quit
check "masks: the corrected one is the subject's" test -s $subject/masks/1.png -a ! -e $subject/masks/2.png
before=$(cksum <$subject/derived/2.png)
rm $subject/derived/2.png
session "$subject/derived/2.png" "subject.select dog2" 2 mask.derive
check "masks: the others follow" test "$(cksum <$subject/derived/2.png)" != "$before"
check "masks: nothing is written beside the photographs" test ! -e photographs/masks
lines "subject.add nowhere" quit
check "a directory that is not there is refused" grep -q 'no such directory\|No such file' out
lines "subject.select dog2" "subject.rename dog3" "subject.duplicate dog4" "subject.archive" quit
check "rename and duplicate" test -d data/pdmbooth/subjects/dog3 -a -d data/pdmbooth/subjects/dog4 -a ! -d data/pdmbooth/subjects/dog2
check "archive" grep -q '^archived = true' data/pdmbooth/subjects/dog4/subject.ini

# a profile is changed, checked while it is typed, and saved with its comments
profile=data/pdmbooth/subjects/poodle/profile.ini
lines "subject.select poodle" "profile.key train.steps" 2 "profile.key train.batch" 1 "profile.key prior.images" 2 "profile.key prior.steps" 2 "profile.key losses.pdm_steps" 4 \
  "profile.key samples.every" 1 "profile.key checkpoints.every" 1 "profile.key samples.steps" 2 "profile.key samples.count" 1 profile.save quit
check "profile: changed" grep -q '^steps = 2$' $profile
check "profile: comments stay" grep -q '^; found by trying' $profile
check "profile: the old one is kept" sh -c "test -s $profile.bak && ! grep -q '^steps = 2\$' $profile.bak"
lines "subject.select poodle" "profile.key train.steps" 0 profile.save quit
check "profile: what is not allowed is said at once" grep -q 'it must be a whole number from 1' out
check "profile: and not saved" grep -q '^steps = 2$' $profile
lines "subject.select poodle" 3 "prompt.import $top/tests/cli/prompts.txt" prompt.save quit
check "prompts: imported from a text file" test "$(grep -c '^test = ' $profile)" -eq 8
lines "subject.select poodle" 3 "prompt.delete" "prompt.delete" "prompt.delete" "prompt.delete" "prompt.delete" "prompt.delete" prompt.save quit
check "prompts: deleted" test "$(grep -c '^test = ' $profile)" -eq 2

# two keys to a training: it is watched, goes on without the interface, and is found again
printf 'subject.select poodle\nt\n\nq\nb\n' | timeout 60 "$program" --plain >out 2>err
run=$(ls -d data/pdmbooth/runs/poodle/*)
check "leaving: the run goes on" grep -q 'goes on in the background' out
tries=0
while [ ! -f "$run/summary.json" ] && [ $tries -lt 2400 ]; do sleep 0.1; tries=$((tries + 1)); done
check "the run was finished without the interface" grep -q '"status":"done"' "$run/summary.json"
lines 5 7 quit
check "a run that is over is shown" grep -q 'done after 2 of 2 steps' out
check "its log" grep -q '[0-9] info: running' out
lines 6 "*" "compare.note eyes are right" x K k compare.sheet quit
check "compare: a verdict is kept with the run" grep -q '^stars = 1' "$run/verdicts.ini"
check "compare: note and rejection" test "$(grep -c '^note = eyes are right\|^rejected = true' "$run/verdicts.ini")" -eq 2
check "compare: the kept checkpoint is the subject's" grep -q "^chosen = .*checkpoints/final" data/pdmbooth/subjects/poodle/subject.ini
check "compare: contact sheet" test -s "$run/compare.png"

# what no run has drawn is drawn on demand
session "$run/compare/final/a-red-dog-*-0.png" "subject.select poodle" 6 "compare.prompt a red {class}" m
check "compare: a prompt of one's own, drawn on demand" test "$(ls "$run"/compare/final | grep -c '^a-red-dog-[0-9a-f]*-0\.png$')" -eq 1
check "compare: nothing half-written" test "$(ls "$run"/compare/final | wc -l)" -eq 1
session "$run/compare/base/a-red-dog-*-0.png" "subject.select poodle" 6 "compare.scale 0" compare.down compare.down m
check "compare: the base model at scale 0" test "$(ls "$run"/compare/base | wc -l)" -eq 1
lines "subject.select poodle" 6 compare.left x compare.right "compare.keep only" y quit
check "compare: keeping offers to delete the rejected" test ! -e "$run/checkpoints/step-000001" -a -d "$run/checkpoints/final"
session "$scratch/kept.safetensors" "subject.select poodle" 6 "compare.export single-file $scratch/kept.safetensors"
"$program" inspect "$scratch/kept.safetensors" >out
check "compare: exported" test $? -eq 0
lora=data/pdmbooth/runs/poodle/20990101-000000-lora
"$program" --batch embedded:demo-lora --run-dir $lora --quiet --set train.steps=1 --set losses.pdm=false --set prior.images=1 --set prior.steps=1 \
  --set samples.steps=1 --set samples.count=1 --set prompts.test="a photo of sks dog" >/dev/null
session "$lora/compare/final/scale-0.50/*.png" "subject.select poodle" 6 "compare.scale 0.5" m
check "compare: a LoRA at half its strength" test "$(ls $lora/compare/final/scale-0.50 | wc -l)" -eq 1
session "$scratch/kohya.safetensors" "subject.select poodle" 6 "compare.export lora-kohya $scratch/kohya.safetensors"
check "compare: a LoRA in another dialect" grep -q -a lora_unet "$scratch/kohya.safetensors"

lines "subject.select poodle" 3 "prompt.set live" "prompt.keep mine" prompt.delete "prompt.set mine" prompt.save quit
check "prompts: a set is kept with the subject" test "$(grep -c '^prompt = ' data/pdmbooth/subjects/poodle/prompts.ini)" -eq 25
check "prompts: and taken again" test "$(grep -c '^test = ' $profile)" -eq 25
lines "subject.select poodle" 4 "profile.against $run" "profile.take" quit 1
check "profile: what differs from a run" grep -q "against .*$(basename "$run")" out
lines "subject.select poodle" 2 i s quit
check "masks: kept with the subject, with those of the others" test "$(ls data/pdmbooth/subjects/poodle/masks | wc -l)" -eq 5
check "masks: the profile uses them" grep -q "^mask_dir = .*/subjects/poodle/masks" $profile

# the queue outlives the program, and goes on when it is asked for
lines "subject.select poodle" "profile.key train.steps" 50 profile.save quit
mkdir -p state/pdmbooth
printf 'poodle\ndog3\n' >state/pdmbooth/queue.txt
printf 'Esc\n5\nQ\n2\nq\n' | timeout 60 "$program" --plain >out 2>err
check "queue: it is asked about on opening" grep -q 'Waiting since the program was left: poodle, dog3' out
check "queue: one is taken out" test "$(cat state/pdmbooth/queue.txt)" = poodle
before=$(ls data/pdmbooth/runs/poodle | wc -l)
# under_way: whether a run of the poodle is; waits for that to be so, or no longer
under_way() { [ -n "$(find data/pdmbooth/runs/poodle -name live.txt)" ]; }
await() {
  tries=0
  until "$@" || [ $tries -ge 300 ]; do sleep 0.1; tries=$((tries + 1)); done
}
ended() { ! under_way; }
(echo s && await under_way && printf 'q\ns\n' && await ended && sleep 1) | timeout 100 "$program" --plain >out 2>err
check "queue: the next one is started" test "$(ls data/pdmbooth/runs/poodle | wc -l)" -eq $((before + 1)) -a ! -s state/pdmbooth/queue.txt
check "leaving: saved and stopped" grep -q 'is saved and has stopped' out

# and without the program: on the command line, and in the background when the program has been left
lines "subject.select poodle" "profile.key train.steps" 1 "profile.key samples.every" 0 profile.save "subject.duplicate poodle2" quit
refused "queue: no such subject" 2 "there is no such subject" "$program" queue add poodle nobody
"$program" queue add poodle poodle2
check "queue: shown" test "$("$program" queue | tr '\n' ' ')" = "poodle: waits poodle2: waits "
refused "queue: once only" 2 "in the queue already" "$program" queue add poodle2
"$program" queue remove poodle2
refused "queue: not there" 2 "does not wait" "$program" queue remove poodle2
sed -i 1inobody state/pdmbooth/queue.txt
"$program" queue run >out 2>err
check "queue: what failed is told by the status" test $? -eq 1
check "queue: and does not keep the next one back" sh -c "grep -q '\"status\":\"done\"' out && test ! -s state/pdmbooth/queue.txt"
# two subjects at the same time, as on two cards
refused "queue: a device that there is not" 2 "--devices gpu is not allowed" "$program" queue run --devices gpu
refused "queue: a device twice" 2 "names cpu twice" "$program" queue run --devices cpu,cuda:1,cpu
"$program" queue add poodle poodle2
"$program" queue run --devices cpu,auto >out 2>err
check "queue: on two devices" sh -c "test $? -eq 0 && test \"\$(grep -c '\"status\":\"done\"' out)\" -eq 2 && grep -q 'queue: poodle on cpu' err && grep -q 'queue: poodle2 on auto' err"
check "queue: both at once" awk '/queue: poodle2 on auto/ { second = NR } /done|final model/ && !first { first = NR } END { exit !(second && (!first || second < first)) }' err
rm -rf data/pdmbooth/runs/poodle2
printf 'subject.select poodle\nt\n\n1\nsubject.select poodle2\nt\n\nq\nb\n' | timeout 60 "$program" --plain >out 2>err
finished() { ls data/pdmbooth/runs/poodle2/*/summary.json >/dev/null 2>&1; }
tries=0
until finished || [ $tries -ge 1200 ]; do sleep 0.1; tries=$((tries + 1)); done
check "queue: it goes on without the program" finished
# the same from the interface, with devices in config.ini: what is begun goes through the queue, and leaving with "save and stop" stops all of it
mkdir -p config/pdmbooth
printf '[queue]\ndevices = cpu,gpu\n' >config/pdmbooth/config.ini
refused "devices in config.ini: one that there is not" 2 "config.ini:2: devices cpu,gpu is not allowed" "$program" queue list
printf '[queue]\ndevices = cpu,auto\n' >config/pdmbooth/config.ini
lines "subject.select poodle" "profile.key train.steps" 50 profile.save "subject.select poodle2" "profile.key train.steps" 50 profile.save quit
both() { [ "$(find data/pdmbooth/runs -name live.txt 2>/dev/null | wc -l)" -eq 2 ]; }
none() { [ -z "$(find data/pdmbooth/runs -name live.txt 2>/dev/null)" ]; }
(printf 'subject.select poodle\nt\n\n' && await grep -q 'poodle: training has begun' out && printf '1\nsubject.select poodle2\nt\n\n' &&
  await grep -q 'poodle2: training has begun' out && both && touch at-once && printf 'q\ns\n' && await none && sleep 2) | timeout 120 "$program" --plain >out 2>err
check "devices in config.ini: what is begun waits for one" grep -q "poodle: waits for a free device" out
check "devices in config.ini: both are trained" test -f at-once
check "devices in config.ini: saved and stopped" sh -c 'grep -q "saved and" out && ! pgrep -f "$0 queue run" >/dev/null' "$program"
check "devices in config.ini: both have ended" none
rm config/pdmbooth/config.ini

# on a terminal: whatever ends the program gives the terminal back
if command -v script >/dev/null; then
  printf '\033[?1049l' >leave
  mkfifo keys
  exec 9<>keys # nobody types, and the terminal does not end
  # on_terminal SIGNAL: the program on a terminal of its own, ended by the signal; what the terminal got is in typescript
  on_terminal() {
    rm -f typescript pid
    script -qfc "sh -c 'echo \$\$ >pid; exec \"$program\"'; stty -a >modes; echo status \$?" typescript <keys >/dev/null 2>&1 &
    waiting=$!
    tries=0
    while ! grep -qF "$(printf '\033[?2004h')" typescript 2>/dev/null && [ $tries -lt 100 ]; do sleep 0.1; tries=$((tries + 1)); done
    sleep 0.3
    kill "-$1" "$(cat pid)"
    wait $waiting
  }
  for signal in TERM HUP SEGV ABRT INT; do
    on_terminal $signal
    check "SIG$signal: the alternate screen is left" grep -qF "$(cat leave)" typescript
    check "SIG$signal: the terminal's modes are as before" grep -q '[^-]icanon.* [^-]*echo ' modes
  done
else
  echo "ok $((n = n + 1)) # SKIP no script(1)"
fi
finish
