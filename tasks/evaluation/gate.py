"""Gate: whether a new model may become champion. Only evidence decides, and the reason is always told."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tasks.answers.reply import Target
from tasks.core.models import Parity, Promotion
from tasks.evaluation.candidacy import NOBODY, Candidacy
from tasks.evaluation.comparison import GUARD, Compared, pairs
from tasks.evaluation.evalues import GAIN, clear, hopeless
from tasks.evaluation.forgetting import ForgettingMatrix
from tasks.evaluation.report import told
from tasks.evaluation.trial import Mark, Way, name_of
from tasks.evaluation.verdict import SCALES, Verdict, scaled
from tasks.examples.styles import STYLES


def decide(
    compared: Compared,
    candidate: str,
    others: Sequence[str],
    version: str,
    forgetting: ForgettingMatrix | None = None,
    parity: Parity | None = None,
) -> Promotion:
    """Champion where the evidence that `candidate` is better than each of `others` is enough, and no guard says worse.

    How much is enough depends on how many were tried before; see `Candidacy`. Each model is judged in its own way of
    answering: with rows where it was tuned to, by itself where not. A base is judged in the candidate's way. A model
    that answers otherwise than the one in training did never becomes it.
    """
    targets = {t.name: t for t in compared.targets}
    mine = name_of(targets[candidate], way(targets[candidate], targets[candidate]))
    place = compared.candidacy or Candidacy(champion=NOBODY, champions=0, number=1)
    against, lacking, evidence = list[str](), list[str](), list[float]()
    for other in others:
        theirs = name_of(targets[other], way(targets[other], targets[candidate]))
        better, guarded = compared.said(mine, theirs, compared.measure), compared.said(mine, theirs, GUARD)
        evidence.append(better.evidence or 0.0)
        against.append(f"{told(better, wanting=False)}, {weighed(better, place)}")
        if not enough(better, place):
            lacking.append(against[-1])
        if guarded.word == "worse":
            lacking.append(f"more false claims shown than by {other}: {told(guarded)}")
    if forgetting and forgetting.forgotten:
        lacking.append(forgetting.told)
    if parity and not parity.holds:
        lacking.append(parity.summary)
    return Promotion(
        version=version,
        alias="challenger" if lacking else "champion",
        reason="; ".join(lacking or against),
        comparison=compared.mlflow_run_id,
        evidence=min(evidence),
        needed=place.needed,
    )


def way(target: Target, candidate: Target) -> Way:
    """In which way the gate asks a model that is compared with `candidate`."""
    style = (candidate if target.model is None else target).style
    return "with rows" if STYLES[style].grounded else "alone"


def enough(found: Verdict, place: Candidacy) -> bool:
    """Whether the evidence for better is what this candidacy asks for."""
    return (found.evidence or 0.0) >= place.needed


def done(marks: Sequence[Mark], measure: str, mine: str, others: Sequence[str], place: Candidacy) -> bool:
    """Whether no more questions need be asked: the evidence is enough already, or a real gain is left out."""
    found = [scaled(pairs(marks, mine, other, measure), measure) for other in others]
    return all(clear(gaps, place.needed) for gaps in found) or any(hopeless(gaps) for gaps in found)


def weighed(found: Verdict, place: Candidacy) -> str:
    """The evidence beside what is needed and why, and what would be enough, in words."""
    held = found.evidence or 0.0
    tried = f"candidate {place.number} against {place.champion}"
    if enough(found, place):
        return f"evidence {_odds(held)}, {_odds(place.needed)} needed of {tried}"
    more = "more such questions would not help"
    if found.high / SCALES.get(found.measure, 1.0) < GAIN:
        more = f"a gain of {100 * GAIN:.0f} points, which the gate looks for, is left out"
    elif held > 1:
        wanted = math.ceil(found.questions * math.log(place.needed) / math.log(held)) - found.questions
        more = f"about {wanted:,} more questions would be enough if it goes on like this"
    return f"not enough evidence: {_odds(held)}, and {_odds(place.needed)} is needed of {tried}; {more}"


def _odds(value: float) -> str:
    return f"{value:,.0f} to 1" if 1 <= value < 1e9 else f"{value:.1g} to 1"
