"""Prefect policy for chains: what each link still knows of the shards before it, and what the chain goes on from."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import NamedTuple

from prefect.artifacts import create_markdown_artifact

from tasks import evaluate
from tasks.backends.contract import Link
from tasks.core.errors import TrainingError
from tasks.core.models import Finetuned, Prepared
from tasks.evaluation import forgetting
from tasks.evaluation.exams import Exam
from tasks.evaluation.forgetting import ForgettingMatrix
from tasks.recipe.model import Recipe
from tasks.record import evidence

log = logging.getLogger(__name__)
Ended = tuple[Link, Finetuned]


class ChainState(NamedTuple):
    """A chain so far: every link with its key, in order; what it forgot, what it goes on from, dollars spent on it."""

    links: tuple[tuple[str, Link], ...] = ()
    known: ForgettingMatrix | None = None
    parent: Finetuned | None = None
    spent: float = 0.0


def after(
    recipe: Recipe,
    prepared: Prepared,
    chain: Sequence[tuple[str, Link]],
    last: Finetuned,
    before: ForgettingMatrix | None,
    begun: bool = False,
) -> ForgettingMatrix | None:
    """The matrix with a row for `last`, the last of `chain`, recorded in its run; None where there is none.

    A single link has one where it begins a chain: by the recipe, or as `begun` says.
    """
    if recipe.forgetting is None or not (recipe.chain or begun or len(chain) > 1):
        return None
    if len(before.scores if before else ()) < len(chain) - 1:
        log.warning("what this chain forgets cannot be told: earlier links of it were never measured")
        return None
    row = [_score(recipe, prepared, (chain[-1][1], last), link) for _, link in chain]
    made = ForgettingMatrix(
        shards=tuple(link.train[0].shard for _, link in chain),
        keys=tuple(key for key, _ in chain),
        scores=(*(before.scores if before else ()), tuple(row)),
        kept=(*(before.kept if before else ()), True),
        bound=recipe.forgetting.bound,
    )
    return judged(made, recipe.forgetting.bound, last)


def judged(made: ForgettingMatrix, bound: float, last: Finetuned) -> ForgettingMatrix:
    """The matrix by this bound: whether the last link is kept. Recorded in its run."""
    made = made.model_copy(update={"bound": bound})
    made = made.model_copy(update={"kept": (*made.kept[:-1], not made.forgotten)})
    if made.forgotten:
        log.warning("%s", made.told)
    evidence.forgetting(last.mlflow_run_id, made)
    _show(made)
    return made


def goes_on(
    recipe: Recipe, known: ForgettingMatrix | None, last: Finetuned, parent: Finetuned | None
) -> Finetuned | None:
    """What the next link starts from: the last one, or where that forgot too much, the one before.

    Raises TrainingError where the recipe says that the chain stops then.
    """
    if known is None or not known.forgotten or recipe.forgetting is None:
        return last
    if recipe.forgetting.then == "stop":
        raise TrainingError(
            f"chain {recipe.name!r} stopped: {known.told}; see forgetting.png in MLflow run {last.mlflow_run_id}; "
            "raise forgetting.bound, or set forgetting.then=branch to go on from the link before"
        )
    return parent


def _score(recipe: Recipe, prepared: Prepared, asked: Ended, taught: Link) -> float:
    """How the asked link's model answers questions on the holdout of the shard that `taught` was tuned on."""
    assert recipe.forgetting is not None
    link, result = asked
    exam = evaluate.draw_exam((), taught.holdout, prepared.shards, 0, recipe.forgetting.questions, recipe.seed)
    _, likeliest = evaluate.decodings(recipe.evaluate, recipe.seed)
    only = Exam(seen=(), unseen=exam.unseen)
    (answers,) = evaluate.ask(link.endpoint, result.model, result.model_digest, link.tune, only, (likeliest,))
    return forgetting.mean(only.all, answers)


def _show(made: ForgettingMatrix) -> None:
    """The matrix, in the Prefect UI."""
    lines = [f"| after the link on | {' | '.join(f'shard {s}' for s in made.shards)} |"]
    lines.append("|---|" + "---:|" * len(made.shards))
    for shard, row in zip(made.shards, made.scores, strict=True):
        lines.append(f"| shard {shard} | {' | '.join(f'{value:.1f}' for value in row)} |")
    if made.forgotten:
        lines += ["", f"**{made.told}**"]
    create_markdown_artifact("\n".join(lines), key="forgetting", description="chrF on the holdouts of earlier shards")
