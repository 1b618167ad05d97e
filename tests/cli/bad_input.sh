#!/bin/sh
# Wrong command lines, profiles, pictures and models: one clear sentence and the right exit code each.
. "$(dirname "$0")/lib.sh"
subject=$top/assets/demo-subject/poodle
model=$top/assets/tiny-sd

# --- the command line
refused "no arguments and no terminal" 2 "not a terminal" "$program"
refused "unknown option" 2 "unknown option --bath" "$program" --bath p.ini
refused "unknown command" 2 "train is not a command" "$program" train
refused "option without value" 2 "--batch needs a value" "$program" --batch
refused "wrong number" 2 "--threads none is not allowed: it must be a whole number" "$program" --batch embedded:demo --threads none
refused "wrong word" 2 "--device gpu is not allowed: it must be auto, cpu, cuda or ref" "$program" --batch embedded:demo --device gpu
refused "sample without prompt" 2 "needs --prompt" "$program" sample embedded
refused "sheet without picture" 2 "at least one picture" "$program" sheet out.png
check "help" sh -c '"$0" --help | grep -q "pdmbooth-tui --batch" && "$0" --help | grep -q -e "--attach opens a run" && "$0" sample --help | grep -q -e --latents && "$0" --batch --help | grep -q -e --resume' "$program"
check "version" sh -c '"$0" --version | grep -q "^pdmbooth-tui [0-9]"' "$program"

# --- the profile (test_profile has every kind; here the whole way to the exit code)
profile() {
  printf "$1" >p.ini
  "$program" --batch p.ini --run-dir run
}
refused "profile: unknown key" 2 "p.ini:2: unknown key [train] stepz; did you mean [train] steps?" profile '[train]\nstepz = 3\n'
refused "profile: wrong type" 2 "p.ini:2: [train] steps = many is not allowed: it must be a whole number from 1" profile '[train]\nsteps = many\n'
refused "profile: out of range" 2 "p.ini:2: [train] rank = 0 is not allowed" profile '[train]\nrank = 0\n'
refused "profile: NUL byte" 2 "p.ini:2: there is a NUL byte" profile '[train]\nste\000ps = 1\n'
refused "profile: not UTF-8" 2 "p.ini:2: the line is not valid UTF-8" profile '[prompts]\ntest = \377\n'
refused "profile: a directory" 2 "is a directory" "$program" --batch "$scratch"
refused "profile: missing" 3 "cannot read none.ini: No such file" "$program" --batch none.ini
refused "profile: empty" 2 "[model] path is not given" profile ''
check "JSON tells of a wrong profile" sh -c '"$0" --batch none.ini 2>/dev/null | grep -q "^{\"status\":\"input\",\"exit_code\":3,\"error\":\"cannot read none.ini"' "$program"
check "a refused profile leaves no run directory" test ! -e run

# --- pictures and models; the run that each of them spoils is as short as can be
run() {
  rm -rf run
  "$program" --batch embedded:demo --run-dir run --set train.mode=lora --set losses.prior=false --set losses.pdm=false --set train.steps=1 \
    --set train.batch=1 --set prompts.test= "$@"
}
pictures() {
  rm -rf pictures
  mkdir pictures
  cp -r "$subject/." pictures
  chmod -R u+w pictures
}
refused "photographs: no such directory" 3 "[subject] images: $scratch/none: there is no such directory" run --set subject.images=none
mkdir empty
refused "photographs: none" 3 "$scratch/empty: no photographs here" run --set subject.images=empty
pictures; echo text >pictures/2.jpg
refused "photograph: not a picture" 3 "$scratch/pictures/2.jpg: not a PNG, JPEG or WebP picture" run --set subject.images=pictures
pictures; head -c 2000 "$subject/3.jpg" >pictures/3.jpg
refused "photograph: truncated" 3 "$scratch/pictures/3.jpg: cannot decode the JPEG: truncated" run --set subject.images=pictures
pictures; rm pictures/masks/4.png
refused "mask: missing, and none is to be derived" 3 "$scratch/pictures/masks/4.png" run --set subject.images=pictures --set subject.auto_mask=false
pictures; cp "$top/tests/data/black.png" pictures/masks/4.png
refused "mask: all black" 3 "$scratch/pictures/masks/4.png: the mask is all black" run --set subject.images=pictures
pictures; cp "$top/tests/data/wide.png" pictures/masks/4.png
refused "mask: of another aspect" 3 "$scratch/pictures/masks/4.png: a mask of 24x16 has another aspect than its photograph 4.jpg of 256x256" run --set subject.images=pictures
refused "held-out photograph: missing" 3 "9.jpg" run --set subject.hold_out=9.jpg

base() {
  rm -rf base
  cp -rs "$model" base
  chmod -R u+w base
}
refused "model: no such directory" 3 "there is no such directory" run --set model.path=./none
refused "model: not in the cache" 3 "org/name: there is no such directory, and the local Hugging Face cache" run --set model.path=org/name
base; rm base/unet/diffusion_pytorch_model.safetensors
refused "model: file missing" 3 "base/unet/diffusion_pytorch_model.safetensors: missing" run --set model.path=base
base; rm base/unet/diffusion_pytorch_model.safetensors
head -c 1000000 "$model/unet/diffusion_pytorch_model.safetensors" >base/unet/diffusion_pytorch_model.safetensors
refused "model: file truncated" 3 "base/unet/diffusion_pytorch_model.safetensors: tensor" run --set model.path=base
rm base/unet/diffusion_pytorch_model.safetensors # the first [64,4,3,3] in the header is conv_in.weight
sed '1,/\[64,4,3,3\]/s/\[64,4,3,3\]/[64,3,3,4]/' "$model/unet/diffusion_pytorch_model.safetensors" >base/unet/diffusion_pytorch_model.safetensors
refused "model: tensor of the wrong shape" 3 '"conv_in.weight" has the shape [64, 3, 3, 4]' run --set model.path=base
base; rm base/vae/config.json; echo '{"block_out_channels": [32,' >base/vae/config.json
refused "model: config is not JSON" 3 "base/vae/config.json: not valid JSON" run --set model.path=base
refused "resolution that does not fit" 2 "resolution 66x66: width and height must be multiples of 4" run --set train.resolution=66
# in a build without CUDA, and in one with it on a machine without a card; where there is one, card 63 is not
refused "device that is not there" 4 "no " run --device cuda:63
refused "wrong number of a device" 2 "--device cuda:x is not allowed: it must be auto, cpu, cuda or ref" "$program" --batch embedded:demo --device cuda:x
refused "wrong number of a device in a profile" 2 "device" run --set engine.device=cpu:1
refused "run directory cannot be made" 3 "/dev/null/run" "$program" --batch embedded:demo --run-dir /dev/null/run
refused "run directory is a file" 3 "p.ini" "$program" --batch embedded:demo --run-dir p.ini
check "a run that was refused at its start may be started again" sh -c '"$0" --batch embedded:demo --run-dir run --set subject.hold_out=9.jpg 2>&1 >/dev/null | grep -q "no photograph 9.jpg"' "$program"

# --- the whole list of bad input, one line each: status, sentence, and nothing left but the log and the profile of the refused run
tests=$top/tests/data
fault=${TEST_BUILDDIR:-$PWD}/tests/fault/fault.so
spoil=${TEST_BUILDDIR:-$PWD}/tests/cli/spoil
photographs() { # two small ones with masks
  rm -rf photos
  mkdir -p photos/masks
  for i in 1 2; do "$spoil" png 24 20 $((60 * i)) photos/$i.png && "$spoil" png 24 20 255 photos/masks/$i.png; done
}
photographs
cat >small.ini <<END
[model]
path = $tests/sd1
[subject]
class = dog
images = photos
[train]
steps = 1
resolution = 16
rank = 1
[losses]
pdm = false
[samples]
steps = 1
count = 1
[engine]
device = ref
threads = 1
END
begin() {
  rm -rf run
  $preload "$program" --batch "$@" --run-dir run >out 2>err
}
preload=
left() { # what a refused run must not leave
  find run \( -name '*.tmp*' -o -name '*.new' -o -name '*.png' -o -name '*.csv' -o -name '*.safetensors' -o -name 'step-*' -o -name summary.json \) \
    ! -path 'run/summary.json' 2>/dev/null
}
# bad NAME CODE PIECE PROFILE OPTION...: begin() is refused, and leaves nothing
bad() {
  name=$1 code=$2 piece=$3
  shift 3
  begin "$@"
  got=$?
  if [ $got -eq "$code" ] && [ "$(grep -c '^pdmbooth-tui: error: ' err)" -eq 1 ] && grep '^pdmbooth-tui: error: ' err | grep -qF -e "$piece" && [ -z "$(left)" ]; then
    result 0 "bad input: $name"
  else
    echo "# status $got instead of $code, or the message lacks: $piece, or left behind: $(left)"
    sed 's/^/# /' err
    result 1 "bad input: $name"
  fi
}
# good NAME PIECE PROFILE OPTION...: begin() does its work and says PIECE
good() {
  name=$1 piece=$2
  shift 2
  if begin "$@" && grep -qF -e "$piece" err; then result 0 "input: $name"; else sed 's/^/# /' err; result 1 "input: $name"; fi
}
unet=unet/diffusion_pytorch_model.safetensors
damaged() { # damaged CHANGE: a model whose UNet has it
  rm -rf base
  cp -r "$tests/sd1" base
  chmod -R u+w base
  "$spoil" safetensors "$tests/sd1/$unet" base/$unet "$1" conv_out.weight
}
good "the small run that each of the following spoils" "final model of step 1" small.ini
bad "no photographs" 3 "/empty: no photographs here (png, jpg, jpeg or webp)" small.ini --set subject.images=empty
echo "not a picture" >photos/3.jpg
bad "a text file named .jpg" 3 "photos/3.jpg: not a PNG, JPEG or WebP picture" small.ini
rm photos/3.jpg
head -c 60 photos/2.png >2.png && mv 2.png photos/2.png
bad "a truncated PNG" 3 "photos/2.png: cannot decode the PNG: truncated" small.ini
"$spoil" png 1 1 9 photos/2.png
bad "a picture of one pixel" 3 "photos/2.png: a picture of 1x1 shows no subject" small.ini
"$spoil" bomb photos/2.png
bad "a PNG that says it has 2^31 x 2^31 pixels" 3 "photos/2.png: " small.ini
: >photos/2.png
bad "an empty picture" 3 "photos/2.png: the file is empty" small.ini
rm photos/2.png
"$spoil" png 8000 5000 9 photos/2.png
good "40 megapixels" "final model" small.ini --set losses.mask_dm=false
photographs
mkfifo photos/5.png photos/masks/5.png
ln -s /dev/zero photos/6.jpg
good "a pipe and a device among the photographs are passed over" "final model" small.ini
photographs
ln -s loop loop
bad "photographs: a link to itself" 3 "/loop: there is no such directory" small.ini --set subject.images=loop
"$spoil" png 20 24 255 photos/masks/1.png
bad "a mask of another aspect" 3 "a mask of 20x24 has another aspect than its photograph 1.png of 24x20" small.ini
rm photos/masks/1.png && mkfifo photos/masks/1.png
bad "a pipe for a mask" 3 "the mask of photograph 1.png is missing" small.ini --set subject.auto_mask=false
photographs

damaged nan && rm -r base/unet
bad "a model without unet" 3 "base/unet/config.json: cannot open: No such file" small.ini --set model.path=base
damaged missing
bad "a tensor missing" 3 "base/$unet: the tensor \"conv_out.weight\" is missing" small.ini --set model.path=base
damaged shape
bad "a tensor of the wrong shape" 3 "base/$unet: the tensor \"conv_out.weight\" has the shape [1, 4, " small.ini --set model.path=base
damaged dtype
bad "a tensor of the wrong dtype" 3 "base/$unet: the tensor \"conv_out.weight\" has the dtype I16; F32, F16 and BF16 can be read" small.ini --set model.path=base
damaged overlap
bad "overlapping offsets" 3 "base/$unet: tensor conv_out.weight overlaps another one" small.ini --set model.path=base
damaged beyond
bad "offsets past the end" 3 "base/$unet: tensor conv_out.weight ends beyond the end of the file" small.ini --set model.path=base
damaged nan
bad "a NaN inside the weights" 3 "base/$unet: the tensor \"conv_out.weight\" holds NaN at element " small.ini --set model.path=base
printf '\000\000\000\000\000\000\000\020{}' >base/$unet
bad "a header length of 2^60" 3 "base/$unet: not a safetensors file, or truncated: its header length is 1152921504606846976" small.ini --set model.path=base
printf '\002\000\000\000\000\000\000\000{}' >base/$unet
bad "only a header" 3 "base/$unet: the tensor \"conv_in.weight\" is missing" small.ini --set model.path=base
: >base/$unet
bad "an empty model file" 3 "base/$unet: the file is empty" small.ini --set model.path=base
rm base/$unet && mkfifo base/$unet
bad "a pipe for a model file" 3 "base/$unet" small.ini --set model.path=base
damaged nan && head -c 100000 /dev/zero | tr '\0' '[' >base/unet/config.json
bad "JSON nested 100,000 deep" 3 "base/unet/config.json: JSON nested more than" small.ini --set model.path=base

good "a prompt of 500 words is cut, and what is cut is named" "tokens longer than the 77 that the text encoder reads; cut off: \"" small.ini \
  --set "prompts.test=$(seq -s ' ' 500)"
bad "not UTF-8" 2 "the value is not valid UTF-8" small.ini --set "prompts.test=$(printf 'a\377b')"
printf '[prompts]\ntest = a\000b\n' >p.ini
bad "NUL bytes" 2 "p.ini:2: there is a NUL byte" p.ini
{ printf '[prompts]\ntest = '; head -c 10000000 /dev/zero | tr '\0' x; echo; } >p.ini
bad "a line of 10 MB" 2 "p.ini:2: the line is longer than" p.ini
bad "a directory as profile" 2 "photos is a directory, not a file" photos
mkfifo pipe.ini
bad "a pipe as profile" 2 "pipe.ini is a device or a pipe, not a file" pipe.ini
bad "a device as profile" 2 "/dev/zero is a device or a pipe, not a file" /dev/zero
bad "a link to itself as profile" 3 "cannot read loop: Too many levels" loop
bad "rank 0" 2 "[train] rank = 0 is not allowed: it must be a whole number from 1" small.ini --set train.rank=0
bad "resolution 100, which is no multiple of 8" 2 "resolution 100x100: width and height must be multiples of 8" small.ini --set train.resolution=100
bad "steps -1" 2 "[train] steps = -1 is not allowed: it must be a whole number from 1" small.ini --set train.steps=-1
if [ "$(id -u)" -eq 0 ]; then
  n=$((n + 1)) && echo "ok $n # SKIP bad input: a photograph that may not be read (root may read all)"
else
  chmod a-r photos/1.png
  bad "a photograph that may not be read" 3 "photos/1.png: cannot open: Permission denied" small.ini
  chmod u+r photos/1.png
fi
# permissions do not bind root: the library makes every call fail as a read-only directory and a full disk do
preload="env LD_PRELOAD=$fault FAULT_KIND=file FAULT_AT=1 FAULT_STAYS=1 FAULT_ERRNO=13"
bad "a read-only run directory" 3 "the run directory cannot be made: " small.ini
mkdir -p run
preload="env LD_PRELOAD=$fault FAULT_KIND=file FAULT_AT=12 FAULT_STAYS=1 FAULT_ERRNO=28"
bad "a full disk" 1 "No space left on device" small.ini --set engine.on_full=stop
preload=
"$program" --batch small.ini --run-dir lora --set train.target=to_q >/dev/null 2>&1
refused "bad input: a LoRA for another architecture" 3 "made for another model" \
  "$program" sample lora/checkpoints/final --base embedded --prompt x --steps 1 --out pictures

# --- sample
refused "sample: no such model" 3 "none: there is no such directory" "$program" sample none --prompt x
foreign=$top/tests/data/interchange/lora_kohya.safetensors
refused "sample: LoRA without base" 2 "needs --base" "$program" sample "$foreign" --prompt x
refused "sample: LoRA of another model" 3 'lora_down.weight" does not fit' "$program" sample "$foreign" --base embedded --prompt x
refused "sample: not a LoRA" 2 "p.ini is none" "$program" sample p.ini --base embedded --prompt x
echo "no checkpoint" >0.ckpt
refused "sample: not a checkpoint" 3 "0.ckpt: not a safetensors file" "$program" sample 0.ckpt --prompt x
refused "sample: size that does not fit" 2 "multiples of 4" "$program" sample embedded --prompt x --size 65x64
refused "sample: class word missing" 2 "needs --class" "$program" sample embedded --prompts embedded:dreambooth --section live
refused "sheet: not a picture" 3 "p.ini" "$program" sheet out.png p.ini
finish
