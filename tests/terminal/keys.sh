#!/bin/sh
# Scripts of keys against programs in an emulated terminal; prints TAP. Environment: TEST_SRCDIR, TEST_BUILDDIR.
cd "$TEST_BUILDDIR" && exec tests/terminal/script "$TEST_SRCDIR"/tests/terminal/keys/*.keys
