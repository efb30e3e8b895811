"""Verify: answers of any model, from anywhere, checked against the rows of a catalogue.

`verify([Case(question=…, answer=…)], index)` in Python; `shardtune verify FILE --catalogue URI` at the command line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from pydantic import ValidationError

from tasks.answers import claims, sources
from tasks.answers.claims import Claim
from tasks.answers.finding import find
from tasks.answers.index import Index, IndexedRow
from tasks.answers.reply import State
from tasks.core import limits
from tasks.core.errors import AnswerError
from tasks.core.models import Frozen


class Case(Frozen):
    """An answer to check. Without a `uid` the row is the one that the answer cites, or that the question is about."""

    question: str
    answer: str
    uid: str | None = None


class Verified(Frozen):
    """What became of one answer. `holds`: all its claims are verbatim or consistent with the row `uid`.

    `state` is what a person would be shown: `answered` where it holds, `quoted` where it does not, `which` where the
    question may mean several products, `none` where it has no row or the answer says that it has none.
    """

    holds: bool
    state: State
    uid: str | None
    claims: tuple[Claim, ...]


def cases(lines: Iterable[str], name: str) -> Iterator[Case]:
    """The cases of JSON lines, in order; blank lines are none. AnswerError names a line that is none."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            told: Any = limits.json_value(line)
            yield Case.model_validate({key: told[key] for key in ("question", "answer", "uid") if key in told})
        except (ValueError, TypeError, ValidationError) as error:
            raise AnswerError(
                f"answers {name!r} line {number}: no JSON object with the texts 'question' and 'answer'; {line[:80]!r}"
            ) from error


def verify(told: Sequence[Case], index: Index) -> list[Verified]:
    """Each answer checked against its row, in the same order. AnswerError where a named row is not there."""
    return [_verified(case, index) for case in told]


def _verified(case: Case, index: Index) -> Verified:
    state, rows = _rows(case, index)
    if not rows or sources.abstains(case.answer):
        return Verified(holds=False, state=state if not rows else "none", uid=None, claims=())
    cited = sources.body(case.answer)[1]
    other = cited is not None and index.by_uid(cited) is not None and all(cited not in (r.uid, *r.also) for r in rows)
    looked = [(claims.check(case.question, case.answer, row.title, row.content), row) for row in rows]
    best, row = min(looked, key=lambda found: (not found[0].holds, len(sources.unsupported(found[0]))))
    holds = best.holds and not other  # what cites another row of the catalogue is not about this one
    return Verified(holds=holds, state="answered" if holds else "quoted", uid=row.uid, claims=best.claims)


def _rows(case: Case, index: Index) -> tuple[State, list[IndexedRow]]:
    """The rows that an answer is held to, several where they have one title; and the state where there is none."""
    if case.uid is not None:
        row = index.by_uid(case.uid)
        if row is None:
            raise AnswerError(f"uid {case.uid!r} is no row of the catalogue: name another, or leave 'uid' out")
        return "quoted", [row]
    found = find(case.question, index)
    if found.state == "one":
        return "quoted", list(found.products[0].rows)
    cited = sources.body(case.answer)[1]
    row = index.by_uid(cited) if cited else None
    if row is not None:
        return "quoted", [row]
    return ("which" if found.state in ("several", "each") else "none"), []
