"""Forgetting: what each link of a chain still knows of the shards that the links before it were tuned on."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from tasks.backends.contract import Answer
from tasks.core.models import Frozen
from tasks.evaluation.metrics import score
from tasks.examples.questions import Question


class ForgettingMatrix(Frozen):
    """`scores[i][j]`: mean chrF of link i's answers to holdout questions of the j-th shard of the chain, j <= i. A
    row is empty where nobody asked.

    `kept` are the links that the chain went on from; a forgotten shard is one on which the last link scores more than
    `bound` points below the best of the kept ones before it.
    """

    shards: tuple[int, ...]
    keys: tuple[str, ...]
    scores: tuple[tuple[float, ...], ...]
    kept: tuple[bool, ...]
    bound: float

    @property
    def drops(self) -> dict[int, float]:
        """How many points the last link lost on each earlier shard; below 0 where it gained."""
        *before, last = self.scores
        found = {}
        for place, shard in enumerate(self.shards[: max(0, len(last) - 1)]):
            best = [row[place] for row, kept in zip(before, self.kept, strict=False) if kept and place < len(row)]
            if best:
                found[shard] = round(max(best) - last[place], 4)
        return found

    @property
    def forgotten(self) -> dict[int, float]:
        """The shards of which the last link forgot more than the bound allows."""
        return {shard: drop for shard, drop in self.drops.items() if drop > self.bound}

    @property
    def told(self) -> str:
        """What was forgotten, as a sentence."""
        lost = ", ".join(f"shard {shard} by {drop:.1f}" for shard, drop in self.forgotten.items())
        return (
            f"the link on shard {self.shards[len(self.scores) - 1]} forgets {lost} chrF points (bound {self.bound:g})"
        )


def mean(questions: Sequence[Question], answers: Sequence[Answer]) -> float:
    """Mean chrF of answers beside the original content; 0 to 100."""
    asked = zip(questions, answers, strict=True)
    return round(fmean(score(a.text, q.content, q.messages[-1].content).chrf for q, a in asked), 3)


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
        part = forgetting.model_copy(update={"scores": forgetting.scores[: down + 1]})
        for across, shard in enumerate(forgetting.shards[:down]):
            if shard in part.forgotten:
                place.add_patch(Rectangle((across - 0.48, down - 0.47), 0.96, 0.94, fill=False, ec="#b5483a", lw=3))
    kept = zip(forgetting.shards, forgetting.kept, strict=False)
    place.set_xticks(range(many), [str(s) for s in forgetting.shards[:many]])
    place.set_yticks(range(many), [f"{s}{'' if went_on else ', not kept'}" for s, went_on in kept])
    framed = f"framed: more than {forgetting.bound:g} points below the best link before" if place.patches else ""
    place.set_title(f"What each link knows of the shards before\n{framed}".strip(), fontsize="medium")
    place.set(xlabel="holdout of shard", ylabel="after the link on shard")
    figure.colorbar(drawn, label="chrF")
    return figure
