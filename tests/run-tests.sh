#!/bin/sh
# Runs test programs and scripts, prints a line for each test and at the end ONE line: N passed, N failed[, N skipped].
# usage: run-tests.sh PROGRAM...
# Each program prints TAP: "ok 1 - name", "not ok 2 - name", "ok 3 # SKIP name" (cmocka does, asked by its environment).
# A program that ends badly without a failed test, or that has announced more tests than it ran, counts as one failed test.
# Environment: TEST_VERBOSE=1 shows what passing programs print beside their results; TEST_TIMEOUT: seconds for each program (600).
set -u
export CMOCKA_MESSAGE_OUTPUT=TAP
passed=0 failed=0 skipped=0
out=$(mktemp) || exit 1
trap 'rm -f "$out"' EXIT
trap 'exit 130' INT TERM

for program in "$@"; do
  name=${program##*/}
  case $program in
    *.sh) set -- sh "$program" ;;
    */*) set -- "$program" ;;
    *) set -- "./$program" ;;
  esac
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
  printf '%s\n' "$result" | sed '$d'
  set -- $counts
  passed=$((passed + $1)) failed=$((failed + $2)) skipped=$((skipped + $3))
  if [ "$2" -gt 0 ] || [ -n "${TEST_VERBOSE:-}" ]; then
    echo "--- output of $name"
    grep -v '^ok ' "$out" | sed 's/^/  | /'
  fi
done

line="$passed passed, $failed failed"
[ "$skipped" -eq 0 ] || line="$line, $skipped skipped"
echo "$line"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
