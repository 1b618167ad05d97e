#include "completions.h"

#include <string.h>

#include "commands.h"
#include "text.h"

enum completion completion_of(const struct option_spec *o) {
  if (o->type == OPTION_WORD || o->type == OPTION_NAME) return COMPLETE_WORDS;
  if (!o->value || (o->type != OPTION_TEXT && o->type != OPTION_LIST)) return COMPLETE_NOTHING;
  if (!strcmp(o->value, "SECTION.KEY=VALUE")) return COMPLETE_KEYS;
  if (!strcmp(o->value, "MODEL")) return COMPLETE_MODELS;
  if (strstr(o->value, "DIR")) return COMPLETE_FOLDERS;
  return strstr(o->value, "FILE") || strchr(o->value, '.') ? COMPLETE_FILES : COMPLETE_NOTHING;
}

const char *completion_words(const struct option_spec *o, char *buf, size_t n) {
  size_t w = 0;
  *buf = 0;
  for (int i = 0; o->words && o->words[i] && w < n; i++) w += (size_t)snprintf(buf + w, n - w, "%s%s", i ? " " : "", o->words[i]);
  return buf;
}

const char *completion_key_words(const struct key *k, char *buf, size_t n) {
  text_put(buf, n, "%s", k->type == KEY_BOOL ? "true false" : k->choices ? k->choices : "");
  for (char *p = buf; (p = strchr(p, '|'));) *p = ' ';
  return buf;
}

/* --- bash ------------------------------------------------------------------------------------------------------------------- */

static void bash_options(FILE *out) {
  fputs("  case $command in\n", out);
  for (int i = 0; commands[i]; i++) {
    fprintf(out, "    %s) options='--help", commands[i]->name);
    for (const struct option_spec *o = commands[i]->options; o && o->name; o++) fprintf(out, " --%s", o->name);
    fputs("' ;;\n", out);
  }
  fputs("  esac\n", out);
}

/* One case for each option that takes a value; without a match the option is a flag, and operands or options follow. */
static void bash_values(FILE *out) {
  static const char *const action[] = {
      [COMPLETE_NOTHING] = "return",
      [COMPLETE_FOLDERS] = "COMPREPLY=($(compgen -d -- \"$current\")); return",
      [COMPLETE_FILES] = "COMPREPLY=($(compgen -f -- \"$current\")); return",
      [COMPLETE_MODELS] = "COMPREPLY=($(compgen -d -W embedded -- \"$current\")); return",
      [COMPLETE_KEYS] = "compopt -o nospace; COMPREPLY=($(compgen -S = -W \"$keys\" -- \"$current\")); return"};
  char words[256];
  fputs("  case \"$command $previous\" in\n", out);
  for (int i = 0; commands[i]; i++) {
    for (const struct option_spec *o = commands[i]->options; o && o->name; o++) {
      enum completion kind = completion_of(o);
      if (o->type == OPTION_FLAG) continue;
      fprintf(out, "    '%s --%s') ", commands[i]->name, o->name);
      if (kind == COMPLETE_WORDS) {
        fprintf(out, "COMPREPLY=($(compgen -W '%s' -- \"$current\")); return", completion_words(o, words, sizeof words));
      } else {
        fputs(action[kind], out);
      }
      fputs(" ;;\n", out);
    }
  }
  fputs("  esac\n", out);
}

/* After "--set section.key=" bash has the key, the equals sign and the value as three words. */
static void bash_key_values(FILE *out) {
  char words[256];
  fputs(
      "  if [[ $previous == = || $current == = ]]; then\n"
      "    local key=$previous\n"
      "    [[ $previous == = ]] && key=${COMP_WORDS[COMP_CWORD-2]} || current=\n"
      "    case $key in\n",
      out);
  for (int i = 0; i < key_count; i++) {
    if (*completion_key_words(&keys[i], words, sizeof words))
      fprintf(out, "      %s.%s) COMPREPLY=($(compgen -W '%s' -- \"$current\")) ;;\n", keys[i].section, keys[i].name, words);
  }
  fputs("    esac\n    return\n  fi\n", out);
}

void completions_bash(FILE *out) {
  fputs(
      "# bash completion of pdmbooth-tui; made by: pdmbooth-tui completions bash\n_pdmbooth_tui() {\n"
      "  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} command= options= i\n  local names='",
      out);
  for (int i = 0; commands[i]; i++) fprintf(out, "%s%s", i ? " " : "", commands[i]->name);
  fputs("' keys='", out);
  for (int i = 0; i < key_count; i++) fprintf(out, "%s%s.%s", i ? " " : "", keys[i].section, keys[i].name);
  fputs(
      "'\n"
      "  COMPREPLY=()\n"
      "  for ((i = 1; i < COMP_CWORD; i++)); do\n"
      "    [[ \" $names \" == *\" ${COMP_WORDS[i]} \"* ]] && { command=${COMP_WORDS[i]}; break; }\n"
      "  done\n",
      out);
  bash_key_values(out);
  fputs(
      "  if [[ -z $command && $previous == --attach ]]; then\n"
      "    compopt -o filenames 2>/dev/null\n    COMPREPLY=($(compgen -d -- \"$current\"))\n    return\n  fi\n"
      "  if [[ -z $command ]]; then\n"
      "    COMPREPLY=($(compgen -W \"$names --plain --attach --help --version\" -- \"$current\"))\n    return\n  fi\n",
      out);
  bash_options(out);
  bash_values(out);
  fputs(
      "  if [[ $current == -* ]]; then\n"
      "    COMPREPLY=($(compgen -W \"$options\" -- \"$current\"))\n"
      "  elif [[ $command == completions ]]; then\n"
      "    COMPREPLY=($(compgen -W 'bash zsh fish' -- \"$current\"))\n"
      "  else\n"
      "    compopt -o filenames 2>/dev/null\n"
      "    COMPREPLY=($(compgen -f -- \"$current\"))\n"
      "  fi\n"
      "}\n"
      "complete -F _pdmbooth_tui pdmbooth-tui\n",
      out);
}

/* --- the command ------------------------------------------------------------------------------------------------------------ */

static int completions_main(void *options, int operands, char **operand) {
  static const struct {
    const char *name;
    void (*print)(FILE *out);
  } shell[] = {{"bash", completions_bash}, {"zsh", completions_zsh}, {"fish", completions_fish}};
  struct err e = {0};
  (void)options;
  for (size_t i = 0; operands == 1 && i < sizeof shell / sizeof *shell; i++) {
    if (strcmp(operand[0], shell[i].name)) continue;
    shell[i].print(stdout);
    return 0;
  }
  err_set(&e, ERR_USAGE, "completions needs one of bash, zsh and fish; see pdmbooth-tui completions --help");
  return say_error(&e);
}

const struct command_spec completions_command = {
    .name = "completions",
    .operands = "bash|zsh|fish",
    .summary = "print completions for a shell",
    .about =
        "Prints the completions of commands, options and profile keys for a shell. make install puts them where the shells look; by hand, "
        "for instance: "
        "source <(pdmbooth-tui completions bash).",
    .run = completions_main,
};
