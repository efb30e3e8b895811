"""Cut WordNet 3.0 to what the check of answers needs: `python -m deployments.wordnet.cut DICT OUT.xz`.

DICT is the folder of WordNet's own files (`index.noun`, `data.noun`, `noun.exc` …), as in Debian's `wordnet-base`:
`apt-get download wordnet-base && dpkg -x wordnet-base_*.deb X`, then `X/usr/share/wordnet`. The bytes of OUT depend on
DICT alone. Left out are glosses, phrases of several words, and senses after the sixth of a word and part of speech.

Three blocks of lines, with a line `%` between them:
- line n is synset n: the numbers of its hypernyms or, of an adjective, of what it is similar to;
- `word pos senses derived opposites[ pos …]`: pos is n, v, a or r, the commonest first; synsets by number, with commas;
- `form word …`: irregular forms (`geese goose`).
"""

from __future__ import annotations

import lzma
import sys
from collections import defaultdict
from pathlib import Path

PARTS = {"noun": "n", "verb": "v", "adj": "a", "adv": "r"}
SENSES = 6
HEAD = 29  # lines of licence at the head of each file of WordNet
Place = tuple[str, int]  # part of speech and byte offset: WordNet's name of a synset


def synsets(folder: Path) -> tuple[dict[Place, list[Place]], dict[tuple[Place, str], list[tuple[str, Place]]]]:
    """Of every synset what lies above it or is similar to it; of every word in one its derived forms and opposites."""
    above: dict[Place, list[Place]] = {}
    links: dict[tuple[Place, str], list[tuple[str, Place]]] = defaultdict(list)
    for part, pos in PARTS.items():
        for line in (folder / f"data.{part}").read_text("utf-8").splitlines()[HEAD:]:
            field = line.split(" | ")[0].split()
            place = (pos, int(field[0]))
            words = [w.lower().partition("(")[0] for w in field[4 : 4 + 2 * int(field[3], 16) : 2]]
            at = 4 + 2 * len(words)
            above[place] = []
            for n in range(int(field[at])):
                sign, offset, kind, ends = field[at + 1 + 4 * n : at + 5 + 4 * n]
                target = ("a" if kind == "s" else kind, int(offset))
                if sign in ("@", "@i", "&"):
                    above[place].append(target)
                elif sign in ("+", "!", "\\") and ends[:2] != "00":
                    links[place, words[int(ends[:2], 16) - 1]].append(("!" if sign == "!" else "+", target))
    return above, links


def words(folder: Path) -> dict[str, list[tuple[int, str, list[Place]]]]:
    """Of every single word its parts of speech, those tagged most often first, each with its first senses."""
    counted: dict[tuple[str, str], int] = defaultdict(int)
    for line in (folder / "cntlist.rev").read_text("utf-8").splitlines():
        key, _, count = line.split()
        word, _, rest = key.partition("%")
        counted[word, "nvara"[int(rest[0]) - 1]] += int(count)
    parts_of: dict[str, list[tuple[int, str, list[Place]]]] = defaultdict(list)
    for part, pos in PARTS.items():
        for line in (folder / f"index.{part}").read_text("utf-8").splitlines()[HEAD:]:
            field = line.split()
            if not field[0].isalpha():
                continue
            senses = [(pos, int(offset)) for offset in field[-int(field[2]) :][:SENSES]]
            parts_of[field[0]].append((-counted[field[0], pos], pos, senses))
    return {word: sorted(parts, key=lambda part: part[:1]) for word, parts in sorted(parts_of.items())}


def cut(folder: Path) -> str:
    """The text of the three blocks."""
    above, links = synsets(folder)
    known = words(folder)
    used = {s for parts in known.values() for _, _, senses in parts for s in senses}
    used |= {target for s in used for target in above[s]}
    number = {s: n for n, s in enumerate(sorted(used))}
    blocks = [[",".join(str(number[t]) for t in above[s] if t in number) for s in sorted(used)], [], []]
    for word, parts in known.items():
        entry = [word]
        for _, pos, senses in parts:
            linked = {
                sign: [t for s in senses for g, t in links[s, word] if g == sign and t in number] for sign in "+!"
            }
            ids = [senses, *(list(dict.fromkeys(linked[sign])) for sign in "+!")]
            entry += [pos, *(",".join(str(number[s]) for s in some) or "-" for some in ids)]
        blocks[1].append(" ".join(entry))
    for part in PARTS:
        for line in (folder / f"{part}.exc").read_text("utf-8").splitlines():
            form, *bases = line.split()
            if form.isalpha() and (bases := [b for b in bases if b in known and b != form]):
                blocks[2].append(" ".join([form, *bases]))
    return "\n%\n".join("\n".join(block) for block in blocks)


if __name__ == "__main__":
    Path(sys.argv[2]).write_bytes(lzma.compress(cut(Path(sys.argv[1])).encode(), preset=9 | lzma.PRESET_EXTREME))
