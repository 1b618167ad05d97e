#!/bin/sh
# Our own rules, checked: prints each breach as FILE:LINE: what, then TAP, one line for each rule.
# usage: lint.sh        environment: TEST_SRCDIR, the top of the tree
set -u
export LC_ALL=C
cd "${TEST_SRCDIR:-$(dirname "$0")/..}" || exit 1
found=$(mktemp) || exit 1
trap 'rm -f "$found"' EXIT

# C files: one awk pass; a breach is a line "RULE FILE:LINE: text".
find engine src ui assets tests \( -name '*.[ch]' -o -name '*.cu' -o -name '*.[ch]pp' \) -print | sort | xargs awk '
  function breach(rule, text) { printf "%s %s:%d: %s\n", rule, FILENAME, FNR, text }
  FNR == 1 {
    in_comment = 0; start = 0
    if (FILENAME ~ /\.h(pp)?$/ && $0 !~ /^\/\*/) breach("header", "a header begins with a comment that says what it is for")
  }
  /TO[D]O|FI[X]ME|(^|[^X])XX[X]([^X]|$)/ { breach("unfinished", $0) }
  {
    code = $0
    gsub(/\\./, "", code)            # escapes, so that quotes pair up
    gsub(/"[^"]*"/, "\"\"", code)
    gsub(/\047.\047/, "", code)
    if (in_comment) { if (sub(/^.*\*\//, "", code)) in_comment = 0; else code = "" }
    gsub(/\/\*([^*]|\*[^\/])*\*\//, "", code)
    sub(/\/\/.*/, "", code)
    if (sub(/\/\*.*/, "", code)) in_comment = 1
  }
  FILENAME ~ /^engine\// && code ~ /(^|[^a-zA-Z0-9_])(exit|_exit|abort|printf|vprintf|puts|putchar|perror)[ ]*\(|(std(out|err))[^a-z]/ {
    breach("library", "the engine never exits or prints: " $0)
  }
  code ~ /(^|[^a-zA-Z0-9_])(strcpy|strcat|sprintf|vsprintf|gets|strtok)[ ]*\(/ { breach("strings", "unbounded or unsafe string call: " $0) }
  FILENAME ~ /^engine\/(nets|train|diffusion)\// && code ~ /^[ ]*#[ ]*(if|elif).*(CUDA|DNNL|ONEDNN|AVX|__x86|__aarch)/ {
    breach("ifdef", "a backend is chosen by its table, not by #if: " $0)
  }
  FILENAME ~ /^(engine|src)\// && code ~ /(^|[^a-zA-Z0-9_])(initscr|newterm|mvaddstr|sixel_encode|tcsetattr)[ ]*\(/ {
    breach("terminal", "only ui/ touches the terminal: " $0)
  }
  # a function: from a line in column 0 that ends with ") {" to the "}" in column 0
  !start && code ~ /^[A-Za-z_].*\)[ ]*\{[ ]*$/ { start = FNR }
  !start && code ~ /^\{/ { start = FNR }
  start && code ~ /^\}/ {
    if (FNR - start + 1 > 80) breach("length", "a function of " FNR - start + 1 " lines; 80 are allowed")
    start = 0
  }
' >"$found"

# Scripts and documents: no address of a package registry, no absolute path of one machine.
files="quickstart check bootstrap configure.ac Makefile.am README.md CONTRIBUTING.md CHANGELOG.md .ci/run build-aux/setup"
{
  for file in $files; do [ ! -f "$file" ] || echo "$file"; done
  find engine src ui tests man assets/profiles -type f \( -name '*.[ch]' -o -name '*.sh' -o -name '*.py' -o -name '*.ini' -o -name '*.[0-9]' -o -name '*.txt' \) \
    ! -path 'tests/data/*'
} | sort -u | xargs grep -nE '/(wor[k]|hom[e]|roo[t]|Users)/[a-z]|/op[t]/|pypi\.or[g]|pythonhoste[d]|deb\.debia[n]|npmj[s]|crates\.i[o]' |
  sed 's/^/places /' >>"$found"
for script in quickstart check .ci/run; do
  [ ! -f "$script" ] || grep -nE 'https?://' "$script" /dev/null | sed 's/^/places /' >>"$found"
done

n=0 status=0
rule() {
  n=$((n + 1))
  if grep "^$1 " "$found"; then
    echo "not ok $n - $2"
    status=1
  else
    echo "ok $n - $2"
  fi
}
rule library "the engine never exits, aborts or prints"
rule strings "no unbounded string calls"
rule ifdef "networks and training know no backend"
rule terminal "only ui/ touches the terminal"
rule length "no function is longer than 80 lines"
rule header "every header begins with a comment"
rule unfinished "nothing is left unfinished"
rule places "no registry and no path of one machine is named"
echo "1..$n"
exit $status
