"""Compared: the marks of a trial as one table of arms and one verdict for every two of them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from statistics import fmean

from tasks.answers.reply import Target
from tasks.core.models import Frozen
from tasks.evaluation.candidacy import Candidacy
from tasks.evaluation.trial import Mark
from tasks.evaluation.verdict import Verdict, verdict

GUARD = "unsupported"  # share of answers that claim what does not hold; less is better
RATES = ("supported", "precision", "abstained", "unsupported", "chrf", "rouge_l", "tokens", "seconds", "usd")


class Arm(Frozen):
    """One arm. `groups` is {group: {rate: mean}}: see `rates`."""

    name: str
    groups: dict[str, dict[str, float | None]]
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
        versions = sorted({m.model_version for m in mine if m.model_version})
        found.append(Arm(name=name, groups=groups, model_versions=tuple(versions)))
    return tuple(found)


def rates(marks: Sequence[Mark]) -> dict[str, float | None]:
    """Means over the questions of one arm and group; None where a rate has no meaning.

    `supported`: answers whose every claim is in the row asked about. `precision`: of the answers shown with a source,
    those whose source is that product. `abstained`: no answer, right only where the product is absent. `unsupported`:
    answers that claim something else. `tokens`, `seconds` and `usd` are for one answer.
    """
    shown = [m.right for m in marks if m.shown]
    prices = [m.usd for m in marks]
    likeness = [m for m in marks if m.chrf is not None]
    return {
        "supported": fmean(m.supported for m in marks),
        "precision": fmean(shown) if shown else None,
        "abstained": fmean(m.abstained for m in marks),
        "unsupported": fmean(_unsupported(m) for m in marks),
        "chrf": fmean(m.chrf or 0.0 for m in likeness) if likeness else None,
        "rouge_l": fmean(m.rouge_l or 0.0 for m in likeness) if likeness else None,
        "tokens": fmean(m.tokens for m in marks),
        "seconds": fmean(m.seconds for m in marks),
        "usd": None if None in prices else fmean(p or 0.0 for p in prices),
    }


def _unsupported(mark: Mark) -> float:
    return float(not mark.abstained and not mark.supported)


def verdicts(marks: Sequence[Mark], measure: str, seed: int) -> tuple[Verdict, ...]:
    """For every two arms, both ways round: the measure on products that are there, and the guard on all questions."""
    names = list(dict.fromkeys(m.arm for m in marks))
    found = []
    for first, second in combinations(names, 2):
        for new, old in ((second, first), (first, second)):
            found.append(verdict(new, old, measure, pairs(marks, new, old, measure), seed))
            found.append(verdict(new, old, GUARD, pairs(marks, new, old, GUARD), seed))
    return tuple(found)


def pairs(marks: Sequence[Mark], new: str, old: str, measure: str) -> list[tuple[float, float]]:
    """Both arms' scores of each question, more being better."""
    scores: dict[str, dict[tuple[str, str], float]] = {new: {}, old: {}}
    for m in marks:
        if m.arm in scores and (measure == GUARD or m.group != "absent"):
            value = -_unsupported(m) if measure == GUARD else float(getattr(m, measure) or 0.0)
            scores[m.arm][m.group, m.uid] = value
    return [(value, scores[old][at]) for at, value in scores[new].items() if at in scores[old]]
