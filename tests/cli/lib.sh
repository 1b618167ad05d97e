# Shared by the scripts beside it: a scratch directory, the program, and tests as TAP lines. Sourced, not run.
set -u
export LC_ALL=C OMP_WAIT_POLICY=passive
program=${TEST_BUILDDIR:-$PWD}/pdmbooth-tui
top=${TEST_SRCDIR:-$(cd "$(dirname "$0")/../.." && pwd)}
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM
cd "$scratch" || exit 1
# nothing of the user's is read or written
HOME=$scratch XDG_CACHE_HOME=$scratch/cache
export HOME XDG_CACHE_HOME
unset HF_HOME HF_HUB_CACHE HUGGINGFACE_HUB_CACHE
n=0 failed=0

# result STATUS NAME: one TAP line
result() {
  n=$((n + 1))
  if [ "$1" -eq 0 ]; then
    echo "ok $n - $2"
  else
    echo "not ok $n - $2"
    failed=$((failed + 1))
  fi
}

# check NAME COMMAND...: passes if the command does
check() {
  name=$1
  shift
  "$@"
  result $? "$name"
}

# refused NAME CODE PIECE COMMAND...: the command ends with CODE, says one line "pdmbooth-tui: error: ..." with PIECE in it, and no other error
refused() {
  name=$1 code=$2 piece=$3
  shift 3
  "$@" >out 2>err
  got=$?
  errors=$(grep -c '^pdmbooth-tui: error: ' err)
  if [ $got -eq "$code" ] && [ "$errors" -eq 1 ] && grep '^pdmbooth-tui: error: ' err | grep -qF -e "$piece"; then
    result 0 "$name"
  else
    echo "# status $got instead of $code, or the message lacks: $piece"
    sed 's/^/# /' err
    result 1 "$name"
  fi
}

finish() {
  echo "1..$n"
  [ $failed -eq 0 ]
  exit
}
