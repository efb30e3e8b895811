"""Forgetting: what each link of a chain still knows of the shards that the links before it were tuned on.

A link is compared with its parent, and with the first link that was asked about the shard, question by question. Where
two links are equal, each could have given either answer, so a question's loss is as often above zero as below it by
the same amount. Then the sum of the losses over the root of the sum of their squares is beyond x with at most 3.18
times the chance of a normal one, whatever the losses look like. (V. Bentkus and D. Dzindzalieta, "A tight Gaussian
bound for weighted sums of Rademacher random variables", Bernoulli 21(2), 2015.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np

from tasks.backends.contract import Answer
from tasks.core.models import Frozen
from tasks.evaluation.evalues import share
from tasks.evaluation.metrics import score
from tasks.examples.questions import Question

STOPPED = 0.01  # the chance that a chain of equal links, however long, is ever stopped
RADEMACHER = 3.18


class Loss(NamedTuple):
    """Mean chrF points that the last link lost on a shard since another link, with an interval.

    All intervals of a chain together leave out a true loss of zero with the chance `STOPPED`.
    """

    shard: int
    since: int  # the place of the other link in the chain
    mean: float
    low: float
    high: float
    questions: int


class ForgettingMatrix(Frozen):
    """`scores[i][j]`: mean chrF of link i's answers to holdout questions of the j-th shard of the chain, j <= i. A
    row is empty where nobody asked.

    `answers[i][j]` holds the chrF of each answer, and `ways[i]` tells in which way link i was asked: only answers of
    one way are compared. Both are missing of rows that older versions measured. `kept` are the links that the chain
    went on from. A forgotten shard is one on which the last link lost more than `bound` points, and surely some.
    """

    shards: tuple[int, ...]
    keys: tuple[str, ...]
    scores: tuple[tuple[float, ...], ...]
    kept: tuple[bool, ...]
    bound: float
    answers: tuple[tuple[tuple[float, ...], ...], ...] = ()
    ways: tuple[str, ...] = ()

    @property
    def losses(self) -> tuple[Loss, ...]:
        """What the last link lost on each earlier shard, since its parent and since the first link asked about it."""
        last, found = len(self.scores) - 1, []
        for place in range(last if self.measured(last) else 0):
            held = [row for row in range(place, last) if self.kept[row] and self._like_last(row)]
            for since in sorted({held[0], held[-1]} if held else ()):
                pairs = zip(self.answers[since][place], self.answers[last][place], strict=False)
                losses = np.array([then - now for then, now in pairs])
                mean, reach = map(float, interval(losses, level(last)))
                found.append(Loss(self.shards[place], since, mean, mean - reach, mean + reach, len(losses)))
        return tuple(found)

    def measured(self, row: int) -> bool:
        """Whether it is known how the link of this row answered each question."""
        return row < len(self.answers) and bool(self.answers[row])

    def _like_last(self, row: int) -> bool:
        return self.measured(row) and self.ways[row] == self.ways[len(self.scores) - 1]

    @property
    def drops(self) -> dict[int, float]:
        """How many points the last link lost on each earlier shard, at most; below 0 where it gained."""
        found: dict[int, float] = {}
        for loss in self.losses:
            found[loss.shard] = max(found.get(loss.shard, -math.inf), round(loss.mean, 4))
        return found

    @property
    def forgotten(self) -> dict[int, Loss]:
        """The shards of which the last link forgot more than the bound allows."""
        return {loss.shard: loss for loss in self.losses if forgets(loss.mean, loss.low, self.bound)}

    @property
    def told(self) -> str:
        """What was forgotten, as a sentence."""
        lost = ", ".join(self._told(loss) for loss in self.forgotten.values())
        return f"the link on shard {self.shards[len(self.scores) - 1]} forgets {lost} (bound {self.bound:g})"

    def _told(self, loss: Loss) -> str:
        since = f"since the link on shard {self.shards[loss.since]}, {loss.questions} questions"
        return f"shard {loss.shard} by {loss.mean:.1f} chrF points [{loss.low:.1f}, {loss.high:.1f}] {since}"

    def row(self, number: int) -> ForgettingMatrix:
        """The matrix as it was when the link of this row was measured."""
        return self.model_copy(
            update={name: getattr(self, name)[: number + 1] for name in ("scores", "answers", "ways")}
        )


def level(links: int) -> float:
    """The chance of a false alarm in one of the comparisons of a link with so many links before it: two a shard."""
    return STOPPED * share(links) / (2 * links)


def forgets(mean: Any, low: Any, bound: float) -> Any:
    """Whether a loss counts: it is more than the bound, and its interval is above zero. Numbers or arrays of them."""
    return (mean > bound) & (low > 0)


def interval(losses: np.ndarray, chance: float) -> tuple[np.ndarray, np.ndarray]:
    """The means over the last axis of `losses`, and how far their intervals reach to both sides.

    Of equal links the interval is above zero with at most this `chance`.
    """
    many, beyond = losses.shape[-1], NormalDist().inv_cdf(1 - chance / RADEMACHER)
    if many <= beyond**2:
        return losses.mean(axis=-1), np.full(losses.shape[:-1], np.inf)
    return losses.mean(axis=-1), beyond * losses.std(axis=-1) / math.sqrt(many - beyond**2)


def chrf(questions: Sequence[Question], answers: Sequence[Answer]) -> tuple[float, ...]:
    """chrF of each answer beside the original content; 0 to 100."""
    asked = zip(questions, answers, strict=True)
    return tuple(round(score(a.text, q.content, q.messages[-1].content).chrf, 2) for q, a in asked)


def heat_map(forgetting: ForgettingMatrix) -> Any:
    """A matplotlib figure: links down, shards across, chrF as colour and number; what was forgotten is framed."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    many = len(forgetting.scores)
    figure = Figure(figsize=(max(5.5, 2.6 + 0.9 * many), 2.2 + 0.6 * many), layout="constrained")
    place = figure.subplots()
    filled = [[*row, *[float("nan")] * (many - len(row))] for row in forgetting.scores]
    drawn = place.imshow(filled, cmap="YlGnBu", aspect="auto", vmin=0)
    middle = max((value for row in forgetting.scores for value in row), default=0.0) / 2
    for down, row in enumerate(forgetting.scores):
        for across, value in enumerate(row):
            colour = "white" if value > middle else "black"
            place.text(across, down, f"{value:.1f}", ha="center", va="center", color=colour)
        part = forgetting.row(down)
        for across, shard in enumerate(forgetting.shards[:down]):
            if shard in part.forgotten:
                place.add_patch(Rectangle((across - 0.48, down - 0.47), 0.96, 0.94, fill=False, ec="#b5483a", lw=3))
    kept = zip(forgetting.shards, forgetting.kept, strict=False)
    place.set_xticks(range(many), [str(s) for s in forgetting.shards[:many]])
    place.set_yticks(range(many), [f"{s}{'' if went_on else ', not kept'}" for s, went_on in kept])
    framed = f"framed: surely forgotten, more than {forgetting.bound:g} points" if place.patches else ""
    place.set_title(f"What each link knows of the shards before\n{framed}".strip(), fontsize="medium")
    place.set(xlabel="holdout of shard", ylabel="after the link on shard")
    figure.colorbar(drawn, label="chrF")
    return figure
