# Shared by the scripts beside it: a short run with every stage, what it leaves as hashes, and the stage that a run is in. Sourced, not run.
. "$(dirname "$0")/../cli/lib.sh"

# the stages by the names that progress gives them, without blanks
stages="masks class-images pdm-targets training samples saving"

# photographs of which one has a mask: those of the others are derived
mkdir -p photographs/masks && cp "$top"/assets/demo-subject/poodle/[123].jpg photographs && cp "$top"/assets/demo-subject/poodle/masks/2.png photographs/masks || exit 1

# run_short NAME OPTION...: full fine-tune with averaged weights; its class images and PDM targets are its own, so that each run makes them.
# It replaces the shell (call it in a subshell), so that $! is its process.
run_short() {
  XDG_CACHE_HOME=$PWD/$1.cache
  export XDG_CACHE_HOME
  dir=$1
  shift
  exec "$program" --batch embedded:demo --run-dir "$dir" --resume --set train.steps=6 --set train.batch=1 --set subject.hold_out= \
    --set subject.images="$scratch/photographs" --set losses.mask_prior=true \
    --set losses.pdm_steps=6 --set prior.images=4 --set prior.steps=4 --set prior.batch=2 --set samples.every=3 --set samples.count=1 \
    --set samples.steps=4 --set samples.batch=1 --set prompts.test="a {token} {class} in the snow" --set prompts.test=car \
    --set checkpoints.every=2 --set checkpoints.keep=1 --set checkpoints.state_every=3 "$@"
}

# hashes NAME: everything that must not depend on how often the run was interrupted
hashes() {
  (cd "$1" && find checkpoints samples masks curves.png journal.csv -type f 2>/dev/null | LC_ALL=C sort | xargs sha256sum
    cut -d, -f1-7,9 metrics.csv | sha256sum | sed 's/-$/metrics.csv without seconds/')
  (cd "$1.cache" && find . -type f ! -name '*lock' | LC_ALL=C sort | xargs sha256sum)
}

# left_over NAME: temporary files and directories that a killed run left and the one after did not remove
left_over() {
  find "$1" "$1.cache" -name '*.tmp-*'
}

# stage_of FILE: the stage that the run which writes its messages there is in; nothing before the first
stage_of() {
  awk -F: '/^(masks|class images|pdm targets|training|samples|saving): / { s = $1 } END { sub(/ /, "-", s); print s }' "$1" 2>/dev/null
}

# random N: 0 .. N - 1, from a seed that is printed, so that a failure can be repeated
seed=${FAULT_SEED:-$(date +%s)}
random() {
  seed=$(((seed * 1103515245 + 12345) % 2147483648))
  random=$((seed / 65536 % $1))
}

now_ms() {
  echo $(($(date +%s%N) / 1000000))
}
