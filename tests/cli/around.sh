#!/bin/sh
# What stands around a run: --json, --quiet, the command at its end.
. "$(dirname "$0")/lib.sh"

# quick NAME OPTION...: the shortest run there is
quick() {
  dir=$1
  shift
  "$program" --batch embedded:demo --run-dir "$dir" --set train.mode=lora --set losses.prior=false --set losses.pdm=false --set train.steps=2 --set train.batch=1 \
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
finish
