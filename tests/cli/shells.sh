#!/bin/sh
# Completions and examples: every shell and systemd-analyze that is here reads them; what is offered is what the program knows.
. "$(dirname "$0")/lib.sh"

for shell in bash zsh fish; do
  "$program" completions $shell >completions.$shell
  check "$shell: printed" test $? -eq 0 -a -s completions.$shell
  if command -v $shell >/dev/null; then
    check "$shell: its syntax" $shell -n completions.$shell
  else
    check "$shell is not here # SKIP" true
  fi
done
refused "completions: no shell" 2 "completions needs one of bash, zsh and fish" "$program" completions
refused "completions: another shell" 2 "completions needs one of" "$program" completions csh

missing= checked=0
for command in $("$program" --help | sed -n 's/^  \([a-z-][a-z-]*\) .*/\1/p'); do
  for option in $("$program" --help "$command" | sed -n 's/^  --\([a-z-]*\).*/\1/p'); do
    checked=$((checked + 1))
    grep -q -e "$command) options='--help.* --$option[ ']" completions.bash || missing="$missing bash:$command--$option"
    sed -n "/^  $command) _arguments/,/;;\$/p" completions.zsh | grep -q -e "--$option\\[" || missing="$missing zsh:$command--$option"
    grep -q -e "__pdmbooth_tui_is $command' -l $option " completions.fish || missing="$missing fish:$command--$option"
  done
done
[ -z "$missing" ] || echo "# missing:$missing"
check "every option of every command in each" test -z "$missing" -a $checked -gt 30
for shell in bash zsh fish; do
  check "$shell: names of keys" grep -q "train\.steps.*\|engine\.on_finish" completions.$shell
done

# offers WORDS... EXPECTED: what bash offers for the last of the words, among it the expected one
offers() {
  bash -c '. ./completions.bash
    expected=${*: -1}
    COMP_WORDS=("${@:1:$#-1}") COMP_CWORD=$(($# - 2))
    compopt() { :; }
    _pdmbooth_tui
    [[ " ${COMPREPLY[*]} " == *" $expected "* ]] || { echo "# offered: ${COMPREPLY[*]}"; exit 1; }' bash "$@"
}
if command -v bash >/dev/null; then
  check "bash: a command" offers pdmbooth-tui sam sample
  check "bash: --batch" offers pdmbooth-tui --b --batch
  check "bash: the workstation's" offers pdmbooth-tui --pl --plain
  mkdir a-run
  check "bash: a run to attach" offers pdmbooth-tui --attach a- a-run
  check "bash: an option" offers pdmbooth-tui sample --neg --negative
  check "bash: the words of an option" offers pdmbooth-tui sample x --sampler d dpmpp_2m
  check "bash: the name of a key" offers pdmbooth-tui --batch p.ini --set train.acc train.accumulation=
  check "bash: the words of a key" offers pdmbooth-tui --batch p.ini --set train.mode = l lora
  check "bash: a key that is true or false" offers pdmbooth-tui --batch p.ini --set train.flip = '' true
  mkdir folder
  check "bash: a folder" offers pdmbooth-tui --batch p.ini --run-dir fo folder
fi
if command -v fish >/dev/null; then
  fish_offers() { fish -c "source completions.fish; complete -C '$1'" 2>/dev/null | cut -f 1 | grep -qx -e "$2"; }
  check "fish: a command" fish_offers 'pdmbooth-tui sam' sample
  check "fish: the workstation's" fish_offers 'pdmbooth-tui --pl' --plain
  check "fish: an option" fish_offers 'pdmbooth-tui sample --neg' --negative
  check "fish: the words of an option" fish_offers 'pdmbooth-tui sample --sampler ' dpmpp_2m
  check "fish: the words of a key" fish_offers 'pdmbooth-tui --batch p.ini --set train.mode=' train.mode=lora
fi

# --- examples
cp "$top/contrib/pdmbooth-tui@.service" pdmbooth-tui@dog.service
cp "$top/contrib/pdmbooth-tui@.timer" pdmbooth-tui@dog.timer
# the program of this build; its manual page is not installed
sed -i "s|^ExecStart=pdmbooth-tui |ExecStart=$program |; /^Documentation=/d" pdmbooth-tui@dog.service
check "the service runs this program" grep -q "^ExecStart=$program --batch %i.ini" pdmbooth-tui@dog.service
if command -v systemd-analyze >/dev/null; then
  XDG_RUNTIME_DIR=$scratch systemd-analyze --user verify "$scratch/pdmbooth-tui@dog.service" "$scratch/pdmbooth-tui@dog.timer" >verify 2>&1
  status=$?
  sed 's/^/# /' verify
  check "systemd-analyze verify" test $status -eq 0 -a ! -s verify
else
  check "systemd-analyze is not here # SKIP" true
fi
line=$(grep -v '^#' "$top/contrib/crontab")
check "crontab: five fields and a command" sh -c 'echo "$1" | grep -qE "^([0-9*]+ ){5}cd "' sh "$line"
check "crontab: its options exist" sh -c '"$0" --help --batch | grep -q -e "--resume" && "$0" --help --batch | grep -q -e "--quiet"' "$program"

# --- manual pages
for page in pdmbooth-tui.1 pdmbooth-profile.5; do
  if command -v man >/dev/null && command -v groff >/dev/null; then
    MANROFFOPT=-ww man --warnings=w -E UTF-8 -l "$top/man/$page" >page 2>warnings
    status=$?
    sed 's/^/# /' warnings
    check "man -l $page: no warnings" test $status -eq 0 -a -s page -a ! -s warnings
  fi
  if command -v mandoc >/dev/null; then
    mandoc -T lint -W warning "$top/man/$page" >lint
    sed 's/^/# /' lint
    check "mandoc -T lint $page: no warnings" test ! -s lint
  fi
done
finish
