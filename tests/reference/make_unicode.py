"""Writes engine/formats/unicode_tables.c from data/tokenizer/unicode.txt (see unicode_tables.py for what that file is)."""
from pathlib import Path

HERE = Path(__file__).resolve().parent
TABLE = HERE.parent / "data/tokenizer/unicode.txt"
OUT = HERE.parent.parent / "engine/formats/unicode_tables.c"


def rows():
    kinds = {k: [] for k in "LNSWDPC"}
    for line in TABLE.read_text().splitlines():
        kind, *v = line.split()
        kinds[kind].append([int(v[0], 16), int(v[1])] if kind == "C" else [int(x, 16) for x in v])
    return kinds


def runs(pairs):
    """[point, class] rows as [first, last, class] rows."""
    out = []
    for point, value in sorted(pairs):
        if out and out[-1][1] == point - 1 and out[-1][2] == value:
            out[-1][1] = point
        else:
            out.append([point, point, value])
    return out


def table(kind, name, items):
    lines, line = [], " "
    for item in items:
        text = " {" + ", ".join(str(x) if x < 256 else hex(x) for x in item) + "},"
        if len(line) + len(text) > 138:
            lines.append(line)
            line = " "
        line += text
    lines.append(line)
    return f"const struct {kind} {name}[] = {{\n" + "\n".join(lines) + f"\n}};\nconst int {name}_n = {len(items)};\n"


def padded(v):
    return (v + [0, 0])[:3]


def main():
    k = rows()
    parts = [
        "/* Made by tests/reference/make_unicode.py: do not edit. */\n#include \"formats/unicode_tables.h\"\n",
        table("unicode_range", "unicode_letter", k["L"]),
        table("unicode_range", "unicode_number", k["N"]),
        table("unicode_range", "unicode_space", k["S"]),
        table("unicode_class", "unicode_combining", runs(k["C"])),
        table("unicode_map", "unicode_lower", sorted(map(padded, k["W"]))),
        table("unicode_map", "unicode_decompose", sorted(map(padded, k["D"] + k["P"]))),
        table("unicode_pair", "unicode_compose", sorted([a, b, c] for c, a, b in k["P"])),
    ]
    OUT.write_text("\n".join(parts))


main()
