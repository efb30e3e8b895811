"""Gate: whether a new model may become champion. Only a verdict decides, and the reason is always told."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.answers.reply import Target
from tasks.core.models import Parity, Promotion
from tasks.evaluation.comparison import GUARD, Compared
from tasks.evaluation.forgetting import ForgettingMatrix
from tasks.evaluation.report import told
from tasks.evaluation.trial import name_of
from tasks.examples.styles import STYLES


def decide(
    compared: Compared,
    candidate: str,
    others: Sequence[str],
    version: str,
    forgetting: ForgettingMatrix | None = None,
    parity: Parity | None = None,
) -> Promotion:
    """Champion where `candidate` is better than each of `others` by the measure, and worse by no guard.

    Each model is judged in its own way of answering: with rows where it was tuned to, by itself where not. A base is
    judged in the candidate's way. A model that answers otherwise than the one in training did never becomes it.
    """
    targets = {t.name: t for t in compared.targets}
    mine = _arm(targets[candidate], targets[candidate])
    against, lacking = [], []
    for other in others:
        theirs = _arm(targets[other], targets[candidate])
        better, guarded = compared.said(mine, theirs, compared.measure), compared.said(mine, theirs, GUARD)
        against.append(told(better))
        if better.word != "better":
            lacking.append(told(better))
        if guarded.word == "worse":
            lacking.append(f"more unsupported answers than {other}: {told(guarded)}")
    if forgetting and forgetting.forgotten:
        lacking.append(forgetting.told)
    if parity and not parity.holds:
        lacking.append(parity.told)
    return Promotion(
        version=version,
        alias="challenger" if lacking else "champion",
        reason="; ".join(lacking or against),
        comparison=compared.mlflow_run_id,
    )


def _arm(target: Target, candidate: Target) -> str:
    style = (candidate if target.model is None else target).style
    return name_of(target, "retrieval" if STYLES[style].grounded else "alone")
