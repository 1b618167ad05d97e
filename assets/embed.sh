#!/bin/sh
# Writes the C file that embeds assets into the program.
# usage: embed.sh ASSETS_DIR FILE... > embedded_files.c      FILE: as make sees it, ASSETS_DIR/...
# The assembler's .incbin takes the bytes from the files, so that a compiler never sees 28 MB of numbers; this works
# with gcc and clang on every ELF machine. The sections' flags come from the compiler, the stack stays non-executable.
set -eu
export LC_ALL=C
dir=$1
shift
echo '/* Made by assets/embed.sh; do not edit. */'
echo '#include "assets/embedded.h"'
# The assembler's part: one block of bytes per file, 64-byte aligned like a mapped file's beginning, and a NUL after it.
n=0
table=
printf '%s\n' '__asm__(".pushsection .rodata.embedded,\"a\"\n"'
for file in $(printf '%s\n' "$@" | sort); do
  printf '        ".balign 64\\nembedded_%d: .incbin \\"%s\\"\\n.byte 0\\n"\n' $n "$file"
  table="$table$(printf '%s %s %d' "${file#"$dir"/}" "embedded_$n" "$(wc -c <"$file")")
"
  n=$((n + 1))
done
printf '%s\n' '        ".popsection\n");'
# The compiler's part: the table.
printf '%s' "$table" | while read -r path symbol size; do
  echo "extern const unsigned char $symbol[] __attribute__((visibility(\"hidden\")));"
done
echo 'const struct embedded_file embedded_files[] = {'
printf '%s' "$table" | while read -r path symbol size; do
  echo "  {\"$path\", $symbol, $size},"
done
echo '  {0, 0, 0},'
echo '};'
