#!/bin/sh
# A file system of 20 MB, with the run directory and the caches of a run, fills up in each stage: the run waits, goes on when there is room, and
# leaves what it leaves on a disk that is never full. Waiting ends with SIGTERM; on_full = stop does not wait.
# Needs a mount of its own: root, or user namespaces. Without, it is skipped.
if [ -z "${FAULT_INSIDE:-}" ]; then
  if unshare -rm sh -c 'd=$(mktemp -d) && mount -t tmpfs -o size=1m none "$d" && umount "$d"; s=$?; rmdir "$d"; exit $s' >/dev/null 2>&1; then
    FAULT_INSIDE=1 exec unshare -rm sh "$0"
  fi
  echo "ok 1 # SKIP a full disk: neither mounting nor user namespaces are possible here"
  echo "1..1"
  exit 0
fi
. "$(dirname "$0")/lib.sh"
lora="--set train.mode=lora --set losses.prior=true"

(run_short whole $lora) >out 2>err
check "a run on a disk with room" test $? -eq 0
hashes whole >whole.hashes

mkdir disk && mount -t tmpfs -o size=20m none disk || { check "a file system of 20 MB" false; finish; }
cd disk || exit 1
fill() { dd if=/dev/zero of=ballast bs=4k 2>/dev/null; }
# waits FILE: how often the run has begun to wait
waits() { grep -c 'the disk is full' "$1" 2>/dev/null; }
# wait_more N PID: until the run waits for the N + 1st time, or has ended
wait_more() {
  until [ "$(waits ../err)" -gt "$1" ]; do
    kill -0 "$2" 2>/dev/null || return 1
    sleep 0.02
  done
}

(run_short run $lora) >../out 2>../err &
pid=$!
seen=
while kill -0 $pid 2>/dev/null; do
  stage=$(stage_of ../err)
  case " $seen " in *" $stage "*) sleep 0.01; continue ;; esac
  [ -n "$stage" ] || { sleep 0.01; continue; }
  before=$(waits ../err)
  fill
  wait_more "$before" $pid || break
  stage=$(stage_of ../err)
  sleep 1.5 # it must not go on while there is none
  check "full in $stage: it waits" test "$(stage_of ../err)" = "$stage" -a "$(tail -n 1 ../err | grep -c -e '^waiting for room' -e 'the disk is full')" -eq 1
  rm ballast
  seen="$seen $stage"
done
wait $pid
check "it ends as if nothing had been" test $? -eq 0
for stage in $stages; do
  case " $seen " in *" $stage "*) ;; *) check "it was full in $stage" false ;; esac
done
rm -f ballast
hashes run >../again.hashes
diff ../whole.hashes ../again.hashes >../difference
check "the same files to the last bit" test $? -eq 0
sed 's/^/# /' ../difference
check "nothing temporary is left" test -z "$(left_over run)"
check "the log has whole lines and is complete" sh -c '! grep -qvE "^[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:]{8} [a-z]+: " run/log.txt && tail -n 3 run/log.txt | grep -q "final model of step 6"'
rm -rf run run.cache

# SIGTERM while it waits in training; the state of the last save is what is gone on from
(run_short run $lora) >../out 2>../err &
pid=$!
until [ "$(stage_of ../err)" = training ]; do sleep 0.02; done
fill
wait_more 0 $pid
sent=$(now_ms)
kill -TERM $pid
wait $pid
status=$? spent=$(($(now_ms) - sent))
check "SIGTERM while it waits: 143, after $spent ms" test $status -eq 143 -a $spent -lt 10000
check "nothing temporary is left" test -z "$(left_over run)"
rm -f ballast
(run_short run $lora) >../out 2>../err
check "goes on when there is room" test $? -eq 0
hashes run >../again.hashes
check "the same files to the last bit" cmp ../whole.hashes ../again.hashes
rm -rf run run.cache

(run_short run $lora --set engine.on_full=stop) >../out 2>../err &
pid=$!
until [ "$(stage_of ../err)" = training ]; do sleep 0.02; done
fill
wait $pid
check "on_full = stop: status 1, and says why" test $? -eq 1 -a "$(grep -cE '^pdmbooth-tui: error: .*(No space left on device|the disk is full)' ../err)" -eq 1
rm -f ballast
(run_short run $lora --set engine.on_full=stop) >../out 2>../err
check "and goes on with --resume" test $? -eq 0
hashes run >../again.hashes
check "the same files to the last bit" cmp ../whole.hashes ../again.hashes
cd ..
umount disk
finish
