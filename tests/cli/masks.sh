#!/bin/sh
# Masks that are derived: the command, a run, what a given mask changes, going on, and the user's own files.
. "$(dirname "$0")/lib.sh"

mkdir photos && cp "$top"/assets/demo-subject/poodle/[123].jpg photos
masks() {
  "$program" masks embedded:demo --set subject.images=photos --set subject.hold_out= --set subject.name=dog "$@"
}

masks --threads 1 >out 2>err
check "masks: done" test $? -eq 0
sed 's/^/# /' err
check "masks: a mask and an overlay of each, and a sheet" test -s dog-masks/1.png -a -s dog-masks/2-overlay.png -a -s dog-masks/3.png -a -s dog-masks/sheet.png
check "masks: paths on standard output" test "$(cat out)" = "$(printf 'dog-masks/%s-overlay.png\n' 1 2 3; echo dog-masks/sheet.png)"
check "masks: area and confidence of each" test "$(grep -c '^mask of [123].jpg: derived, [0-9.]* % of the area, confidence [01].[0-9]*' err)" -eq 3
check "masks: in the photograph's size" sh -c 'od -An -tu1 -j16 -N8 dog-masks/1.png | grep -q "0 *0 *1 *0 *0 *0 *1 *0"'
check "masks: nothing beside the photographs" test "$(ls photos | tr '\n' ' ')" = "1.jpg 2.jpg 3.jpg "
masks --threads 2 --out two >/dev/null 2>&1
check "masks: the same with two threads" cmp dog-masks/2.png two/2.png

# one mask given: the others are derived from it; the user's file stays as it is
mkdir photos/masks two2 && cp "$top"/assets/demo-subject/poodle/masks/2.png photos/masks
cp photos/masks/2.png before.png
masks --out two2 >out 2>err
check "one mask given: two are derived" test "$(grep -c 'derived' err)" -eq 2
check "one mask given: all three are shown" test -s two2/1.png -a -s two2/2.png -a -s two2/3-overlay.png
refused "a directory with the user's masks is left alone" 3 "photos/masks/2.png: this program did not write that file" masks --out photos/masks
check "the user's masks are as they were" sh -c 'cmp before.png photos/masks/2.png && test "$(ls photos/masks)" = 2.png'

# a run: masks in its directory, found again by --resume; class images masked too
short() {
  "$program" --batch embedded:demo --run-dir run --set subject.images=photos --set subject.hold_out=3.jpg --set train.mode=lora --set train.batch=1 \
    --set losses.prior=true --set losses.mask_prior=true --set losses.pdm=false --set prior.images=2 --set prior.steps=2 --set prior.batch=2 \
    --set prior.dir=class --set prompts.test= "$@"
}
short --set train.steps=1 >out 2>err
check "run: done" test $? -eq 0
check "run: derived masks in its directory" test -s run/masks/1.png -a -s run/masks/1-overlay.png -a -s run/masks/3.png -a ! -e run/masks/2.png
check "run: in its log" grep -q 'mask of 1.jpg: derived' run/log.txt
check "run: masks of the class images" test "$(ls class/.masks | wc -l)" -eq 2
cp run/masks/3.png kept.png && rm run/masks/3.png run/state/done
short --set train.steps=1 --resume >out 2>err
check "going on: a mask that is there is found" grep -q "mask of 1.jpg: found in" err
check "going on: one that is gone is derived again, the same" cmp kept.png run/masks/3.png
rm photos/masks/2.png
refused "another mask is another run" 2 "2.png" short --set train.steps=1 --resume
short --set train.steps=1 --run-dir other >out 2>err
check "without that mask all are derived" test "$(grep -c 'mask of [123].jpg: derived' err)" -eq 3
finish
