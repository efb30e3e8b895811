"""Compared: the marks of a trial as one table of arms and one verdict for every two of them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from statistics import fmean

from pydantic import Field

from tasks.answers.reply import Target
from tasks.core.models import Frozen
from tasks.evaluation.candidacy import Candidacy
from tasks.evaluation.forms import EVERY
from tasks.evaluation.trial import Mark
from tasks.evaluation.verdict import Verdict, verdict

GUARD = "false_shown"  # less is better
COUNTS = ("right_product", "to_the_point", "answered", "false_shown", "declined")  # of a mark, each yes or no
RATES = (*COUNTS, "chrf", "rouge_l", "tokens", "seconds", "usd")
WORDS = {  # for people
    "right_product": "right product",
    "to_the_point": "answered or quoted to the point",
    "answered": "answered in own checked words",
    "false_shown": "false claims shown",
    "declined": "declined",
    "chrf": "chrF",
    "rouge_l": "ROUGE-L",
}


class Arm(Frozen):
    """One arm. `groups` is {group: {rate: mean}}: see `rates`; `forms` the same by form of question, without absent
    products. Records of older versions have other rates and no forms.
    """

    name: str
    groups: dict[str, dict[str, float | None]]
    forms: dict[str, dict[str, float | None]] = Field(default_factory=dict)
    model_versions: tuple[str, ...] = ()


class Compared(Frozen):
    """The result of the flow `compare`. Verdicts are over seen and unseen questions, those of the guard over all."""

    key: str
    recipe: str
    catalogue: str
    measure: str
    targets: tuple[Target, ...]
    decodings: dict[str, dict[str, float]]
    questions: dict[str, int]
    arms: tuple[Arm, ...]
    verdicts: tuple[Verdict, ...]
    mlflow_run_id: str = ""
    report: str | None = None  # path or URI of the HTML report
    simulated: bool = False
    again: bool = False  # served from its record
    candidacy: Candidacy | None = None  # where the gate asked
    decisions: tuple[str, ...] = ()  # what the gate made of these models, and why

    def said(self, new: str, old: str, measure: str) -> Verdict:
        """The verdict of `new` over `old`; LookupError where there is none."""
        for found in self.verdicts:
            if (found.new, found.old, found.measure) == (new, old, measure):
                return found
        raise LookupError(f"no verdict of {new!r} over {old!r} by {measure!r}")


def arms(marks: Sequence[Mark]) -> tuple[Arm, ...]:
    """One row an arm, in the order in which they were asked."""
    found = []
    for name in dict.fromkeys(m.arm for m in marks):
        mine = [m for m in marks if m.arm == name]
        groups = {g: rates([m for m in mine if m.group == g]) for g in dict.fromkeys(m.group for m in mine)}
        there = [m for m in mine if m.group != "absent"]
        forms = {f: rates([m for m in there if m.form == f]) for f in EVERY if any(m.form == f for m in there)}
        versions = sorted({m.model_version for m in mine if m.model_version})
        found.append(Arm(name=name, groups=groups, forms=forms, model_versions=tuple(versions)))
    return tuple(found)


def rates(marks: Sequence[Mark]) -> dict[str, float | None]:
    """Means over the questions of one arm; None where a rate has no meaning. See `Mark` for what is counted.

    `tokens`, `seconds` and `usd` are for one answer.
    """
    found: dict[str, float | None] = {}
    for name in COUNTS:
        told = [getattr(m, name) for m in marks if getattr(m, name) is not None]
        found[name] = fmean(told) if told else None
    for name in ("chrf", "rouge_l"):
        likeness = [getattr(m, name) for m in marks if getattr(m, name) is not None]
        found[name] = fmean(likeness) if likeness else None
    prices = [m.usd for m in marks]
    found |= {"tokens": fmean(m.tokens for m in marks), "seconds": fmean(m.seconds for m in marks)}
    return found | {"usd": None if None in prices else fmean(p or 0.0 for p in prices)}


def verdicts(marks: Sequence[Mark], measure: str, seed: int) -> tuple[Verdict, ...]:
    """For every two arms, both ways round: the measure on products that are there, and the guard on all questions."""
    names = list(dict.fromkeys(m.arm for m in marks))
    found = []
    for first, second in combinations(names, 2):
        for new, old in ((second, first), (first, second)):
            for judged in (measure, GUARD):
                if common := pairs(marks, new, old, judged):  # a model by itself is not asked everything
                    found.append(verdict(new, old, judged, common, seed))
    return tuple(found)


def pairs(marks: Sequence[Mark], new: str, old: str, measure: str) -> list[tuple[float, float]]:
    """Both arms' scores of each question, more being better."""
    scores: dict[str, dict[tuple[str, str], float]] = {new: {}, old: {}}
    for m in marks:
        if m.arm in scores and (measure == GUARD or m.group != "absent"):
            value = float(getattr(m, measure) or 0.0)
            scores[m.arm][m.group, m.uid] = -value if measure == GUARD else value
    return [(value, scores[old][at]) for at, value in scores[new].items() if at in scores[old]]
