#!/bin/sh
# Unpacks oneDNN 3.2 (packages onednn-cpu-gomp and onednn-devel-cpu-gomp, found by pip) into PREFIX/include and PREFIX/lib, for
# configure --with-onednn=PREFIX. usage: fetch-onednn3.sh PREFIX
set -eu
prefix=$1
if [ -e "$prefix/lib/libdnnl.so" ]; then exit 0; fi
if ! python3 -m pip --version >/dev/null 2>&1; then
  echo "$0: pip is missing (Debian: python3-pip)" >&2
  exit 1
fi
mkdir -p "$prefix/wheels"
python3 -m pip download --quiet --no-deps --dest "$prefix/wheels" onednn-cpu-gomp==2023.2.0 onednn-devel-cpu-gomp==2023.2.0
for wheel in "$prefix"/wheels/*.whl; do
  python3 -m zipfile -e "$wheel" "$prefix/wheels/unpacked"
done
cp -r "$prefix"/wheels/unpacked/*.data/data/include "$prefix"/wheels/unpacked/*.data/data/lib "$prefix/"
rm -r "$prefix/wheels"
