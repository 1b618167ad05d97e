#!/bin/sh
# A short run with samples, of both modes and with several threads, under the thread sanitizer or under valgrind; prints TAP.
# usage: run.sh tsan|valgrind        environment: TEST_BUILDDIR, TEST_SRCDIR
set -u
tool=$1
. "$(dirname "$0")/../cli/lib.sh"
spoil=${TEST_BUILDDIR:-$PWD}/tests/cli/spoil
mkdir -p photos/masks
for i in 1 2; do "$spoil" png 40 33 $((60 * i)) photos/$i.png && "$spoil" png 40 33 255 photos/masks/$i.png || exit 1; done
# of everything a little: class images, targets, both encoders, averaged weights, a probe, samples, a checkpoint
cat >p.ini <<END
[model]
path = $top/tests/data/sd1
[subject]
class = dog
images = photos
hold_out = 2.png
[prompts]
test = a {token} {class}
[train]
steps = 2
resolution = 16
rank = 2
text_encoder = true
recompute = true
[losses]
prior = true
pdm_steps = 2
[prior]
images = 1
steps = 1
[samples]
every = 1
count = 2
steps = 1
batch = 2
[checkpoints]
every = 1
END
case $tool in
  tsan)
    # setarch: the sanitizer of older compilers cannot lie where much randomness puts a program; without it, it tries as it is
    wrap=
    if setarch -R true 2>/dev/null; then wrap="setarch -R"; fi
    export TSAN_OPTIONS="halt_on_error=0:exitcode=66:report_signal_unsafe=1"
    ui_log="env TSAN_OPTIONS=$TSAN_OPTIONS:log_path=$scratch/ui-log"
    ;;
  valgrind)
    command -v valgrind >/dev/null || { echo "1..0 # SKIP no valgrind"; echo "ok 1 # SKIP valgrind is not installed"; exit 0; }
    wrap="valgrind --quiet --error-exitcode=66 --leak-check=full --show-leak-kinds=definite,indirect --errors-for-leak-kinds=definite,indirect
      --suppressions=$top/tests/thread/valgrind.supp"
    ui_log="--log-file=$scratch/ui-log.%p"
    ;;
  *) echo "usage: run.sh tsan|valgrind" >&2; exit 2 ;;
esac
# clean NAME ARGUMENT...: the program does its work, and the tool has nothing to say
clean() {
  name=$1
  shift
  $wrap "$program" "$@" >out 2>err
  status=$?
  if [ $status -eq 0 ] && ! grep -qE 'WARNING: ThreadSanitizer|^==[0-9]+==' err; then
    result 0 "$tool: $name"
  else
    echo "# status $status"
    grep -vE '^(training|samples|class images|pdm targets|saving):' err | head -n 120 | sed 's/^/# /'
    result 1 "$tool: $name"
  fi
}
# Under valgrind one thread: it runs one at a time, and libgomp's others would only wait.
threads=4
if [ $tool = valgrind ]; then threads=1; fi
lora="--set train.mode=lora --set train.precision=bf16 --set train.batch=2"
clean "full fine-tune" --batch p.ini --run-dir full --threads $threads --set train.mode=full --set train.ema_decay=0.5
# stopped in its training, where the machine is quick enough for that
$wrap "$program" --batch p.ini --run-dir lora --threads $threads $lora --set train.steps=4 >out 2>err &
pid=$!
until grep -q '^training: ' err || ! kill -0 $pid 2>/dev/null; do sleep 0.1; done
kill -TERM $pid 2>/dev/null
wait $pid
status=$?
[ $status -eq 143 ] || [ $status -eq 0 ] && ! grep -qE 'WARNING: ThreadSanitizer|^==[0-9]+==' err
result $? "$tool: LoRA, bf16, stopped"
clean "gone on with" --batch p.ini --run-dir lora --threads $threads $lora --set train.steps=4 --resume
clean "plain backend" --batch p.ini --run-dir ref --threads $threads --set train.mode=lora --device ref --set samples.every=0
clean "sample from the LoRA" sample lora/checkpoints/final --base "$top/tests/data/sd1" --prompt "a dog" --size 16x16 --steps 2 --threads $threads --sheet s.png
clean "sheet" sheet two.png s.png -
# the interface: every screen with a finished run to look at, dialogs, palette, pictures, a resize, a stop, and out again
sh "$top/tests/terminal/make-run.sh" "$top" "$scratch/ui" || exit 1
cat >walk.keys <<END
size 120 40
cell 9 18
sixel yes
limit 40000
env LC_ALL=C.UTF-8
env XDG_DATA_HOME=$scratch/ui
start $(echo $wrap) $ui_log $program
expect trained
pictures 5
key n
key Esc 2
expect given
pictures 1
key i u 3
expect snow
key 4
expect Profile of poodle
settle 1000
key / t e x t _ Enter
expect text_encoder
key 5
expect 20260102
key l L 6
expect step 300
pictures 5
key Left f f b v v d d Enter Esc
resize 70 20
settle
resize 130 44
settle
key 7
settle
key ?
expect Find any action
key ? :
text theme
expect Choose the colours
key Esc 6 Right
expect step 300
key C-l
settle 1000
key q
exit 0
END
(cd "${TEST_BUILDDIR:-$PWD}" && tests/terminal/script "$scratch/walk.keys") >out 2>&1
status=$?
if [ $status -eq 0 ] && [ "$(cat ui-log.* 2>/dev/null | grep -c '^==[0-9]*==\|WARNING: ThreadSanitizer')" -eq 0 ]; then
  result 0 "$tool: the interface, every screen"
else
  cat ui-log.* out 2>/dev/null | grep -v '^ok\|^not ok\|^1\.\.' | head -n 150 | sed 's/^/# /'
  result 1 "$tool: the interface, every screen"
fi
if [ $tool = tsan ]; then
  # layers that are large enough to be shared out, and every operation beside its plain form
  clean "demo: a step and a sample" --batch embedded:demo --run-dir demo --threads $threads --set train.mode=lora --set train.steps=1 --set train.batch=1 \
    --set losses.prior=false --set losses.pdm=false --set samples.count=1 --set samples.steps=1 --set prompts.test=dog
  $wrap "${TEST_BUILDDIR:-$PWD}/tests/unit/test_backend" >out 2>err && ! grep -q 'WARNING: ThreadSanitizer' err
  result $? "tsan: every operation of the backends"
fi
finish
