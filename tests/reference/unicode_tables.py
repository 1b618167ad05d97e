"""Writes data/tokenizer/unicode.txt: what the current CLIPTokenizer (the Rust library `tokenizers`) knows about Unicode.

It mixes versions: its letters, numbers and lower case are Unicode 17, its NFC is Unicode 9. So the tables are read
out of the library itself, code point by code point, with Python's unicodedata only as the list of candidates.
`nfc` and `normalise` below are the algorithm in plain steps, as the C side does it; dump_tokenizer.py checks them."""
import random
import unicodedata

from common import *
from tokenizers import Regex, normalizers, pre_tokenizers

ALL = [c for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]
NFC, LOWER = normalizers.NFC().normalize_str, normalizers.Lowercase().normalize_str
TABLE = DATA / "tokenizer/unicode.txt"


def members(pattern):
    split = pre_tokenizers.Split(Regex(pattern), behavior="removed", invert=True)
    return sorted(ord(ch) for piece, _ in split.pre_tokenize_str("".join(map(chr, ALL))) for ch in piece)


def ranges(points):
    out = []
    for p in points:
        if out and out[-1][1] == p - 1:
            out[-1][1] = p
        else:
            out.append([p, p])
    return out


def combining_class(c):
    """Python's class, or 0 where the library does not know the character (added after Unicode 9)."""
    k = unicodedata.combining(chr(c))
    if k:
        for mark in "\u0338\u05b0\u0e38\u0323\u0301\u0345":  # classes 1, 10, 103, 220, 230, 240
            for text in ("x" + chr(c) + mark, "x" + mark + chr(c)):
                if NFC(text) != unicodedata.normalize("NFC", text):
                    return 0
    return k


def decomposition(c):
    d = unicodedata.decomposition(chr(c))
    return [int(x, 16) for x in d.split()] if d and d[0] != "<" else None


def build():
    lines = []
    for letter, pattern in (("L", r"\p{L}+"), ("N", r"\p{N}+"), ("S", r"\s+")):
        lines += [f"{letter} {a:X} {b:X}" for a, b in ranges(members(pattern))]
    for c in ALL:
        low = LOWER(chr(c))
        if low != chr(c):
            lines.append(f"W {c:X} " + " ".join(f"{ord(x):X}" for x in low))
    for c in ALL:
        d = decomposition(c)
        if not d:
            continue
        if NFC(chr(c)) != chr(c):  # never comes out of a composition
            lines.append(f"D {c:X} " + " ".join(f"{x:X}" for x in d))
        elif NFC("".join(map(chr, d))) == chr(c):
            lines.append(f"P {c:X} " + " ".join(f"{x:X}" for x in d))
    lines += [f"C {c:X} {combining_class(c)}" for c in ALL if combining_class(c)]
    TABLE.parent.mkdir(parents=True, exist_ok=True)
    TABLE.write_text("\n".join(lines) + "\n")


def load():
    t = {k: {} for k in "WDPC"} | {k: set() for k in "LNS"}
    for line in TABLE.read_text().splitlines():
        kind, *v = line.split()
        if kind in "LNS":
            t[kind].update(range(int(v[0], 16), int(v[1], 16) + 1))
        elif kind == "C":
            t["C"][int(v[0], 16)] = int(v[1])
        else:
            t[kind][int(v[0], 16)] = [int(x, 16) for x in v[1:]]
    t["pairs"] = {tuple(v): k for k, v in t["P"].items()}
    return t


def nfc(t, points):
    """Canonical decomposition, canonical order, canonical composition; Hangul by arithmetic."""
    out = []

    def decompose(c):
        if 0xAC00 <= c < 0xAC00 + 11172:
            s = c - 0xAC00
            out.extend([0x1100 + s // 588, 0x1161 + s % 588 // 28] + ([0x11A7 + s % 28] if s % 28 else []))
        elif c in t["D"] or c in t["P"]:
            for x in t["D"].get(c) or t["P"][c]:
                decompose(x)
        else:
            out.append(c)

    for c in points:
        decompose(c)
    ccc = lambda c: t["C"].get(c, 0)
    i = 0
    while i < len(out):  # stable sort of every run of non-starters
        j = i
        while j < len(out) and ccc(out[j]):
            j += 1
        out[i:j] = sorted(out[i:j], key=ccc)
        i = max(j, i + 1)
    res, starter, last = [], -1, -1  # index of the last starter in res, class of the last character kept after it
    for c in out:
        k = ccc(c)
        if starter >= 0 and last < k:
            a = res[starter]
            if 0x1100 <= a < 0x1113 and 0x1161 <= c < 0x1176:
                new = 0xAC00 + (a - 0x1100) * 588 + (c - 0x1161) * 28
            elif 0xAC00 <= a < 0xAC00 + 11172 and (a - 0xAC00) % 28 == 0 and 0x11A7 < c < 0x11C3:
                new = a + c - 0x11A7
            else:
                new = t["pairs"].get((a, c))
            if new:
                res[starter] = new
                continue
        if k == 0:
            starter, last = len(res), -1
        else:
            last = k
        res.append(c)
    return res


def check(t):
    r = random.Random(1)
    pool = list(t["D"]) + list(t["P"]) + list(t["C"]) + [0x41, 0x65, 0x1100, 0x1161, 0x11A8, 0xAC00, 0xD7A3] * 20
    for _ in range(200000):
        s = "".join(chr(r.choice(pool)) for _ in range(r.randint(1, 6)))
        if "".join(map(chr, nfc(t, map(ord, s)))) != NFC(s):
            sys.exit(f"nfc differs: {[hex(ord(c)) for c in s]} {[hex(ord(c)) for c in NFC(s)]}")


if __name__ == "__main__":
    build()
    check(load())
    print(TABLE, TABLE.stat().st_size)
