"""Sources: whether an answer holds, decided by rules alone, the same every time; no model judges another.

An answer is supported where the cited row exists and is the product asked about, and every number (with its unit),
every capitalised name and every word for a colour or a material in it stands in that row or in the question; and
where at least half of its telling words do, one of them from the description and not from the question alone: an answer
about nothing in particular is none, and neither is the title said again.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from tasks.answers.index import IndexedRow
from tasks.answers.words import STOP, listed, words
from tasks.core.models import Frozen
from tasks.evaluation.metrics import NUMBER, plain, refused
from tasks.examples.styles import ABSTAIN, SOURCE

Rule = Literal["citation", "product", "number", "name", "colour", "material", "words", "nothing"]
CITED = re.compile(r"\s*\[([^\[\]\s]{1,64})\]")  # where a grounded answer begins; a bracket within is text
WORDS = 0.5  # share of the telling words that row or question must have
_UNITS = {
    "inch": "in inch inches", "foot": "ft foot feet", "centimetre": "cm centimeter centimeters centimetre centimetres",
    "millimetre": "mm millimeter millimeters millimetre millimetres", "metre": "m meter meters metre metres",
    "pound": "lb lbs pound pounds", "ounce": "oz ounce ounces", "gram": "g gram grams",
    "kilogram": "kg kilogram kilograms",
    "litre": "l liter liters litre litres", "millilitre": "ml milliliter milliliters millilitre millilitres",
    "gallon": "gal gallon gallons", "quart": "qt quart quarts", "watt": "w watt watts", "volt": "v volt volts",
    "page": "page pages", "year": "year years", "month": "month months", "day": "day days", "hour": "hour hours",
    "minute": "minute minutes", "piece": "piece pieces pcs", "percent": "percent", "gigabyte": "gb", "megabyte": "mb",
    "pack": "pack packs",
}  # fmt: skip
UNIT = {word: unit for unit, forms in _UNITS.items() for word in forms.split()}
_MEASURE = re.compile(rf"({NUMBER.pattern})(?:\s?(\"|\u201d|''|%)|[\s-]?([A-Za-z]+))?")
_SENTENCE = re.compile(r"(?:^|(?<=[.!?:;\n]))[\s\"'\u201c\u201d\u2018\u2019()\[\]*•-]*")
_CAPITAL = re.compile(r"\b[A-Z][\w'\u2019]*")
_SIGNS = {'"': "inch", "\u201d": "inch", "''": "inch", "%": "percent"}
_COUNTED = ("one two three four five six seven eight nine ten eleven twelve").split()


class Unsupported(Frozen):
    """One thing in an answer that does not hold."""

    rule: Rule
    said: str


def body(answer: str) -> tuple[str, str | None]:
    """The answer without its citation and without the constant source line of report B; and the uid it cites."""
    text = answer.replace(SOURCE.strip(), "").replace("***", " ").strip()
    cited = CITED.match(text)
    return " ".join(text[cited.end() if cited else 0 :].split()), cited[1] if cited else None


def abstains(answer: str) -> bool:
    """Whether the answer says that it has none."""
    return refused(answer) or ABSTAIN.lower().rstrip(".") in answer.lower()


def problems(answer: str, question: str, row: IndexedRow | None, cites: bool = False) -> tuple[Unsupported, ...]:
    """All that does not hold in `answer` to `question`, given the row that is the product asked about.

    `cites`: the answer has to name its row itself, and that must be this one. Without a row nothing can hold.
    """
    text, cited = body(answer)
    found: list[Unsupported] = []
    if row is None:
        return (Unsupported(rule="product", said="no row of the catalogue is it"),)
    if cites and cited is None:
        found.append(Unsupported(rule="citation", said="nothing is cited"))
    elif cited is not None and cited not in (row.uid, *row.also):
        found.append(Unsupported(rule="citation", said=cited))
    source = f"{row.title}\n{row.content}\n{question}"
    found += [*_numbers(text, source), *_names(text, source), *_listed(text, source), *_words(text, source)]
    return (*found, *_nothing(text, f"{row.title}\n{question}", row.content))


def measures(text: str) -> list[tuple[str, str | None]]:
    """Every number in a text with its unit, both in one spelling: `12"` and `12 inches` are ("12", "inch")."""
    found = []
    for number, sign, word in _MEASURE.findall(text):
        found.append((plain(number), _SIGNS.get(sign) or UNIT.get(word.lower())))
    spelt = {word: str(n) for n, word in enumerate(_COUNTED, 1)}
    return found + [(spelt[w], None) for w in words(text) if w in spelt]


def _numbers(text: str, source: str) -> list[Unsupported]:
    """A number must stand in the source; where both give it a unit, with one of the units it has there."""
    held: dict[str, set[str | None]] = {}
    for number, unit in measures(source):
        held.setdefault(number, set()).add(unit)
    found = []
    for number, unit in measures(text):
        units = held.get(number)
        if units is None or (unit is not None and unit not in units and None not in units):
            found.append(Unsupported(rule="number", said=f"{number} {unit or ''}".strip()))
    return found


def _names(text: str, source: str) -> list[Unsupported]:
    """A capitalised word must stand in the source. One that begins a sentence is a name only before another one."""
    held = set(words(source))
    starts = {found.end() for found in _SENTENCE.finditer(text)}
    found = []
    capitals = list(_CAPITAL.finditer(text))
    for place, word in enumerate(capitals):
        after = capitals[place + 1] if place + 1 < len(capitals) else None
        joined = after is not None and after.start() - word.end() <= 1 and word[0].lower() not in STOP
        if (word.start() in starts and not joined) or word[0].lower() in STOP:
            continue
        if any(part not in held for part in words(_bare(word[0]))):
            found.append(Unsupported(rule="name", said=word[0]))
    return found


def _bare(word: str) -> str:
    return re.sub(r"['\u2019]s$", "", word)


def _listed(text: str, source: str) -> list[Unsupported]:
    """A colour or a material must stand in the source, in any of its forms: `woolen` is `wool`."""
    said, held = set(words(text)), set(words(source))
    found = []
    for rule, name in (("colour", "colours"), ("material", "materials")):
        known = listed(name)
        for word in sorted(w for w in said if _stem(w, known)):
            stem = _stem(word, known)
            if word not in held and not any(_stem(other, known) == stem for other in held):
                found.append(Unsupported(rule=rule, said=word))  # type: ignore[arg-type]
    return found


def _stem(word: str, known: frozenset[str]) -> str | None:
    """The listed word that this is a form of, or None."""
    for ending in ("", "s", "es", "en", "y", "ed"):
        if word.endswith(ending) and (bare := word.removesuffix(ending) if ending else word) in known:
            return bare
    return None


def _words(text: str, source: str) -> list[Unsupported]:
    held = {w[:5] for w in words(source)}
    said = [w for w in words(text) if w not in STOP and len(w) > 3 and not w[0].isdigit()]
    share = sum(w[:5] in held for w in said) / len(said) if said else float(bool(measures(text)))
    return [] if share >= WORDS else [Unsupported(rule="words", said=f"{share:.0%} of its words")]


def _nothing(text: str, asked: str, content: str) -> list[Unsupported]:
    """An answer must say something of the description that question and title do not say already."""
    known, held = set(words(asked)), set(words(content))
    new = [w for w in words(text) if w not in STOP and w not in known and w in held]
    return [] if new or not held - known - STOP else [Unsupported(rule="nothing", said="only what was asked")]


def told(found: Sequence[Unsupported]) -> str:
    """All problems on one line."""
    return "; ".join(f"{p.rule}: {p.said}" for p in found)
