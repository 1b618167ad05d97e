#!/bin/sh
# Writes the parts of the manual pages and of README.md that are made from the program's tables, between their marks.
# usage: man/update.sh PROGRAM [OUT]     OUT: a directory for the results (default: the tree itself; a test compares instead)
set -eu
program=$1
top=$(cd "$(dirname "$0")/.." && pwd)
out=${2:-$top}
mkdir -p "$out/man"

# fill FILE KIND BEGIN END: FILE with the lines between BEGIN and END replaced by the output of --print-keys KIND
fill() {
  "$program" --print-keys "$2" >"$out/.part"
  status=0
  awk -v part="$out/.part" -v begin="$3" -v end="$4" '
    $0 == begin { print; while ((getline line < part) > 0) print line; skip = 1; found = 1; next }
    $0 == end { skip = 0 }
    !skip { print }
    END { exit !found || skip }' <"$1" || status=1
  rm -f "$out/.part"
  [ $status -eq 0 ] || { echo "no marks for $2 in $1" >&2; exit 1; }
}
# the roff marks are compared after awk has read the escapes of -v
fill "$top/man/pdmbooth-profile.5" man '.\\" keys: begin' '.\\" keys: end' >"$out/.new"
mv "$out/.new" "$out/man/pdmbooth-profile.5"
fill "$top/man/pdmbooth-tui.1" synopsis-man '.\\" synopsis: begin' '.\\" synopsis: end' >"$out/.synopsis"
fill "$out/.synopsis" commands-man '.\\" commands: begin' '.\\" commands: end' >"$out/.commands"
fill "$out/.commands" exit-man '.\\" exit codes: begin' '.\\" exit codes: end' >"$out/.new"
mv "$out/.new" "$out/man/pdmbooth-tui.1"
fill "$top/README.md" markdown '<!-- keys: begin -->' '<!-- keys: end -->' >"$out/.readme"
fill "$out/.readme" exit-markdown '<!-- exit codes: begin -->' '<!-- exit codes: end -->' >"$out/.new"
mv "$out/.new" "$out/README.md"
rm -f "$out/.readme" "$out/.synopsis" "$out/.commands"
