#!/bin/sh
# Every header compiles alone. Prints TAP. Environment: TEST_SRCDIR, CC, TEST_CPPFLAGS (make check sets them).
set -u
cd "${TEST_SRCDIR:-.}" || exit 1
n=0 status=0
for header in $(find engine src ui assets tests -name '*.h' | LC_ALL=C sort); do
  n=$((n + 1))
  # TEST_CPPFLAGS is a list of flags: it is split on purpose
  if printf '#include "%s"\nextern int nothing;\n' "$header" |
     ${CC:-cc} -std=c11 -Wall -Wextra -Werror -fsyntax-only -I. -Iengine -Isrc -D_GNU_SOURCE ${TEST_CPPFLAGS:-} -x c -; then
    echo "ok $n - $header compiles alone"
  else
    echo "not ok $n - $header compiles alone"
    status=1
  fi
done
echo "1..$n"
exit $status
