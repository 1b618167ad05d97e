"""Writes data/tokenizer: the merges of the real CLIP vocabulary and test strings with the ids of the current CLIPTokenizer.

`encode` is the same in plain steps; every string is checked against it, so README.md's description of the steps is exact."""
import gzip
import json
import random
import re
import tempfile
import unicodedata

import open_clip
from common import *
from transformers import CLIPTokenizer
from unicode_tables import load, nfc

OUT = DATA / "tokenizer"
SOURCE = Path(open_clip.__file__).parent / "bpe_simple_vocab_16e6.txt.gz"
START, END = "<|startoftext|>", "<|endoftext|>"
SPECIAL_CONFIG = SHARED / "tiny-sd/tokenizer"


def write_gz(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as f, gzip.GzipFile("", "wb", 9, f, mtime=0) as z:
        z.write(text.encode())


def byte_chars():
    """CLIP's character for every byte; printable ones stand for themselves, the others for U+0100 onwards."""
    own = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [b for b in range(256) if b not in own]
    return own + rest, {b: chr(b) for b in own} | {b: chr(256 + i) for i, b in enumerate(rest)}


def vocabulary(merges):
    order, char = byte_chars()
    tokens = [char[b] for b in order]
    tokens += [t + "</w>" for t in tokens] + ["".join(m) for m in merges] + [START, END]
    return {t: i for i, t in enumerate(tokens)}


def bpe(word, vocab, ranks):
    parts = list(word[:-1]) + [word[-1] + "</w>"]
    while len(parts) > 1:
        rank, i = min((ranks.get(p, 1 << 30), i) for i, p in enumerate(zip(parts, parts[1:])))
        if rank == 1 << 30:
            break
        parts[i : i + 2] = [parts[i] + parts[i + 1]]
    return [vocab[p] for p in parts]


def split_at(tokens, text):
    return re.split("(" + "|".join(map(re.escape, tokens)) + ")", text)


def encode(text, vocab, ranks, t, exact, normalized):
    """Ids with start and end, cut to 77. exact: the special tokens (configured as plain strings) that are taken out of
    the raw text before anything else; normalized: those (AddedToken with normalized true) taken out after lower-casing."""
    char = byte_chars()[1]

    def kind(c):
        return "S" if c in t["S"] else "L" if c in t["L"] else "N" if c in t["N"] else "O"

    def runs(text):
        """One piece: contraction, run of letters, one number, or run of others; white space is dropped."""
        i = 0
        while i < len(text):
            k, j = kind(ord(text[i])), i + 1
            special = text.startswith(END, i) and len(END)
            contraction = next((len(x) for x in ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d") if text.startswith(x, i)), 0)
            if special:  # <|EndOfText|> where only the exact one is special; ByteLevel cuts it again
                yield from ("<|", "endoftext", "|>")
                j = i + special
            elif contraction:
                j = i + contraction
                yield text[i:j]
            elif k != "S":
                while k != "N" and j < len(text) and kind(ord(text[j])) == k:
                    j += 1
                yield text[i:j]
            i = j

    ids = []
    for raw in split_at(exact, text):
        if raw in exact:
            ids.append(vocab[raw])
            continue
        points = nfc(t, map(ord, raw))
        out = []
        for p in points:  # a run of white space becomes one space; lower case by code point
            if p in t["S"]:
                out += [0x20] if not out or out[-1] != 0x20 else []
            else:
                out += t["W"].get(p, [p])
        for part in split_at(normalized, "".join(map(chr, out))):
            if part in normalized:
                ids.append(vocab[part])
            else:
                for piece in runs(part):
                    ids += bpe("".join(char[b] for b in piece.encode()), vocab, ranks)
    return [vocab[START], *ids[:75], vocab[END]]


def prompts():
    sections, name = {}, None
    for line in (SHARED / "dreambooth-subjects.ini").read_text().splitlines():
        if line.startswith("["):
            name = line.strip("[]")
        elif "=" in line:
            sections.setdefault(name, []).append([x.strip() for x in line.split("=", 1)])
    for _, value in sections["subjects"]:
        cls, kind = [x.strip() for x in value.split(",")]
        for _, p in sections[f"prompts {kind}"]:
            yield p.format(token="sks", **{"class": cls})
        for p in ("a photo of sks " + cls, "a photo of " + cls):
            yield p


HAND = r"""
|!|!!|!!!!!!!!!|wow!|wow !|a ! b|!a!b!|'|''|'s|'S|it's|IT'S|don't|we're|I'll|I'LL've'd'm|''s|'''ll|o'clock|rock'n'roll|’s|it’s
a photo of sks dog|A Photo Of SKS Dog|a  photo   of    sks dog| leading|trailing | both |one, two; three: four. five? six!|a-b_c+d=e*f/g\h
100%|3.14159|1,000,000|v1.5|4k 8K uhd|2024-01-02|+1-2|½ ⅓ ² ³ Ⅷ ① ٣ ४ 五|1st2nd3rd|0x1F|a1b2c3|007
<|endoftext|>|<|startoftext|>|a <|endoftext|> b|a<|endoftext|>b|<|endoftext|><|endoftext|>|<|startoftext|>x<|startoftext|>|<|ENDOFTEXT|>|<|STARTOFTEXT|>|x<|EndOfText|>!!|!!<|StartOfText|>!!|!!<|EndOfText|>!!|<|endoftext|<|endoftext|>|<endoftext>|< |endoftext| >|<|endoftext|>'s|<|endoftext|>́a|e<|startoftext|>́
&amp;|a &lt; b &gt; c|&quot;hi&quot;|&#39;s|&nbsp;|&eacute;|&amp;amp;|cats & dogs|<b>bold</b>|http://example.com/a?b=c&d=e|mail@example.com|#hashtag @name|$5.00 €10 £3 ¥7|C++ C#
é|é|É|É|café|café|Ångström Å Å|ñ ñ Ñ|naïve|Zürich|straße STRASSE ẞ|İstanbul|ıI|ΣΊΣΥΦΟΣ|σς|Ǆ ǅ ǆ|ŉ|ǰ|ΐ|ﬁ ﬂ ﬀ ﬃ ſt|ſ|K Å Ω|µ μ|Ω|ậ ậ ậ|ḍ̇ ḍ̇|q̣̇ q̣̇|각 각 각|한국어|ᄀ|ą́ ą́
日本語|東京タワー|你好，世界|「かっこ」|ｶﾞｷﾞ|Ｆｕｌｌ　Ｗｉｄｔｈ|１２３|مرحبا بالعالم|שלום עולם|שָׁלוֹם|हिन्दी|ไทย|தமிழ்|ქართული|ᲐᲑ|Հայերեն|Русский язык|Ελληνικά|Tiếng Việt|አማርኛ|ភាសាខ្មែរ|Ꭰ ꭰ|𝕳𝖊𝖑𝖑𝖔|𝟘𝟙|𐐀𐐨|豈|豈|か゛ が
😀|a 🐶 dog|👨‍👩‍👧‍👦|👍🏽|🇩🇪🇫🇷|❤️|❤|☺️|🏳️‍🌈|1️⃣|a🐱b|✨✨✨|→←|∑∏√∞|♥|™®©|…|“quoted”|«guillemets»|—dash–|• bullet|´`^~¨
"""
ODD = ["\t", "\n", "\r\n", "a\tb", "a\nb", "a\x0bb", "a\x0cb", "a\x1cb", "a\x1db\x1e\x1f", "a\x85b", "a\xa0b", "\u3000a\u3000", "a\u1680b",
       "a\u180eb", "a\u2028b\u2029c", "a\u202fb", "a\u205fb", "\u200ba", "a\u200bb", "a\u200c\u200db", "\ufeffa", "a\ufeff", "a\u2060b", "\u00adsoft\u00adhyphen",
       "\u202eabc", "\u2066abc\u2069", "\x01", "\x01\x02\x03", "a\x7fb", "\x1b[31mred", "\x08", "\ufffd", "\ufffe", "\uffff", "\ue000", "\U000f0000",
       "\U0010ffff", "\u0378", "\u07fd x", "x\u1df6\u0323", "\U00011935\U00011930", "\u1c89", "\ua7cb", "\U00010d50", "\u0301", "\u0301a", "a\u0301\u0323",
       "a\u0323\u0301", "a \u0301b", "Z\u0351\u036b\u0343A\u0321\u0334L", "e\u0301\u0301\u0301", " ", "      ", "a" * 100, "ab " * 100, "! " * 90, "1" * 90,
       "a photo of a very detailed " * 12 + "dog", "supercalifragilisticexpialidocious " * 8, "日本語" * 40, "😀" * 60, "x" + " " * 300 + "y",
       "<|endoftext|>" * 80, "word " * 74 + "<|endoftext|> tail", "word " * 75, "word " * 76, "'s" * 50, "é" * 90, "\u0301" * 90]
RANGES = [(0x20, 0x7E), (0xA0, 0x24F), (0x300, 0x36F), (0x370, 0x3FF), (0x400, 0x52F), (0x590, 0x6FF), (0x900, 0xDFF), (0x1100, 0x11FF),
          (0x1E00, 0x1FFF), (0x2000, 0x2BFF), (0x3040, 0x30FF), (0x4E00, 0x5FFF), (0xAC00, 0xD7A3), (0xF900, 0xFAFF), (0xFB00, 0xFFEF),
          (0x10000, 0x1FFFF), (0x1F300, 0x1FAFF), (1, 0x10FFFF)]


def strings():
    yield from prompts()
    for line in HAND.splitlines()[1:]:
        yield from re.split(r"(?<!<)\|(?!>)", re.sub(r"<\|(\w+)\|(>?)", "<\x02\\1\x02\\2", line))
    yield from ODD
    r = random.Random(20240607)
    words = "photo painting of the a an sks dog cat Backpack in on with it's don't 3D 4k (masterpiece:1.2) [x] {y} oil-paint, . ! ? ; : ' \" & art-by étude Größe".split()
    vocab_words = [w for w in json.loads((SPECIAL_CONFIG / "vocab.json").read_text()) if w.isascii() and "</w>" in w]
    for _ in range(500):
        yield r.choice(["", " ", "  "]).join(r.choice([w, w.upper(), w.capitalize()]) for w in r.choices(words, k=r.randint(1, 12)))
    for _ in range(200):
        yield " ".join(w[:-4] for w in r.choices(vocab_words, k=r.randint(1, 20)))
    for _ in range(200):
        yield "".join(r.choices("".join(map(chr, range(1, 128))), k=r.randint(1, 24)))
    for _ in range(150):
        yield "".join(r.choices("'sStTrReEvVmMlLdD !<|>endoftxar\u00a0", k=r.randint(2, 20)))
    for n in range(900):
        a, b = RANGES[n % len(RANGES)]
        s = "".join(chr(r.randint(a, b)) for _ in range(r.randint(1, 10)))
        s = "".join(c for c in s if not 0xD800 <= ord(c) <= 0xDFFF)
        if n % 3 == 0:
            s = unicodedata.normalize(r.choice(["NFD", "NFKD", "NFC"]), s)
        yield s if n % 2 else "a " + s + " dog"


def library(folder, pad):
    for f in ("tokenizer_config.json", "special_tokens_map.json"):
        config = json.loads((SPECIAL_CONFIG / f).read_text()) | {"pad_token": pad}
        (folder / f).write_text(json.dumps(config))
    return CLIPTokenizer.from_pretrained(folder)


def main():
    lines = gzip.open(SOURCE, "rt", encoding="utf-8").read().split("\n")
    merges = [tuple(m.split()) for m in lines[1 : 49152 - 256 - 2 + 1]]  # as CLIP's simple_tokenizer.py cuts it
    text = "#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges)
    write_gz(OUT / "merges.txt.gz", text)
    vocab, ranks, t = vocabulary(merges), {m: i for i, m in enumerate(merges)}, load()
    all_strings = list(dict.fromkeys(s.replace("\x02", "|") for s in strings()))
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        (folder / "merges.txt").write_text(text)
        (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False))
        sd1, sd2 = library(folder, END), library(folder, "!")
    rows, bang, wrong = [], 0, 0
    for s in all_strings:
        assert "\0" not in s
        row = {"s": s, "ids": sd1(s, truncation=True, max_length=77).input_ids}
        other = sd2(s, truncation=True, max_length=77).input_ids
        if row["ids"] != encode(s, vocab, ranks, t, [END], [START]) or other != encode(s, vocab, ranks, t, ["!"], [START, END]):
            wrong += 1
            print("plain steps differ:", ascii(s), row["ids"], other)
        if other != row["ids"]:
            row["ids_pad_bang"] = other
            bang += 1
        rows.append(json.dumps(row, separators=(",", ":")))
    write_gz(OUT / "strings.jsonl.gz", "\n".join(rows) + "\n")
    print(len(vocab), "tokens;", len(rows), "strings;", bang, "differ with pad token '!';", wrong, "wrong")
    sys.exit(wrong != 0)


if __name__ == "__main__":
    main()
