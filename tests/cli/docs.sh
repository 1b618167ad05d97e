#!/bin/sh
# The manual pages and the README's tables are what the program's tables give; every flag of the published command lines stands in the README.
. "$(dirname "$0")/lib.sh"
sh "$top/man/update.sh" "$program" "$scratch/made"
check "man/update.sh" test $? -eq 0
for file in man/pdmbooth-tui.1 man/pdmbooth-profile.5 README.md; do
  check "$file is up to date (man/update.sh PROGRAM writes it)" cmp "$top/$file" "made/$file"
done
missing=
for flag in pretrained_model_name_or_path inst_data_dir out_dir inst_prompt cls_prompt lr max_train_steps ckpting_steps train_text_encoder \
  train_batch_size lr_warmup_steps resolution cls_data_dir use_inst_loss use_prior_loss use_pdm mask_pdm mask_dm num_cls_imgs report_to \
  test_prompts seed save_model_weights enable_xformers_memory_efficient_attention; do
  grep -q "^| \`--$flag" "$top/README.md" || missing="$missing $flag"
done
[ -z "$missing" ] || echo "# missing:$missing"
check "README: every published flag" test -z "$missing"
undocumented=
for command in --batch sample sheet export inspect; do
  for option in $("$program" $command --help | grep -o '^  --[a-z-]*'); do
    grep -q -e "$(printf '%s' "$option" | sed 's/-/\\\\-/g')" "$top/man/pdmbooth-tui.1" || undocumented="$undocumented $option"
  done
done
[ -z "$undocumented" ] || echo "# missing:$undocumented"
check "pdmbooth-tui(1): every option of every --help" test -z "$undocumented"
finish
