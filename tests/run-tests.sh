#!/bin/sh
# Runs test programs and scripts, prints a line for each test and at the end ONE line: N passed, N failed[, N skipped].
# usage: run-tests.sh PROGRAM...
# Each program prints TAP: "ok 1 - name", "not ok 2 - name", "ok 3 # SKIP name" (cmocka does, asked by its environment).
# A program that ends badly without a failed test, or that has announced more tests than it ran, counts as one failed test.
# Environment: TEST_VERBOSE=1 shows what passing programs print beside their results; TEST_TIMEOUT: seconds for each program (600);
# TEST_JOBS: programs at a time (one for each core).
set -u
export CMOCKA_MESSAGE_OUTPUT=TAP

# run_one PROGRAM: its results go to standard output at once, its counts and seconds to a file in $TEST_RESULTS
run_one() {
  program=$1 name=${1##*/}
  out=$(mktemp) && shown=$(mktemp "$TEST_RESULTS/shown-XXXXXX") || exit 1
  trap 'rm -f "$out"' EXIT
  trap 'exit 130' INT TERM
  case $program in
    *.sh) set -- sh "$program" ;;
    */*) set -- "$program" ;;
    *) set -- "./$program" ;;
  esac
  began=$(date +%s)
  timeout "${TEST_TIMEOUT:-600}" "$@" >"$out" 2>&1 </dev/null
  status=$?
  # One pass over the output: every test's name and result; the counts go to the last line.
  result=$(awk -v program="$name" -v status="$status" '
    /^1\.\.[0-9]+/ { announced += substr($1, 4) }
    /^(ok|not ok) [0-9]+/ {
      line = $0
      bad = sub(/^not /, "", line)
      sub(/^ok [0-9]+ *-? */, "", line)
      ran++
      if (line ~ /^# *SKIP/) { skip++; sub(/^# *SKIP */, "", line); word = "skip" }
      else if (bad) { fail++; word = "FAIL" }
      else { pass++; word = "ok  " }
      printf "%s %s: %s\n", word, program, line
    }
    END {
      why = ""
      if (status == 124) why = "timed out"
      else if (status > 128) why = "was killed by signal " (status - 128)
      else if (status != 0 && !fail) why = "ended with status " status
      else if (ran < announced) why = "ran " ran + 0 " of " announced " tests"
      else if (!ran) why = "printed no result"
      if (why != "") { fail++; printf "FAIL %s: the program %s\n", program, why }
      printf "%d %d %d\n", pass, fail, skip
    }' "$out")
  counts=$(printf '%s\n' "$result" | tail -n 1)
  {
    printf '%s\n' "$result" | sed '$d'
    case $counts in *' 0 '*) fine=yes ;; *) fine=no ;; esac
    if [ $fine = no ] || [ -n "${TEST_VERBOSE:-}" ]; then
      echo "--- output of $name"
      grep -v '^ok ' "$out" | sed 's/^/  | /'
    fi
  } >"$shown"
  flock "$TEST_RESULTS/lock" cat "$shown"
  echo "$counts $(($(date +%s) - began)) $name" >"$shown.counts"
}

if [ -n "${TEST_RESULTS:-}" ]; then
  run_one "$1"
  exit 0
fi

TEST_RESULTS=$(mktemp -d) || exit 1
export TEST_RESULTS
trap 'rm -rf "$TEST_RESULTS"' EXIT
trap 'exit 130' INT TERM
printf '%s\n' "$@" | xargs -P "${TEST_JOBS:-$(nproc)}" -I '{}' sh "$0" '{}'
# a program whose runner was killed has no counts: it counts as failed
cat "$TEST_RESULTS"/*.counts 2>/dev/null | sort -k 4nr | awk -v programs=$# '
  { pass += $1; fail += $2; skip += $3; if ($4 >= 15) long = long (long == "" ? "" : ", ") $5 " " $4 " s" }
  END {
    if (NR < programs) { printf "FAIL %d programs were not run to their end\n", programs - NR; fail += programs - NR }
    if (long != "") print "took long: " long
    printf "%d passed, %d failed", pass, fail
    if (skip) printf ", %d skipped", skip
    print ""
    exit fail > 0 || pass == 0
  }'
