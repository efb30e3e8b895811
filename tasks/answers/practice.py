"""Practice: questions made from the catalogue's own rows, on which finding is calibrated.

Every form that people use, with the row they are about; and questions without a row: the same with the row and its
twins hidden, names that the catalogue lacks, a model number changed, and what no catalogue answers. One seed, the same
rows: the same questions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from math import sqrt
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import yaml

from tasks.answers.index import Index, IndexedRow
from tasks.answers.words import languages, stems

TWIN, TWIN_TEXT, SAME = 0.45, 0.4, 0.6  # likeness of titles, of descriptions; of titles that are one product
_CODE = re.compile(r"(?=[\w/-]*\d)(?=[\w/-]*[A-Za-z])[A-Za-z0-9]+(?:[-/][A-Za-z0-9]+)*")
_SIGNS = " ,.;:!?()[]\"'“”"


@dataclass(frozen=True, slots=True)
class Practised:
    """A made question. `right`: keys of titles that answer it, none where nothing should. `hidden`: rows not there."""

    kind: str
    text: str
    right: frozenset[str]
    hidden: tuple[IndexedRow, ...] = ()


@cache
def _held() -> dict[str, Any]:
    return dict(yaml.safe_load((Path(__file__).parent / "practice.yaml").read_text(encoding="utf-8")))


def practised(index: Index, rows: int, seed: int) -> Iterator[Practised]:
    """Questions from about `rows` rows: for each one with its row and one without, and now and then one more."""
    chance, sampled = Random(seed), index.sample(rows, seed)
    for text in _held()["general"]:
        yield Practised("general", _typed(text, chance), frozenset())
    for number, row in enumerate(sampled):
        twins = alike(row, index)
        right = frozenset({row.key, *(twin.row.key for twin in twins if twin.same)})
        kind, text = _made(row, chance)
        if text:
            yield Practised(kind, text, right)
        kind, text = _made(row, chance)
        if text:
            yield Practised(f"hidden {kind}", text, frozenset(), (row, *(twin.row for twin in twins)))
        if number % 2 == 0 and (text := _sibling(row, chance, index)):
            yield Practised("changed number", text, frozenset())
        if number % 6 == 1:
            yield Practised("elsewhere", _elsewhere(row, chance, index), frozenset())
        if number % 8 == 3 and (found := _category(row, chance, index)):
            yield Practised("category", *found)
        if number % 8 == 4 and (text := _mixed(row, chance.choice(sampled), chance, index)):
            yield Practised("mixed", text, frozenset())


class Twin(NamedTuple):
    """Another row that may be the same product; `same`: its title alone says that it is."""

    row: IndexedRow
    same: bool


def alike(row: IndexedRow, index: Index) -> list[Twin]:
    """Other rows that may be the same product: titles or descriptions are alike, or one title holds the other.

    Rows whose titles each have a number that the other lacks are none: a question must be kept apart from them.
    """
    title, content = set(stems(row.title)), set(stems(row.content[:1_500]))
    rarest = sorted({*title, *content}, key=index.weight, reverse=True)[:16]
    found = []
    for other, _ in index.nearest(dict.fromkeys(rarest, 1.0), 12):
        its = set(stems(other.title))
        if (other.uid, other.digest) == (row.uid, row.digest) or _apart(title, its):
            continue
        titles, inside = _cosine(title, its, index), _inside(title, its, index)
        equal = _numbers(title, str.isdigit) == _numbers(its, str.isdigit)
        if max(titles, inside) >= TWIN or _cosine(content, set(stems(other.content[:1_500])), index) >= TWIN_TEXT:
            found.append(Twin(other, equal and max(titles, inside) >= SAME))
    return found


def _apart(one: set[str], two: set[str]) -> bool:
    """Whether each has a number, or each a code, that the other lacks."""
    return any(
        _numbers(one, kind) - two and _numbers(two, kind) - one for kind in (str.isdigit, lambda w: not w.isdigit())
    )


def _numbers(words: set[str], kind: Callable[[str], bool]) -> set[str]:
    return {word for word in words if any(c.isdigit() for c in word) and kind(word)}


def _inside(one: set[str], two: set[str], index: Index) -> float:
    """1 where all but a tenth of what the shorter title tells, three words at least, stands in the other; else 0."""
    short = min((one, two), key=len) - languages()["en"].stop
    return float(len(short) > 2 and _norm(short & one & two, index) >= 0.9 * _norm(short, index))


def _cosine(one: set[str], two: set[str], index: Index) -> float:
    both = sum(index.weight(w) ** 2 for w in one & two)
    return both / (sqrt(_norm(one, index) * _norm(two, index)) or 1.0)


def _norm(words: set[str], index: Index) -> float:
    return sum(index.weight(w) ** 2 for w in words)


def _made(row: IndexedRow, chance: Random) -> tuple[str, str]:
    """A kind of question and its words; empty where the row has nothing to make it of."""
    ways: dict[str, tuple[int, Callable[[IndexedRow, Random], str]]] = {
        "title": (2, lambda r, c: _framed("plain", r.title, c)),
        "part": (4, lambda r, c: _framed("plain", _part(r, c), c)),
        "slip": (3, lambda r, c: _framed("plain", _slip(_part(r, c), c), c)),
        "brand": (3, lambda r, c: _framed("plain", _brand(r, c), c)),
        "code": (2, lambda r, c: _framed("plain", _code(r, c), c)),
        "described": (4, lambda r, c: _framed("described", _described(r, c), c)),
        "asking": (4, lambda r, c: _framed("asking", c.choice((_part, _brand))(r, c), c)),
        "foreign": (3, lambda r, c: _framed("foreign", _called(c.choice((_part, _brand))(r, c), c), c)),
    }
    (kind,) = chance.choices(list(ways), [weight for weight, _ in ways.values()])
    text = ways[kind][1](row, chance)
    return (kind, text) if text else ("part", _framed("plain", _part(row, chance), chance))


def _framed(name: str, inside: str, chance: Random) -> str:
    return _typed(chance.choice(_held()[name]).replace("{x}", inside), chance) if inside else ""


def _typed(text: str, chance: Random) -> str:
    """As people type: half of them without capitals."""
    return text.lower() if chance.random() < 0.5 else text


def _telling(text: str) -> list[str]:
    """The words of a text as they stand that tell something."""
    dull = languages()["en"].stop
    return [w for part in text.split() if (w := part.strip(_SIGNS)) and any(s not in dull for s in stems(w))]


def _naming(text: str) -> list[str]:
    """Those of its words that neither ask for something nor say what kind of thing it is."""
    english = languages()["en"]
    return [w for w in _telling(text) if not any(s in english.asks or s in english.kinds for s in stems(w))]


def _part(row: IndexedRow, chance: Random) -> str:
    """Two to five words of the title: its beginning, a run of it, or some of it."""
    told = _telling(row.title)
    many = min(len(told), chance.randint(2, 5))
    way = chance.random()
    start = 0 if way < 0.4 else chance.randint(0, len(told) - many)
    if way < 0.7:
        return " ".join(told[start : start + many])
    return " ".join(told[n] for n in sorted(chance.sample(range(len(told)), many)))


def _brand(row: IndexedRow, chance: Random) -> str:
    """The first word and one to three others."""
    told = _telling(row.title)
    rest = range(1, len(told))
    return (
        " ".join([told[0], *(told[n] for n in sorted(chance.sample(rest, min(len(rest), chance.randint(1, 3)))))])
        if told
        else ""
    )


def _slip(text: str, chance: Random) -> str:
    """One or two slips of the pen, each in a word of five letters or more."""
    told = text.split()
    for _ in range(chance.choice((1, 1, 2))):
        long = [n for n, w in enumerate(told) if len(w) > 4 and w.isalpha()]
        if not long:
            return ""
        at = chance.choice(long)
        word, place = told[at], chance.randrange(1, len(told[at]) - 1)
        told[at] = chance.choice(
            (
                word[:place] + word[place + 1] + word[place] + word[place + 2 :],
                word[:place] + word[place + 1 :],
                word[:place] + word[place] + word[place:],
                word[:place] + chance.choice("aeiourstln") + word[place + 1 :],
            )
        )
    return " ".join(told)


def _code(row: IndexedRow, chance: Random) -> str:
    """A model number of the title, with and without its hyphens, alone or after the first word."""
    found = [c for c in _CODE.findall(row.title) if len(c) > 3]
    if not found:
        return ""
    code = chance.choice(found)
    code = code.replace("-", chance.choice(("", " ", "-"))).replace("/", chance.choice(("", "/")))
    return f"{_telling(row.title)[0]} {code}" if chance.random() < 0.4 else code


def _described(row: IndexedRow, chance: Random) -> str:
    """Three to eight telling words of a sentence of the description, one time in eight with a word of one's own."""
    found = [s for s in re.split(r"(?<=[.!?])\s+", row.content) if len(_telling(s)) > 3]
    if not found:
        return ""
    told = _telling(chance.choice(found))
    many = min(len(told), chance.randint(3, 8))
    start = chance.randint(0, len(told) - many)
    told = told[start : start + many]
    if chance.random() < 0.125:
        told.insert(chance.randint(0, len(told)), chance.choice(_held()["own"].split()))
    return " ".join(told)


def _called(text: str, chance: Random) -> str:
    return f"{chance.choice(_held()['called'].split())} {text}" if text and chance.random() < 0.6 else text


def _sibling(row: IndexedRow, chance: Random, index: Index) -> str:
    """The title with a number changed to one that the catalogue lacks."""
    told = row.title.split()
    places = [n for n, w in enumerate(told) if any(c.isdigit() for c in w)]
    if not places:
        return ""
    at = chance.choice(places)
    for _ in range(4):
        new = re.sub(r"\d(?=\D*$)", str(chance.randint(0, 9)), told[at])
        if new != told[at] and not any(index.frequency(s) for s in stems(new)):
            told[at] = new
            start = chance.randint(0, at) if chance.random() < 0.5 else 0
            return _framed(chance.choice(("plain", "asking")), " ".join(told[start : max(at + 1, start + 6)]), chance)
    return ""


def _elsewhere(row: IndexedRow, chance: Random, index: Index) -> str:
    """An invented make of a kind of thing that the catalogue has."""
    ends = [w for w in _telling(row.title) if index.frequency((stems(w) or [""])[0]) > 2] or ["lamp"]
    name = "".join(chance.choice(("va", "zo", "ke", "lu", "tri", "gno", "mex", "pli", "qui", "dra")) for _ in range(3))
    inside = f"{name.title()} {' '.join(chance.sample(ends, min(len(ends), chance.randint(1, 2))))}"
    if chance.random() < 0.4:
        inside += f" {chance.choice('XQZV')}{chance.randint(100, 9_999)}"
    return _framed(chance.choice(("plain", "asking", "foreign")), inside, chance)


def _category(row: IndexedRow, chance: Random, index: Index) -> tuple[str, frozenset[str]] | None:
    """A word or two that at least three rows have, and the titles of those found by them."""
    plain = [w for w in _naming(row.title) if w.isalpha() and len(w) > 2]
    told = [s for w in plain for s in stems(w) if 3 <= index.frequency(s) <= max(30, len(index) // 50)]
    if not told:
        return None
    asked = chance.sample(told, min(len(told), chance.randint(1, 2)))
    hits = index.nearest(dict.fromkeys(asked, 1.0), 20)
    right = [hit for hit, _ in hits if set(asked) <= {*stems(hit.title), *stems(hit.content)}]
    if len({hit.key for hit in right}) < 3:
        return None
    raw = {s: w for w in plain for s in stems(w)}
    return _framed("category", " ".join(raw[s] for s in asked), chance), frozenset(hit.key for hit in right)


def _mixed(row: IndexedRow, other: IndexedRow, chance: Random, index: Index) -> str:
    """Words of two titles that no row has together."""
    one, two = _naming(row.title), _naming(other.title)
    told = chance.sample(one, min(len(one), 2)) + chance.sample(two, min(len(two), 2))
    wanted = {s for w in told for s in stems(w)}
    for hit, _ in index.nearest(dict.fromkeys(wanted, 1.0), 5):
        if wanted <= {*stems(hit.title), *stems(hit.content)}:
            return ""
    apart = bool(one and two) and not set(one) & set(two)
    return _framed("plain", " ".join(told), chance) if apart else ""
