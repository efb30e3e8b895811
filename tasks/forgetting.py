"""Prefect policy for chains: what each link still knows of the shards before it, and what the chain goes on from."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from statistics import fmean
from typing import NamedTuple

from prefect.artifacts import create_markdown_artifact

from tasks import evaluate
from tasks.backends.contract import Link
from tasks.core import store
from tasks.core.errors import TrainingError
from tasks.core.models import Finetuned, Prepared
from tasks.evaluation import forgetting
from tasks.evaluation.exams import Exam
from tasks.evaluation.forgetting import ForgettingMatrix
from tasks.recipe.model import Recipe
from tasks.record import evidence, ledger

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
    shards, keys = tuple(link.train[0].shard for _, link in chain), tuple(key for key, _ in chain)
    known = before or ForgettingMatrix(shards=shards, keys=keys, scores=(), kept=(), bound=recipe.forgetting.bound)
    known = _parent_measured(recipe, prepared, chain, known).model_copy(update={"shards": shards, "keys": keys})
    made = _measured(recipe, prepared, chain, last, len(chain) - 1, known)
    made = made.model_copy(update={"kept": (*known.kept, True)})
    return judged(made, recipe.forgetting.bound, last)


def _parent_measured(
    recipe: Recipe, prepared: Prepared, chain: Sequence[tuple[str, Link]], known: ForgettingMatrix
) -> ForgettingMatrix:
    """The matrix with the parent's answers as they are asked for now; an older version kept only their mean."""
    kept = [row for row, went_on in enumerate(known.kept) if went_on]
    if not kept or (known.measured(kept[-1]) and known.ways[kept[-1]] == _way(recipe)):
        return known
    parent = ledger.finished(chain[kept[-1]][0])
    return known if parent is None else _measured(recipe, prepared, chain, parent, kept[-1], known)


def _measured(
    recipe: Recipe,
    prepared: Prepared,
    chain: Sequence[tuple[str, Link]],
    result: Finetuned,
    place: int,
    known: ForgettingMatrix,
) -> ForgettingMatrix:
    """The matrix with what the link at this place of the chain answers on its own shard and on those before it."""
    answers = tuple(_score(recipe, prepared, (chain[place][1], result), link) for _, link in chain[: place + 1])
    means = tuple(round(fmean(told), 3) for told in answers)
    held = (*known.answers, *[()] * (len(known.scores) - len(known.answers)))
    ways = (*known.ways, *[""] * (len(known.scores) - len(known.ways)))
    return known.model_copy(
        update={
            "scores": (*known.scores[:place], means, *known.scores[place + 1 :]),
            "answers": (*held[:place], answers, *held[place + 1 :]),
            "ways": (*ways[:place], _way(recipe), *ways[place + 1 :]),
        }
    )


def _way(recipe: Recipe) -> str:
    """What tells answers that can be compared from others: how they were drawn."""
    _, likeliest = evaluate.decodings(recipe.evaluate, 0)
    return store.digest_of(likeliest.model_dump(mode="json"))


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


def _score(recipe: Recipe, prepared: Prepared, asked: Ended, taught: Link) -> tuple[float, ...]:
    """chrF of the asked link's answers to questions on the holdout of the shard that `taught` was tuned on.

    The questions of a shard are always the same ones, and more of them only add to those.
    """
    assert recipe.forgetting is not None
    link, result = asked
    exam = evaluate.draw_exam((), taught.holdout, prepared.shards, 0, recipe.forgetting.questions, taught.seed)
    _, likeliest = evaluate.decodings(recipe.evaluate, recipe.seed)
    only = Exam(seen=(), unseen=exam.unseen)
    (answers,) = evaluate.ask(link.endpoint, result.model, result.model_digest, link.tune, only, (likeliest,))
    return forgetting.chrf(only.all, answers)


def _show(made: ForgettingMatrix) -> None:
    """The matrix, in the Prefect UI."""
    lines = [f"| after the link on | {' | '.join(f'shard {s}' for s in made.shards)} |"]
    lines.append("|---|" + "---:|" * len(made.shards))
    for shard, row in zip(made.shards, made.scores, strict=True):
        lines.append(f"| shard {shard} | {' | '.join(f'{value:.1f}' for value in row)} |")
    if made.forgotten:
        lines += ["", f"**{made.told}**"]
    create_markdown_artifact("\n".join(lines), key="forgetting", description="chrF on the holdouts of earlier shards")
