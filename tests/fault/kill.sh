#!/bin/sh
# A run that is killed at random moments in every stage, and gone on with, leaves what an uninterrupted one leaves: every checkpoint, sample,
# sheet, curve, mask, class image, PDM latent and row of metrics.csv. With SIGKILL, then with SIGTERM, where the time to leave is measured too.
# Environment: FAULT_KILLS: how often in each stage with SIGKILL (1); FAULT_TERMS: with SIGTERM (1); FAULT_SEED
. "$(dirname "$0")/lib.sh"
kills=${FAULT_KILLS:-1} terms=${FAULT_TERMS:-1}
echo "# seed $seed"

# wait_for STAGE PID: until the run is in it; false when the run ended before
wait_for() {
  while [ "$(stage_of err)" != "$1" ]; do
    kill -0 "$2" 2>/dev/null || return 1
    sleep 0.02
  done
}

# the reference, and how long it stays in each stage at a time: the middle of the time in which it is killed
(run_short whole) >out 2>err &
pid=$!
last='' began=0
for stage in $stages; do eval "visits_${stage%-*}=0 ms_${stage%-*}=0"; done
while kill -0 $pid 2>/dev/null; do
  stage=$(stage_of err) now=$(now_ms)
  if [ "$stage" != "$last" ]; then
    [ -z "$last" ] || eval "ms_${last%-*}=\$((ms_${last%-*} + now - began))"
    [ -z "$stage" ] || eval "visits_${stage%-*}=\$((visits_${stage%-*} + 1))"
    last=$stage began=$now
  fi
  sleep 0.02
done
wait $pid
check "an uninterrupted run" test $? -eq 0
eval "ms_${last%-*}=\$((ms_${last%-*} + $(now_ms) - began))"
for stage in $stages; do
  eval "v=\$visits_${stage%-*} ms=\$ms_${stage%-*}"
  [ "$v" -gt 0 ] || { check "the run has the stage $stage" false; finish; }
  eval "ms_${stage%-*}=$((ms / v + 2))"
  echo "# $stage: $((ms / v)) ms at a time, $v times"
done
hashes whole >whole.hashes
check "nothing temporary is left" test -z "$(left_over whole)"

# hit NAME SIGNAL STAGE: goes on with the run and sends the signal somewhere in the stage. hit: stage it was in, empty when the run was done before.
hit() {
  (run_short "$1") >out 2>err &
  pid=$!
  hit=
  if ! wait_for "$3" $pid; then
    wait $pid
    return
  fi
  eval "random \$ms_${3%-*}"
  sleep "$(awk "BEGIN { print $random / 1000 }")"
  hit=$(stage_of err) sent=$(now_ms)
  kill "-$2" $pid 2>/dev/null || hit=
  wait $pid 2>/dev/null
  status=$? spent=$(($(now_ms) - sent))
  [ "$2" = KILL ] && wanted=137 || wanted=143
  [ $status -eq $wanted ] || { [ $status -eq 0 ] || unexpected=$status; hit=; }
}

# interrupted SIGNAL COUNT: runs that are hit in each stage in turn, until each stage has been hit so often; each run ends and is compared
interrupted() {
  done_runs=0 different=0 unexpected=0 longest=0 tried=0
  for stage in $stages; do eval "hits_${stage%-*}=0 leave_${stage%-*}=0"; done
  while :; do
    name=$1-$done_runs more=no
    for stage in $stages; do
      for twice in 1 2; do
        eval "had=\$hits_${stage%-*}"
        [ "$had" -lt "$2" ] || continue
        more=yes
        hit "$name" "$1" "$stage"
        [ -n "$hit" ] || continue
        eval "hits_${hit%-*}=\$((hits_${hit%-*} + 1))"
        eval "[ $spent -le \$leave_${hit%-*} ] || leave_${hit%-*}=$spent"
      done
    done
    [ $more = yes ] || break
    tried=$((tried + 1))
    (run_short "$name") >out 2>err || { sed 's/^/# /' err; unexpected=$((unexpected + 1)); }
    hashes "$name" >again.hashes
    left=$(left_over "$name")
    if ! diff whole.hashes again.hashes >difference || [ -n "$left" ]; then
      different=$((different + 1))
      sed 's/^/# /' difference
      echo "# left over: $left"
    fi
    rm -rf "$name" "$name.cache"
    done_runs=$((done_runs + 1))
    [ $tried -lt 40 ] || break
  done
  all=0
  for stage in $stages; do
    eval "had=\$hits_${stage%-*} ms=\$leave_${stage%-*}"
    all=$((all + had))
    line="# SIG$1 in $stage: $had times"
    [ "$1" = KILL ] || line="$line, left within $ms ms"
    echo "$line"
    [ "$ms" -le $longest ] || longest=$ms
    check "SIG$1: hit in $stage at least $2 times" test "$had" -ge "$2"
  done
  check "SIG$1: no run ended otherwise" test $unexpected -eq 0
  check "SIG$1 at $all moments, $done_runs runs: the same files to the last bit" test $different -eq 0 -a $done_runs -gt 0
}

interrupted KILL "$kills"
interrupted TERM "$terms"
# a step of this run, or the writing of its checkpoint, takes a second at the very most on a slow machine; the rest is other people's load
check "SIGTERM: left within ten seconds" test $longest -le 10000
finish
