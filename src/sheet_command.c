/* sheet: pictures to a contact sheet. */
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "sheet.h"

struct sheet_options {
  struct text_list label, column_label;
  const char *title;
  int columns; /* 0: not given */
};

static int columns_of(const struct sheet_options *o, int files) {
  if (o->columns) return o->columns;
  return o->column_label.n ? o->column_label.n : files < 4 ? files : 4;
}

/* The labels [n], those that were not given empty; NULL: out of memory. */
static const char **all_labels(const struct text_list *given, int n) {
  const char **label = calloc((size_t)n, sizeof *label);
  for (int i = 0; label && i < n; i++) label[i] = i < given->n ? given->text[i] : "";
  return label;
}

static bool compose(const char *out, const struct sheet_options *o, int columns, const char **file, int files, struct err *e) {
  int rows = (files + columns - 1) / columns;
  const char **row = all_labels(&o->label, rows), **column = all_labels(&o->column_label, columns);
  const struct sheet s = {
      .title = o->title, .columns = columns, .row_label = o->label.n ? row : NULL, .column_label = o->column_label.n ? column : NULL};
  for (int i = 0; i < files; i++) {
    if (!strcmp(file[i], "-")) file[i] = NULL;
  }
  bool ok = row && column ? sheet_write_files(out, &s, file, files, e) : err_set(e, ERR_FIT, "out of memory");
  free(row);
  free(column);
  return ok;
}

static int sheet_main(void *options, int operands, char **operand) {
  const struct sheet_options *o = options;
  struct err e = {0};
  int files = operands - 1, columns = columns_of(o, files), rows = columns > 0 ? (files + columns - 1) / columns : 0;
  if (files < 1) {
    err_set(&e, ERR_USAGE, "sheet needs OUT.png and at least one picture; see pdmbooth-tui sheet --help");
  } else if (o->label.n > rows) {
    err_set(&e, ERR_USAGE, "sheet has %d rows but %d --label", rows, o->label.n);
  } else if (o->column_label.n > columns) {
    err_set(&e, ERR_USAGE, "sheet has %d columns but %d --column-label", columns, o->column_label.n);
  } else {
    compose(operand[0], o, columns, (const char **)(operand + 1), files, &e);
  }
  return e.code ? say_error(&e) : 0;
}

#define AT(field) .offset = offsetof(struct sheet_options, field)

static const struct option_spec sheet_table[] = {
    {"columns", "N", "pictures in a row (default: as many as --column-label, or 4)", OPTION_WHOLE, AT(columns), 1, 1000},
    {"label", "TEXT", "label of a row (repeat, from the top)", OPTION_LIST, AT(label)},
    {"column-label", "TEXT", "label of a column (repeat, from the left)", OPTION_LIST, AT(column_label)},
    {"title", "TEXT", "heading", OPTION_TEXT, AT(title)},
    {0},
};

const struct command_spec sheet_command = {
    .name = "sheet",
    .operands = "OUT.png PICTURE...",
    .summary = "compose pictures into a contact sheet",
    .about = "Pictures (PNG, JPEG, WebP) are laid out row by row; small ones are enlarged; a picture named - leaves its cell empty.",
    .options = sheet_table,
    .options_size = sizeof(struct sheet_options),
    .run = sheet_main,
};
