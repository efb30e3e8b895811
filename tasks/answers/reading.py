"""Reading: what each word of a question tells about the product asked about, in the words that the catalogue has.

No frame of any language is parsed. A word that every question has tells nothing; one that asks for something (weight,
quem escreveu) or names a kind of thing tells little; what else there is tells as much as it is rare.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tasks.answers.index import Index
from tasks.answers.words import counts, languages, standing_for, stems, words

ASKS, KINDS, FOREIGN, NAMED = 0.15, 0.35, 0.3, 0.6  # shares of a word's weight
SLIP, COMMONER, COUNTED = 0.8, 0.7, 0.9  # how far a reading counts as the word
LONGEST = 40  # words of a question that are read
_ABOUT_IT = re.compile(
    r"\b(?:is|are|was|were|do|does|did|can|could|has|have|will|would|should) (?:it|they|he|she)\b", re.IGNORECASE
)
_AND = frozenset("and e y und et en".split())


@dataclass(frozen=True, slots=True)
class Term:
    """One word of a question: stems it may be read as, each with how well it then fits (1: as it stands)."""

    stem: str
    readings: tuple[tuple[tuple[str, ...], float], ...]
    weight: float
    share: float  # of the weight that a word as rare has
    rows: int  # that have its best reading
    number: bool = False
    unknown: bool = False
    slip: bool = False
    foreign: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as read. `bare`: it names no product, so it goes on with what was talked about, or is nothing."""

    text: str
    stems: tuple[str, ...]  # all of its words
    terms: tuple[Term, ...]
    bare: bool
    leans: bool  # on what was talked about: it asks about `it`, or has a pronoun or an `and` and one word that tells
    language: str

    @property
    def telling(self) -> tuple[Term, ...]:
        return tuple(term for term in self.terms if term.share > KINDS)


def read(question: str, index: Index) -> Asked:
    """The words of `question` that tell something, each in the readings that the catalogue allows."""
    raw = [w for w in words(question) if len(w) <= 40][:LONGEST]
    found = [(word, stem) for word in raw for stem in stems(word)]
    language = _language([stem for _, stem in found], index)
    capitals = _capitals(question) if language != "de" else frozenset()
    joined = _joined([stem for _, stem in found], index)
    terms, used = [], set()
    for place, (word, _) in enumerate(found):
        stem = joined.get(place, found[place][1])
        if not stem or stem in used:
            continue
        used.add(stem)
        if (share := _share(stem, language, index, word in capitals)) > 0:
            terms.append(_term(stem, share, language, index))
    told = [term for term in terms if term.share > KINDS and not (term.foreign and term.unknown)]
    pronoun = bool(standing_for() & set(raw)) or (bool(raw) and raw[0] in _AND)
    leans = not told or (pronoun and len(told) < 2) or bool(_ABOUT_IT.search(question))
    return Asked(question, tuple(stem for _, stem in found), tuple(terms), not told, leans, language)


def _language(asked: list[str], index: Index) -> str:
    """The language with the most words of a question that have no meaning of their own; English where in doubt."""
    told = {name: sum(s in held.stop or s in held.asks for s in set(asked)) for name, held in languages().items()}
    best = max(told, key=lambda name: told[name])
    return best if told[best] > told["en"] else "en"


def _capitals(question: str) -> frozenset[str]:
    """Words with a capital inside a sentence that has words without one: they name something."""
    told = question.split()
    if sum(word[:1].islower() for word in told) < 2:
        return frozenset()
    return frozenset(w for part in told[1:] if part[:1].isupper() for w in words(part))


def _joined(asked: list[str], index: Index) -> dict[int, str]:
    """Words that the catalogue writes as one, by place: `kx`, `tg4500b` -> `kxtg4500b`. "" is a part no more."""
    found: dict[int, str] = {}
    for size in (3, 2):
        for start in range(len(asked) - size + 1):
            parts = asked[start : start + size]
            if any(start + n in found for n in range(size)) or all(index.frequency(part) for part in parts):
                continue
            one = "".join(parts)
            if len(one) > 4 and index.frequency(one):
                found |= {start: one} | {start + n: "" for n in range(1, size)}
    return found


def _share(stem: str, language: str, index: Index, capital: bool) -> float:
    """How much of its weight a word has: 0 for one that every question has."""
    english, own = languages()["en"], languages()[language]
    if stem in english.stop and not (language != "en" and stem in own.kinds):
        return 0.0
    held = [own] if index.frequency(stem) else list(languages().values())
    if any(stem in one.stop for one in held):
        return 0.0
    if any(stem in one.asks for one in (english, *held)):
        return NAMED if capital and stem in english.asks else ASKS
    if any(stem in one.kinds for one in (english, *held)):
        return NAMED if capital and stem in english.kinds else KINDS
    return 1.0


def _term(stem: str, share: float, language: str, index: Index) -> Term:
    rows, number = index.frequency(stem), any(c.isdigit() for c in stem)
    readings: list[tuple[tuple[str, ...], float]] = [((stem,), 1.0)] if rows else []
    if (other := counts().get(stem)) and index.frequency(other):
        readings.append(((other,), COUNTED))
    slip = foreign = False
    if not rows and not readings:
        near = [] if number else index.alike(stem)[:2]
        readings += [((word,), SLIP) for word in near]
        if parts := _split(stem, index):
            readings.append((parts, 1.0 if number else SLIP))
        slip = bool(near)
        foreign = language != "en" and not number and share == 1.0
    elif rows and rows <= 2 and share == 1.0 and len(stem) > 4 and len(index) > 500:
        far = [word for word in index.alike(stem)[:1] if index.frequency(word) >= 10]
        readings += [((word,), COMMONER) for word in far]
    best = min((index.frequency(word) for word in readings[0][0]), default=0) if readings else 0
    share = min(share, FOREIGN) if foreign else share
    # A slip is as rare as what it is a slip for; a word that is nowhere is as rare as one in two rows.
    told = max((index.weight(word) for word in readings[0][0]), default=0.0) if readings else index.weight("\0")
    return Term(stem, tuple(readings), told * share, share, best, number, not readings, slip, foreign)


def _split(stem: str, index: Index) -> tuple[str, ...]:
    """The two words that the catalogue writes apart: `kxtg4500b` -> kx, tg4500b. Empty where there are none."""
    found = []
    for at in range(2, len(stem) - 1):
        left, right = stem[:at], stem[at:]
        if (stem.isalpha() and min(at, len(right)) < 3) or (left.isdigit() and right.isdigit()):
            continue
        if min(index.frequency(left), index.frequency(right)):
            found.append((index.frequency(left) * index.frequency(right), left, right))
    return min(found)[1:] if found else ()
