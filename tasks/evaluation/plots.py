"""Pictures and summaries of a loss curve."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from math import ceil
from statistics import fmean
from typing import Any

from tasks.backends.contract import LossPoint


def epoch_means(points: Sequence[LossPoint]) -> dict[int, float]:
    """Mean training loss of each epoch, from 1; an unfinished epoch counts with what it has."""
    losses: dict[int, list[float]] = defaultdict(list)
    for point in points:
        if point.epoch is not None:
            losses[max(1, ceil(point.epoch - 1e-6))].append(point.loss)
    return {epoch: fmean(values) for epoch, values in losses.items()}


def curve(points: Sequence[LossPoint]) -> Any:
    """A matplotlib figure: training loss by step, and its mean by epoch."""
    from matplotlib.figure import Figure

    epochs = epoch_means(points)
    figure = Figure(figsize=(9, 4), layout="constrained")
    by_step, by_epoch = figure.subplots(1, 2)
    by_step.plot([p.step for p in points], [p.loss for p in points], label="training")
    held = [(p.step, p.heldout_loss) for p in points if p.heldout_loss is not None]
    if held:
        by_step.plot(*zip(*held, strict=True), label="held out")
        by_step.legend()
    by_step.set(title="Training loss by step", xlabel="step", ylabel="nats per trained token")
    by_epoch.plot(list(epochs), list(epochs.values()), marker="o")
    by_epoch.set(title="Mean loss by epoch", xlabel="epoch", xticks=list(epochs))
    return figure
