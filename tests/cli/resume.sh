#!/bin/sh
# Two processes and one run; changes, pauses and stops from outside; runs that must not go on because something has changed.
. "$(dirname "$0")/lib.sh"

cp -r "$top/assets/demo-subject/poodle" photos
cp -r "$top/assets/tiny-sd" base
chmod -R u+w photos base
# lora NAME OPTION...: a LoRA run without much beside training. It replaces the shell.
lora() {
  dir=$1
  shift
  exec "$program" --batch embedded:demo --run-dir "$dir" --resume --set model.path=base --set subject.images=photos --set train.mode=lora \
    --set train.text_encoder=false --set train.batch=1 --set losses.prior=false --set losses.pdm=false --set train.steps=24 \
    --set prompts.test=car --set samples.count=1 --set samples.steps=1 --set samples.every=0 --set samples.probe_every=0 \
    --set subject.hold_out= --set train.schedule=constant "$@"
}
rows() { # how many rows metrics.csv has
  if [ -f "$1/metrics.csv" ]; then awk 'END { print NR - 1 }' "$1/metrics.csv"; else echo 0; fi
}
wait_rows() { # wait_rows NAME N PID
  while [ "$(rows "$1")" -lt "$2" ] && kill -0 "$3" 2>/dev/null; do sleep 0.02; done
}

(lora run) >out1 2>err1 &
first=$!
wait_rows run 1 $first
"$program" control run pause >said 2>&1
check "control: pause" test $? -eq 0
check "control says who takes it" grep -q "asked process $first on " said
while ! grep -q "paused by a request" err1 && kill -0 $first; do sleep 0.02; done
had=$(rows run)
sleep 0.7
check "paused: no step is made" test "$(rows run)" -eq "$had" -a "$had" -lt 20
second() { (lora run "$@"); }
refused "a second process is told who is at work" 1 "in use by process $first on " second
"$program" control run --at 20 lr=1e-6 sample >said 2>&1
check "control --at: taken later" grep -q "takes it after step 20" said
(lora run --wait) >out2 2>err2 &
waiting=$!
"$program" control run stop >/dev/null 2>&1
wait $first
check "control: stop is SIGTERM's 143" test $? -eq 143
wait $waiting
check "--wait: goes on when the other has left" test $? -eq 0
check "each step once" sh -c 'tail -n +2 run/metrics.csv | cut -d, -f1 | tr "\n" " " | grep -qx "$(seq 24 | tr "\n" " ")"'
check "the rate is another one from step 21 on" awk -F, 'NR > 1 && $6 != (NR > 21 ? 1e-06 : first) { if (NR == 2) first = $6; else bad = 1 } END { exit bad || first == 1e-06 }' run/metrics.csv
check "samples of step 20 were asked for" test -s run/samples/step-000020/0-0.png -a -s run/samples/step-000020.png
check "the journal" sh -c 'cut -d, -f1-3 run/journal.csv | tr "\n" " " | grep -qx "step,what,value 20,lr,[0-9.e-]* 20,sample,0 "'
check "nothing is left in control/" test -z "$(ls run/control)"
refused "control: not a run" 3 "photos: not the directory of a run" "$program" control photos sample
refused "control: not a request" 2 "lr=2: the value must be a number from 0 to 1" "$program" control run lr=2
refused "control: what is possible" 2 "possible are lr=X" "$program" control run faster
refused "control: nobody to pause" 1 "no process is at work" "$program" control run pause

# --- what must not change
refused "changed key: named with both values" 2 "[train] lr: " second --set train.lr=0.125
check "both values" grep -qE '\[train\] lr: [0-9.e-]+ -> 0\.125' err
refused "changed keys: all are named" 2 "; [train] rank: 4 -> 8" second --set prompts.instance=x --set train.rank=8
cp photos/1.jpg photos/2.jpg
refused "changed photograph" 2 "photograph 2.jpg is another one" second
mv photos/3.jpg photos/9.jpg
refused "another name" 2 "photograph 3.jpg is gone; photograph 9.jpg is new" second
rm -r photos
cp -r "$top/assets/demo-subject/poodle" photos
chmod -R u+w photos
cp photos/masks/1.png photos/masks/2.png
refused "changed mask" 2 "mask masks/2.png is another one" second
cp "$top/assets/demo-subject/poodle/masks/2.png" photos/masks/2.png
echo >>base/unet/config.json
refused "changed base model" 2 "base model file unet/config.json is another one" second
cp "$top/assets/tiny-sd/unet/config.json" base/unet/config.json
mv base elsewhere
(lora run --set model.path=elsewhere --set samples.count=2 --set engine.threads=1) >out 2>err
check "the same model elsewhere, and keys that may change" test $? -eq 0
check "a run that is finished says so" grep -q "this run is finished already" err
refused "a finished run has no state to go on from" 2 "this run is finished" second --set model.path=elsewhere --set train.steps=25

# --- a directory that cannot be written
mkdir locked
if [ "$(id -u)" -ne 0 ]; then
  chmod 555 locked
  refused "read-only run directory" 3 "the run directory" "$program" --batch embedded:demo --run-dir locked
elif unshare -rm sh -c 'mount -t tmpfs -o ro none locked' 2>/dev/null; then
  refused "read-only run directory" 3 "the run directory" unshare -rm sh -c 'mount -t tmpfs -o ro none locked && exec "$0" --batch embedded:demo --run-dir locked' "$program"
else
  n=$((n + 1))
  echo "ok $n # SKIP read-only run directory: root writes everywhere, and nothing can be mounted"
fi
finish
