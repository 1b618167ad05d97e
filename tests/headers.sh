#!/bin/sh
# Every header compiles alone. Prints TAP. Environment: TEST_SRCDIR, CC, TEST_CPPFLAGS (make check sets them).
set -u
cd "${TEST_SRCDIR:-.}" || exit 1
n=0 status=0
# the tests' own headers are included after cmocka's
cmocka='#include <stdarg.h>\n#include <stddef.h>\n#include <setjmp.h>\n#include <stdint.h>\n#include <cmocka.h>\n'
folders="engine src ui assets"
if printf "$cmocka" | ${CC:-cc} -fsyntax-only -x c - 2>/dev/null; then folders="$folders tests"; fi
for header in $(find $folders -name '*.h' | LC_ALL=C sort); do
  case $header in
    tests/cudasim/include/*) continue ;; # C++, and not headers but stand-ins for those of the toolkit
    tests/cuda/*) before=$cmocka more=-Itests/cudasim/include ;;
    tests/*) before=$cmocka more= ;;
    engine/backend/cuda/kernel.h) continue ;; # device code: the simulation compiles it
    engine/backend/cuda/*) before= more=-Itests/cudasim/include ;; # with or without a toolkit
    *) before= more= ;;
  esac
  n=$((n + 1))
  # TEST_CPPFLAGS is a list of flags: it is split on purpose
  if printf "$before"'#include "%s"\nextern int nothing;\n' "$header" |
     ${CC:-cc} -std=c11 -Wall -Wextra -Werror -fsyntax-only -I. -Iengine -Isrc -Itests -D_GNU_SOURCE $more ${TEST_CPPFLAGS:-} -x c -; then
    echo "ok $n - $header compiles alone"
  else
    echo "not ok $n - $header compiles alone"
    status=1
  fi
done
echo "1..$n"
exit $status
