/* The completions of zsh and fish. */
#include <string.h>

#include "commands.h"
#include "completions.h"

/* Within single quotes of a shell; what zsh's _arguments takes for syntax (special) has a backslash before it. */
static void quoted(FILE *out, const char *text, const char *special) {
  for (const char *p = text; *p; p++) {
    if (*p == '\'') {
      fputs("'\\''", out);
    } else {
      if (strchr(special, *p)) fputc('\\', out);
      fputc(*p, out);
    }
  }
}

/* --- zsh -------------------------------------------------------------------------------------------------------------------- */

static void zsh_option(FILE *out, const struct option_spec *o) {
  static const char *const action[] = {[COMPLETE_NOTHING] = " ",
                                       [COMPLETE_FOLDERS] = "_files -/",
                                       [COMPLETE_FILES] = "_files",
                                       [COMPLETE_MODELS] = "_files -/",
                                       [COMPLETE_KEYS] = "_pdmbooth_tui_keys"};
  char words[256];
  fprintf(out, "    '%s--%s[", o->type == OPTION_LIST ? "*" : "", o->name);
  quoted(out, o->help, "[]\\");
  fputc(']', out);
  if (o->type != OPTION_FLAG) {
    enum completion kind = completion_of(o);
    fputc(':', out);
    quoted(out, o->value ? o->value : "word", ":\\[]");
    fputc(':', out);
    if (kind == COMPLETE_WORDS) fprintf(out, "(%s)", completion_words(o, words, sizeof words));
    if (kind != COMPLETE_WORDS) fputs(action[kind], out);
  }
  fputs("' \\\n", out);
}

/* "--set train.mode=lora": the name with an equals sign, then the words of that key. */
static void zsh_keys(FILE *out) {
  char words[256];
  fputs("_pdmbooth_tui_keys() {\n  if [[ $PREFIX == *=* ]]; then\n    local key=${PREFIX%%=*}\n    compset -P '*='\n    case $key in\n",
        out);
  for (int i = 0; i < key_count; i++) {
    if (*completion_key_words(&keys[i], words, sizeof words))
      fprintf(out, "      %s.%s) compadd -- %s ;;\n", keys[i].section, keys[i].name, words);
  }
  fputs("      *) _files ;;\n    esac\n  else\n    compadd -S = --", out);
  for (int i = 0; i < key_count; i++) fprintf(out, " %s.%s", keys[i].section, keys[i].name);
  fputs("\n  fi\n}\n\n", out);
}

void completions_zsh(FILE *out) {
  fputs("#compdef pdmbooth-tui\n# made by: pdmbooth-tui completions zsh\n\n", out);
  zsh_keys(out);
  fputs("_pdmbooth_tui() {\n  local -a names\n  names=(\n", out);
  for (int i = 0; commands[i]; i++) {
    fprintf(out, "    '%s:", commands[i]->name);
    quoted(out, commands[i]->summary, ":\\");
    fputs("'\n", out);
  }
  fputs(
      "    '--plain:open the workstation line by line'\n    '--attach:open a run in the workstation'\n"
      "    '--help:say what there is'\n    '--version:print the version'\n  )\n"
      "  if ((CURRENT == 2)); then\n    _describe command names\n    return\n  fi\n"
      "  if [[ ${words[2]} == --(attach|plain) ]]; then\n"
      "    _arguments '--plain[line by line]' '--attach[open this run]:directory:_files -/'\n    return\n  fi\n"
      "  local name=${words[2]}\n  shift words\n  ((CURRENT--))\n  case $name in\n",
      out);
  for (int i = 0; commands[i]; i++) {
    fprintf(out, "  %s) _arguments \\\n    '--help[say what it does]' \\\n", commands[i]->name);
    for (const struct option_spec *o = commands[i]->options; o && o->name; o++) zsh_option(out, o);
    fputs(commands[i] == &completions_command ? "    '1:shell:(bash zsh fish)' ;;\n" : "    '*:file:_files' ;;\n", out);
  }
  fputs("  esac\n}\n\n_pdmbooth_tui \"$@\"\n", out);
}

/* --- fish ------------------------------------------------------------------------------------------------------------------- */

/* The condition under which a command's completions hold: its word stands in the line. */
static void fish_begin(FILE *out, const struct command_spec *c) {
  fprintf(out, "complete -c pdmbooth-tui -n '__pdmbooth_tui_is %s'", c->name);
}

static void fish_option(FILE *out, const struct command_spec *c, const struct option_spec *o) {
  char words[256];
  enum completion kind = completion_of(o);
  fish_begin(out, c);
  fprintf(out, " -l %s -d '", o->name);
  quoted(out, o->help, "\\");
  fputc('\'', out);
  if (o->type != OPTION_FLAG) fputs(kind == COMPLETE_FILES ? " -r -F" : " -x", out);
  if (kind == COMPLETE_WORDS) fprintf(out, " -a '%s'", completion_words(o, words, sizeof words));
  if (kind == COMPLETE_FOLDERS) fputs(" -a '(__fish_complete_directories)'", out);
  if (kind == COMPLETE_MODELS) fputs(" -a 'embedded (__fish_complete_directories)'", out);
  if (kind == COMPLETE_KEYS) fputs(" -a '(__pdmbooth_tui_keys)'", out);
  fputc('\n', out);
}

/* Every key with an equals sign; those that have words also with each of them. */
static void fish_keys(FILE *out) {
  char words[256];
  fputs("function __pdmbooth_tui_keys\n", out);
  for (int i = 0; i < key_count; i++) {
    fprintf(out, "  echo %s.%s=\n", keys[i].section, keys[i].name);
    completion_key_words(&keys[i], words, sizeof words);
    for (const char *p = words; *p;) {
      size_t n = strcspn(p, " ");
      fprintf(out, "  echo %s.%s=%.*s\n", keys[i].section, keys[i].name, (int)n, p);
      p += n + (p[n] == ' ');
    }
  }
  fputs("end\n\n", out);
}

void completions_fish(FILE *out) {
  fputs("# fish completion of pdmbooth-tui; made by: pdmbooth-tui completions fish\n", out);
  fish_keys(out);
  fputs(
      "function __pdmbooth_tui_is\n  contains -- $argv[1] (commandline -opc)\nend\n\n"
      "function __pdmbooth_tui_none\n  for name in",
      out);
  for (int i = 0; commands[i]; i++) fprintf(out, " %s", commands[i]->name);
  fputs("\n    contains -- $name (commandline -opc); and return 1\n  end\n  return 0\nend\n\n", out);
  for (int i = 0; commands[i]; i++) {
    bool option = commands[i]->name[0] == '-';
    fprintf(out, "complete -c pdmbooth-tui -n __pdmbooth_tui_none%s %s -d '", option ? " -l" : " -f -a",
            commands[i]->name + (option ? 2 : 0));
    quoted(out, commands[i]->summary, "\\");
    fputs("'\n", out);
  }
  fputs(
      "complete -c pdmbooth-tui -n __pdmbooth_tui_none -f -l plain -d 'open the workstation line by line'\n"
      "complete -c pdmbooth-tui -n __pdmbooth_tui_none -x -l attach -a '(__fish_complete_directories)' -d 'open a run in the workstation'\n"
      "complete -c pdmbooth-tui -n __pdmbooth_tui_none -f -l version -d 'print the version'\n"
      "complete -c pdmbooth-tui -l help -d 'say what there is'\n",
      out);
  for (int i = 0; commands[i]; i++) {
    for (const struct option_spec *o = commands[i]->options; o && o->name; o++) fish_option(out, commands[i], o);
  }
  fish_begin(out, &completions_command);
  fputs(" -f -a 'bash zsh fish'\n", out);
}
