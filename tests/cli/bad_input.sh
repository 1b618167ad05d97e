#!/bin/sh
# Wrong command lines, profiles, pictures and models: one clear sentence and the right exit code each.
. "$(dirname "$0")/lib.sh"
subject=$top/assets/demo-subject/poodle
model=$top/assets/tiny-sd

# --- the command line
refused "no arguments" 2 "" sh -c '"$0" || { s=$?; echo "pdmbooth-tui: error: " >&2; exit $s; }' "$program"
refused "unknown option" 2 "unknown option --bath" "$program" --bath p.ini
refused "unknown command" 2 "train is not a command" "$program" train
refused "option without value" 2 "--batch needs a value" "$program" --batch
refused "wrong number" 2 "--threads none is not allowed: it must be a whole number" "$program" --batch embedded:demo --threads none
refused "wrong word" 2 "--device gpu is not allowed: it must be auto, cpu, cuda or ref" "$program" --batch embedded:demo --device gpu
refused "sample without prompt" 2 "needs --prompt" "$program" sample embedded
refused "sheet without picture" 2 "at least one picture" "$program" sheet out.png
check "help" sh -c '"$0" --help | grep -q "^Usage: pdmbooth-tui --batch" && "$0" sample --help | grep -q -e --latents && "$0" --batch --help | grep -q -e --resume' "$program"
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
refused "mask_prior" 2 "masks of the class images" "$program" --batch embedded:demo --set losses.mask_prior=true
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
refused "mask: missing" 3 "$scratch/pictures/masks/4.png" run --set subject.images=pictures
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
refused "device that is not there" 4 'no device "cuda"' run --device cuda
refused "run directory cannot be made" 3 "/dev/null/run" "$program" --batch embedded:demo --run-dir /dev/null/run
refused "run directory is a file" 3 "p.ini" "$program" --batch embedded:demo --run-dir p.ini
check "a run that was refused at its start may be started again" sh -c '"$0" --batch embedded:demo --run-dir run --set subject.hold_out=9.jpg 2>&1 >/dev/null | grep -q "no photograph 9.jpg"' "$program"

# --- sample
refused "sample: no such model" 3 "none: there is no such directory" "$program" sample none --prompt x
refused "sample: LoRA without base" 2 "needs --base" "$program" sample p.ini --prompt x
refused "sample: not a LoRA" 3 "p.ini" "$program" sample p.ini --base embedded --prompt x
refused "sample: size that does not fit" 2 "multiples of 4" "$program" sample embedded --prompt x --size 65x64
refused "sample: class word missing" 2 "needs --class" "$program" sample embedded --prompts embedded:dreambooth --section live
refused "sheet: not a picture" 3 "p.ini" "$program" sheet out.png p.ini
finish
