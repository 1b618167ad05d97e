#!/bin/sh
# What stands around a run: --json, --quiet, the command at its end, report, doctor, init.
. "$(dirname "$0")/lib.sh"

# quick NAME OPTION...: the shortest run there is
quick() {
  dir=$1
  shift
  "$program" --batch embedded:demo --run-dir "$dir" --set train.mode=lora --set losses.prior=false --set losses.pdm=false --set train.steps=2 --set train.batch=1 --set subject.hold_out= \
    --set prompts.test="a {class}" --set samples.count=1 --set samples.steps=1 --set samples.every=0 --set prior.images=1 "$@"
}

# --- --json and --quiet
quick json --json >out 2>err
check "--json: done" test $? -eq 0
check "--json: one line of JSON on standard output" test "$(wc -l <out)" -eq 1
check "--json: every line of standard error is an object with an event" test "$(grep -c '^{"event":"[a-z]*",.*}$' err)" -eq "$(wc -l <err)"
check "--json: each step's losses" test "$(grep -c '^{"event":"metrics","step":[12],"instance":[0-9.e-]*,"prior":null,"pdm":null,"total":[0-9]' err)" -eq 2
check "--json: the stage's end" grep -q '^{"event":"progress","stage":"training","done":2,"total":2,"rate":[0-9.e+-]*,"seconds_left":0}$' err
check "--json: a sample and where it is" grep -q '^{"event":"sample","step":2,"prompt_index":0,"picture_index":0,"prompt":"a dog","seed":[0-9]*,"path":"'"$scratch"'/json/samples/step-000002/0-0.png"}$' err
check "--json: the final model" grep -q '^{"event":"checkpoint","step":2,"path":"[^"]*","final":true}$' err
cp out out.json
"$program" --batch none.ini --json >out 2>err
check "--json: an error is an event, the exit code stays" sh -c 'test '$?' -eq 3 && test "$(wc -l <err)" -eq 1 && grep -q "^{\"event\":\"error\",\"exit_code\":3,\"text\":\"cannot read none.ini" err'
check "report.html" grep -q '</html>' json/report.html
check "report.html: in the JSON" grep -q '"report":"'"$scratch"'/json/report.html"' out.json
check "TensorBoard: one event file" test "$(ls json/events.out.tfevents.* | wc -l)" -eq 1
rm json/report.html json/summary.json
check "report: made anew, also without a summary" test "$("$program" report json/)" = json/report.html -a -s json/report.html
refused "report: no run" 3 "holds no run" "$program" report "$scratch"
refused "report: nothing given" 2 "report needs the directory of a run" "$program" report
quick quiet --quiet --set engine.on_finish="exit 3" >out 2>err
check "--quiet: nothing on standard error" test $? -eq 0 -a ! -s err
check "--quiet: log.txt has the rest" grep -q "info: running embedded:demo" quiet/log.txt
refused "--quiet: errors are still said" 3 "cannot read none.ini" "$program" --batch none.ini --quiet
refused "--quiet and --json" 2 "--quiet and --json exclude each other" "$program" --batch embedded:demo --quiet --json

# --- on_finish
check "on_finish: its failure is in the log and changes nothing" grep -q "warning: \[engine\] on_finish ended with status 3" quiet/log.txt
cat >hook.sh <<'END'
printf '%s|%s|%s|%s\n' "$PDMBOOTH_STATUS" "$PDMBOOTH_EXIT_CODE" "$PDMBOOTH_STEPS" "$PDMBOOTH_RUN_DIR" >hook.out
printf '%s\n' "$PDMBOOTH_SUMMARY" >hook.json
echo "from the hook"
END
PDMBOOTH_STATUS=stale quick hooked --set engine.on_finish="sh ./hook.sh" >out 2>err
check "on_finish: facts in the environment" test "$(cat hook.out)" = "done|0|2|$scratch/hooked"
check "on_finish: the summary" cmp hook.json out
check "on_finish: its output is on standard error" sh -c 'grep -q "from the hook" err && test "$(wc -l <out)" -eq 1'
"$program" --batch embedded:demo --run-dir bad --set subject.images=none --set engine.on_finish="sh ./hook.sh" >out 2>err
check "on_finish: also after a failure" sh -c 'test '$?' -eq 3 && test "$(cat hook.out)" = "input|3|0|"'
began=$(date +%s)
"$program" --batch embedded:demo --run-dir bad --set subject.images=none --set engine.on_finish="sleep 77 & sleep 78" --set engine.on_finish_limit=1 >out 2>err
check "on_finish: the limit; the exit code stays" sh -c 'test '$?' -eq 3 && grep -q "on_finish was ended after 1 seconds" err'
check "on_finish: ended in time, with all that it started" test $(($(date +%s) - began)) -lt 60 -a -z "$(ps -eo args | grep '^sleep 7[78]$')"

# --- doctor
mkdir -p hub/models--some--model/snapshots hub/models--broken--model/snapshots/abc hub/datasets--no--model
ln -s "$top/assets/tiny-sd" hub/models--some--model/snapshots/abc
HF_HUB_CACHE=$scratch/hub "$program" doctor --seconds 0.05 >doctor.txt 2>err
check "doctor: runs can work" test $? -eq 0 -a ! -s err
for word in Processor Memory Disk Engine Graphics CUDA Terminal Models "Runs can work."; do
  check "doctor: $word" grep -q "^$word" doctor.txt
done
check "doctor: a model that loads" grep -q "some/model: loads, 14.53 million parameters" doctor.txt
check "doctor: a model that does not, and why" sh -c 'tr -s " \n" " " <doctor.txt | grep -q "broken/model cannot be used: .*unet/config.json"'
check "doctor: not a model" sh -c '! grep -q no/model doctor.txt'
check "doctor: lines fit" sh -c '! grep -v "/" doctor.txt | grep -q "^.\{81\}"'
"$program" doctor --json --seconds 0.05 >doctor.json
check "doctor --json" sh -c 'test $? -eq 0 && test "$(wc -l <doctor.json)" -eq 1 && grep -q "^{\"version\":.*\"runs\":true,.*\"flops_per_second\":[1-9].*\"models\":\[{\"name\":\"embedded\",.*\"loads\":true" doctor.json'
"$program" doctor --json --device cuda --seconds 0 >doctor.json
check "doctor: an engine that is not there: 4, and why" sh -c 'test '$?' -eq 4 && grep -q "\"runs\":false" doctor.json && grep -q "\"problems\":\[\"the engine does not run: \(this build has no device\|no GPU\)" doctor.json'
# a driver of our own in place of NVIDIA's
cat >cuda.c <<'END'
#include <stddef.h>
#include <string.h>
int cuInit(unsigned flags) { return (int)flags; }
int cuDriverGetVersion(int *v) { *v = 12040; return 0; }
int cuDeviceGetCount(int *n) { *n = 2; return 0; }
int cuDeviceGet(int *d, int i) { *d = 7 + i; return 0; }
int cuDeviceGetName(char *out, int n, int d) { strncpy(out, d == 8 ? "Second 2" : "Imaginary 9000", (size_t)n); return 0; }
int cuDeviceTotalMem_v2(size_t *bytes, int d) { *bytes = (size_t)d << 30; return 0; }
END
mkdir lib
if ${CC:-cc} -shared -fPIC -o lib/libcuda.so.1 cuda.c 2>/dev/null; then
  touch lib/libcudnn.so.9
  LD_LIBRARY_PATH=/nowhere:$scratch/lib "$program" doctor --seconds 0 >doctor.txt
  check "doctor: what the driver says of its cards" sh -c 'grep -q "^Graphics.* Imaginary 9000, 7.0 GiB" doctor.txt && grep -q "Second 2, 8.0 GiB" doctor.txt && grep -q "^CUDA.*CUDA up to 12.4" doctor.txt && grep -q "libcudnn.so.9" doctor.txt'
  rm lib/libcuda.so.1
  ${CC:-cc} -shared -fPIC -o lib/libnvidia-ml.so.1 "${TEST_SRCDIR:-$PWD}/tests/cli/fake_nvml.c"
  LD_LIBRARY_PATH=$scratch/lib "$program" doctor --seconds 0 | tr -s ' \n' ' ' >doctor.txt
  check "doctor: what NVML says of a card" grep -q "Graphics NVIDIA A100-SXM4-80GB, 80.0 GiB, 79.0 GiB free, compute capability 8.0, 41 C, 3 % busy, ECC on" doctor.txt
  check "doctor: what a card does not tell is left out" grep -q "NVIDIA GeForce RTX 3060, 12.0 GiB, 11.0 GiB free, compute capability 8.6 CUDA driver 580.65.06" doctor.txt
  LD_LIBRARY_PATH=$scratch/lib "$program" doctor --json --seconds 0 >doctor.json
  check "doctor --json: the same" sh -c 'grep -q "\"compute_capability\":8,\"temperature\":41,\"load\":3,\"ecc\":true},{\"name\":\"NVIDIA GeForce RTX 3060\",\"memory\":12884901888,\"free\":11811160064,\"compute_capability\":8.6}" doctor.json'
fi
XDG_CACHE_HOME=$scratch/fresh "$program" doctor --seconds 0 >doctor.txt
check "doctor writes nothing" test ! -e fresh -a -s doctor.txt

# --- init
mkdir -p album/my_dogs/masks album/images album/wolf_plushie
cp "$top"/assets/demo-subject/poodle/*.jpg album/my_dogs
cp "$top"/assets/demo-subject/poodle/masks/*.png album/my_dogs/masks
cp "$top/assets/demo-subject/poodle/1.jpg" album/images
cp "$top/assets/demo-subject/poodle/1.jpg" album/wolf_plushie
"$program" init album --images album/my_dogs --model embedded --steps 2 </dev/null >out 2>err
check "init: writes a profile" test $? -eq 0 -a -s album/profile.ini
check "init: says what it found" grep -q "^[0-9]* photographs in .*/album/my_dogs, .* each with a mask" out
check "init: proposals" sh -c 'for line in "path = embedded" "name = my_dogs" "class = dogs" "images = ./my_dogs" "mode = lora" "resolution = 64x64" "steps = 2"; do grep -qx "$line" album/profile.ini || exit 1; done'
check "init: every other key as a comment" test "$(grep -c '^;[a-z_0-9]* =' album/profile.ini)" -ge 50
cp album/profile.ini kept
refused "init: never writes over a file" 2 "album/profile.ini exists and is not written over" "$program" init album --images album/my_dogs --yes
check "init: the file is as it was" cmp album/profile.ini kept
(cd / && "$program" --batch "$scratch/album/profile.ini" --run-dir "$scratch/from-init" --set losses.pdm=false --set prompts.test= --quiet >/dev/null 2>&1)
check "init: the profile runs, from anywhere" test $? -eq 0
sed 's/^;\([a-z_0-9]* = .\)/\1/' album/profile.ini >album/uncommented.ini
"$program" --batch album/uncommented.ini --run-dir x --set subject.images=none >out 2>err
check "init: what is commented is allowed" grep -q "images: .*none: there is no such directory" err
"$program" init album/other.ini --images album/wolf_plushie --model embedded --mode full --token zwx --size 32 --name Wolf --yes >out 2>err
check "init: flags, and a class of the DreamBooth subjects" sh -c 'test '$?' -eq 0 && for line in "class = stuffed animal" "name = Wolf" "mode = full" "token = zwx" "resolution = 32x32"; do grep -qx "$line" album/other.ini || exit 1; done'
refused "init: a class that nothing tells" 2 "say it with --class" "$program" init album/third.ini --images album/images --model embedded
refused "init: a value that would begin a comment" 2 "a value cannot stand in a profile" "$program" init album/third.ini --images album/images --class "a ;b" --model embedded
refused "init: no photographs" 2 "name their directory with --images" "$program" init album/third.ini
refused "init: no such directory" 3 "there is no such directory" "$program" init none
refused "init: two operands" 2 "b is a second one" "$program" init a b
check "init: nothing left by what was refused" test ! -e album/third.ini
if command -v script >/dev/null; then
  printf 'cat\n\nzwx\nboth\nfull\n' | script -qec "\"$program\" init album/asked.ini --images album/images --model embedded" /dev/null >out
  check "init: asks on a terminal" sh -c 'for line in "class = cat" "name = images" "token = zwx" "mode = full"; do grep -qx "$line" album/asked.ini || exit 1; done'
fi
mkdir bad && echo text >bad/a.jpg
refused "init: nothing readable" 3 "bad/a.jpg: not a PNG, JPEG or WebP picture" "$program" init --images bad --class x

finish
