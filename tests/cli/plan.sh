#!/bin/sh
# plan, refusals, --wait-memory and --nice from outside.
. "$(dirname "$0")/lib.sh"

demo="--set train.steps=2 --set losses.pdm_steps=4 --set prior.images=2 --set prior.steps=2 --set samples.steps=2 --set samples.every=0 --threads 1"
number() { sed "s/.*\"$1\":\([0-9.]*\).*/\1/"; }

"$program" plan embedded:demo $demo >out 2>err
check "plan: done" test $? -eq 0
check "plan: a line for each stage" sh -c 'for s in loading "class images" "pdm targets" encoding training samples probe saving; do grep -q "^$s " out || exit 1; done'
check "plan: writes nothing" test -z "$(ls -d runs cache 2>/dev/null)"
"$program" plan embedded:demo $demo --json >out 2>err
check "plan --json: one object on one line" sh -c 'test "$(wc -l <out)" -eq 1 && grep -q "^{.*}$" out'
check "plan --json: fits, memory, stages, decisions, places" sh -c 'grep -q "\"status\":\"fits\",\"exit_code\":0,\"memory\":{\"peak\":[0-9]*," out && grep -q "\"stages\":\[{\"name\":\"loading\"" out && grep -q "\"decisions\":{\"blocks\":38,\"recomputed\":0," out && grep -q "\"places\":\[{\"what\":" out'
peak=$(number peak <out)
"$program" plan embedded:demo $demo --json --set engine.memory=$((peak - 16000000)) >out 2>err
check "plan with less memory: planned anew, and said" sh -c 'grep -q "\"replanned\":true" out && grep -q "^warning: to fit .* of the UNet.s 38 blocks are computed again" err'
check "plan with less memory: it holds" test "$(number peak <out)" -le $((peak - 16000000))

"$program" plan embedded:demo $demo --set train.mode=full --operations >out 2>err
check "plan --operations: a line each, of six columns" awk -F'\t' 'NF != 6 { bad = 1 } END { exit bad || NR < 50 }' out
check "forward and backward of convolutions and attention" sh -c 'for o in conv conv_dx conv_dw linear_dw attention attention_bwd group_norm_bwd; do grep -q "^$o	F32	" out || exit 1; done'
check "a weight gradient is as much work as the layer" awk -F'\t' '$1 == "conv" { f[$3] = $5 } $1 == "conv_dw" && f[$3] && $5 != f[$3] { bad = 1 } END { exit bad }' out

refused "plan that cannot fit" 4 "memory in [engine] allows 200.0 MiB" "$program" plan embedded:demo $demo --set engine.memory=200M
check "its remedies have numbers" grep -q 'what would take less: .*mode = lora ([0-9.]* MiB' err
"$program" plan embedded:demo $demo --json --set engine.memory=200M >out 2>/dev/null
check "plan --json that cannot fit" grep -q '"status":"does not fit","exit_code":4,"error":"this run needs' out
refused "a run that cannot fit" 4 "this run needs" "$program" --batch embedded:demo $demo --set engine.memory=200M --run-dir refused
check "it left nothing" test -z "$(ls -d refused runs cache 2>/dev/null)"
check "JSON of the refusal" grep -q '"status":"fit","exit_code":4' out

# as much as the machine has, whatever it has: more than is free
much="--set train.resolution=1024 --set losses.prior=false --set losses.pdm=false --set train.batch=1 --set train.mode=lora --set samples.count=256 --set samples.batch=256"
if "$program" plan embedded:demo $demo $much --wait-memory --json 2>/dev/null | grep -q '"waits":true'; then
  "$program" --batch embedded:demo $demo $much --wait-memory --run-dir waiting >out 2>err &
  pid=$!
  tries=0
  while ! grep -q "waiting for memory: .* are missing" err && [ $tries -lt 400 ] && kill -0 $pid 2>/dev/null; do
    sleep 0.05
    tries=$((tries + 1))
  done
  kill -TERM $pid
  wait $pid
  check "--wait-memory: stopped by SIGTERM" test $? -eq 143
  check "it said what is missing" grep -q "waiting for memory: .* are missing" err
  check "it left nothing" test ! -e waiting
else
  result 0 "--wait-memory # SKIP this machine has room for 256 pictures of 1024 x 1024"
fi

"$program" --batch embedded:demo $demo --set losses.pdm=false --set losses.prior=false --set train.mode=lora --set prompts.test= --nice 15 --run-dir nice >out 2>err &
pid=$!
tries=0
niceness=0
while [ "$niceness" != 15 ] && [ $tries -lt 200 ] && kill -0 $pid 2>/dev/null; do
  sleep 0.02
  niceness=$(sed 's/.*) //' /proc/$pid/stat 2>/dev/null | cut -d' ' -f17)
  tries=$((tries + 1))
done
wait $pid
check "--nice: the run is done" test $? -eq 0
check "--nice: its nice value" test "$niceness" = 15
check "the run says what memory it planned and used" grep -q '"memory":{"planned":[0-9]*,"peak":[0-9]*' out
refused "--nice 40" 2 "--nice" "$program" --batch embedded:demo --nice 40
finish
