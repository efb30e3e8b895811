"""Planted answers: true ones in the words and in other words of their row, and false ones with one thing altered.

`python -m tests.benchmarks.planted CATALOGUE [COUNT]` prints how many false ones the check accepts and how many
true ones it rejects, and on which it was wrong.
"""

from __future__ import annotations

import random
import re
import sys
from collections.abc import Sequence
from typing import NamedTuple

from tasks.answers import sources
from tasks.answers.index import IndexedRow
from tasks.answers.words import STOP, listed, words
from tasks.examples.grounding import clip

NAMES = "Abernathy Quillfeather Montclair Osterberg Vanterpool Hawksworth Pemberley Zambrano".split()
SPELT = (("inches", '"'), ("inch", "in"), ("pounds", "lbs"), ("feet", "ft"), ("ounces", "oz"), ("grams", "g"))


class Planted(NamedTuple):
    """An answer to a question about `row`; `altered` says what is wrong with it, None where nothing is."""

    question: str
    row: IndexedRow
    answer: str
    altered: str | None


def planted(rows: Sequence[IndexedRow], count: int, seed: int = 1) -> list[Planted]:
    """`count` answers, half of them true; of the false ones as many of each kind as the rows allow."""
    chance = random.Random(seed)
    chosen = [row for row in chance.sample(list(rows), len(rows)) if len(words(row.content)) >= 12]
    true = [_planted(row, _true(row, n), None) for n, row in enumerate(chosen[: count // 2])]
    false: list[Planted] = []
    kinds = (number, name, material, other_row)
    for n, row in enumerate(chosen[count // 2 :] + chosen[: count // 2]):
        if len(false) == count - len(true):
            break
        for kind in (*kinds[n % 4 :], *kinds[: n % 4]):
            made = kind(row, chosen, chance)
            if made is not None:
                false.append(_planted(row, made, kind.__name__))
                break
    return [*true, *false]


def _planted(row: IndexedRow, answer: str, altered: str | None) -> Planted:
    return Planted(f"What is the {row.title} product?", row, answer, altered)


def _said(row: IndexedRow) -> str:
    return clip(row.content, 240)


def _true(row: IndexedRow, number: int) -> str:
    """The row in its own words, with units spelt otherwise, with its sentences turned round, or within a sentence."""
    said = _said(row)
    if number % 4 == 1:
        for long, short in SPELT:
            said = re.sub(rf"(\d) ?{long}\b", rf"\1 {short}", said)
        return f"[{row.uid}] {said}"
    if number % 4 == 2:
        turned = " ".join(reversed(re.split(r"(?<=[.!?])\s+", said)))
        return f"[{row.uid}] {turned}"
    if number % 4 == 3:
        return f"The {row.title} is described like this: {said}"
    return f"[{row.uid}] {said}"


def number(row: IndexedRow, rows: Sequence[IndexedRow], chance: random.Random) -> str | None:
    """One number is another one, which the row does not have."""
    said = _said(row)
    found = list(re.finditer(r"\d+", said))
    if not found:
        return None
    place = chance.choice(found)
    wrong = next(
        n for n in (chance.randrange(1, 2_000) for _ in range(100)) if str(n) not in f"{row.title} {row.content}"
    )
    return f"[{row.uid}] {said[: place.start()]}{wrong}{said[place.end() :]}"


def name(row: IndexedRow, rows: Sequence[IndexedRow], chance: random.Random) -> str | None:
    """One capitalised word within a sentence is another name."""
    said = _said(row)
    found = [f for f in re.finditer(r"(?<=[a-z,] )[A-Z][a-z]{3,}", said) if f.group().lower() not in STOP]
    if not found:
        return None
    place = chance.choice(found)
    return f"[{row.uid}] {said[: place.start()]}{chance.choice(NAMES)}{said[place.end() :]}"


def material(row: IndexedRow, rows: Sequence[IndexedRow], chance: random.Random) -> str | None:
    """One word for a material or a colour is another one, which the row does not have."""
    said = _said(row)
    for known in (listed("materials"), listed("colours")):
        found = [f for f in re.finditer(r"[A-Za-z]+", said) if f.group().lower() in known]
        if found:
            place, held = chance.choice(found), set(words(f"{row.title} {row.content}"))
            wrong = chance.choice(sorted(known - held))
            return f"[{row.uid}] {said[: place.start()]}{wrong}{said[place.end() :]}"
    return None


def other_row(row: IndexedRow, rows: Sequence[IndexedRow], chance: random.Random) -> str | None:
    """What another row says, under the uid of that row or of this one."""
    other = chance.choice([r for r in rows if r.title != row.title and r.content != row.content])
    return f"[{chance.choice([other.uid, row.uid])}] {_said(other)}"


def rates(answers: Sequence[Planted]) -> tuple[float, float, list[Planted]]:
    """Share of false ones accepted, of true ones rejected, and all on which the check was wrong."""
    wrong = [p for p in answers if (not sources.problems(p.answer, p.question, p.row)) != (p.altered is None)]
    false, true = ([p for p in answers if (p.altered is None) == kind] for kind in (False, True))
    return (
        sum(p.altered is not None for p in wrong) / len(false),
        sum(p.altered is None for p in wrong) / len(true),
        wrong,
    )


def main(catalogue: str, count: int = 200) -> None:
    """Print both rates, and what went wrong."""
    from tests.benchmarks.retrieval import rows_of

    _, found = rows_of(catalogue)
    rows = [IndexedRow(line=n, shard=0, digest="", **row) for n, row in enumerate(found, 1)]
    answers = planted(rows, count)
    accepted, rejected, wrong = rates(answers)
    print(
        f"{len(answers)} planted: {accepted:.1%} of the false ones accepted, {rejected:.1%} of the true ones rejected"
    )
    for p in wrong:
        told = sources.told(sources.problems(p.answer, p.question, p.row))
        print(f"  {p.altered or 'true'}: {p.answer[:160]!r} {told}")


if __name__ == "__main__":
    from tasks.core import settings

    settings.enter()
    main(sys.argv[1], *map(int, sys.argv[2:]))
