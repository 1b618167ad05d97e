#!/bin/sh
# Random keys, clicks, resizes and signals on the workstation in an emulated terminal: it goes on, and gives the terminal back at the end. Prints TAP.
# usage: monkey.sh [SEED [LINES]]      environment: TEST_SRCDIR, TEST_BUILDDIR. LINES (250) of a dozen keys each.
set -u
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
awk -v seed="${1:-1}" -v lines="${2:-250}" 'BEGIN {
  srand(seed)
  # no q, which leaves, and no t, which may train
  split("Up Down Left Right Enter Esc Tab S-Tab PgUp PgDn Home End Delete F1 Space Up", name, " ")
  letters = "abcdefghijklmnoprsuvwxyzABCDEFGHIJKLMNOPRSUVWXYZ0123456789:/?+-*[]<>=.,;%é漢"
  print "# seed " seed
  print "size 100 30"
  print "cell 9 18"
  print "sixel yes"
  print "env XDG_DATA_HOME=$DIR/data"
  print "shell mkdir -p $DIR/data/pdmbooth && touch $DIR/data/pdmbooth/runs" # nothing can be trained below a file
  print "start $BUILD/pdmbooth-tui"
  print "expect masked"
  for (i = 0; i < lines; i++) {
    x = rand()
    if (x < 0.55) {
      text = "text "
      for (k = 0; k < 12; k++) text = text substr(letters, int(rand() * length(letters)) + 1, 1)
      print text "x"
    } else if (x < 0.85) {
      print "key " name[int(rand() * 15) + 1] " " name[int(rand() * 15) + 1]
    } else if (x < 0.94) {
      split("press release drag click right wheel-up wheel-down", what, " ")
      print "mouse " what[int(rand() * 7) + 1] " " int(rand() * 100) " " int(rand() * 30)
    } else if (x < 0.99) {
      print "resize " int(rand() * 180) + 1 " " int(rand() * 55) + 1
    } else {
      print "signal CONT"
    }
  }
  print "resize 100 30"
  print "key Esc Esc Esc"
  print "key 1"
  print "expect Subjects"
  print "signal TERM"
  print "exit 143"
}' >"$folder/monkey.keys"
cd "$TEST_BUILDDIR" && tests/terminal/script "$folder/monkey.keys"
