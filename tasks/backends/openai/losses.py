"""Losses: loss points of a job at OpenAI or a compatible endpoint, from events while it runs and a CSV file at its end.

Events and columns: the fine-tuning guide and the SDK's `FineTuningJobEvent`. OpenAI sends the CSV in base64, Azure as
it is, with -1 where nothing was measured.
"""

from __future__ import annotations

import base64
import binascii
import csv
import io
import math
from collections.abc import Iterable, Mapping
from typing import Any

from tasks.backends.contract import LossPoint
from tasks.core.errors import BackendError


def of_events(metrics: Iterable[Mapping[str, Any]], epochs: int | None) -> tuple[LossPoint, ...]:
    """Points from the `data` of metrics events, in any order. Of two events for one step the later one counts."""
    points: dict[int, LossPoint] = {}
    for data in metrics:
        step, loss = _number(data.get("step")), _number(data.get("train_loss"))
        if step is None or loss is None:
            continue
        total = _number(data.get("total_steps"))
        heldout_loss = _number(data.get("full_valid_loss"))
        points[int(step)] = LossPoint(
            step=int(step),
            epoch=epochs * step / total if epochs and total else None,
            loss=loss,
            accuracy=_number(data.get("train_mean_token_accuracy")),
            heldout_loss=_number(data.get("valid_loss")) if heldout_loss is None else heldout_loss,
        )
    return tuple(points[step] for step in sorted(points))


def heldout(metrics: Iterable[Mapping[str, Any]]) -> float | None:
    """The last loss over all held-out rows that were sent; None if there is none."""
    losses = [(_number(m.get("step")) or 0.0, _number(m.get("full_valid_loss"))) for m in metrics]
    known = sorted((step, loss) for step, loss in losses if loss is not None)
    return known[-1][1] if known else None


def of_csv(raw: bytes) -> tuple[LossPoint, ...]:
    """Points from a result file, plain or in base64. A line that was cut is left out.

    Raises BackendError if it is no such file.
    """
    text = _plain(raw)
    points = []
    # Without its line end the last line may be cut in the middle of a number.
    for row in _rows(text[: text.rfind("\n") + 1]):
        step, loss = _number(row.get("step")), _number(row.get("train_loss"))
        if step is None or loss is None or loss < 0 or None in row.values():
            continue
        accuracy = row.get("train_accuracy") or row.get("train_mean_token_accuracy")
        heldout_loss = _number(row.get("full_valid_loss")) or _number(row.get("valid_loss"))
        points.append(
            LossPoint(
                step=int(step),
                loss=loss,
                accuracy=_measured(_number(accuracy)),
                heldout_loss=_measured(heldout_loss),
            )
        )
    return tuple(points)


def _rows(text: str) -> list[dict[str, str]]:
    try:
        return list(csv.DictReader(io.StringIO(text)))
    except csv.Error as error:
        raise BackendError(f"the result file is no CSV ({error}): look at the job") from error


def merged(first: Iterable[LossPoint], second: Iterable[LossPoint]) -> tuple[LossPoint, ...]:
    """All steps of both. Fields of a step that both have come from `first`, missing ones from `second`."""
    points = {point.step: point for point in second}
    for point in first:
        known = points[point.step].model_dump() if point.step in points else {}
        points[point.step] = LossPoint(**known | point.model_dump(exclude_none=True))
    return tuple(points[step] for step in sorted(points))


def _plain(raw: bytes) -> str:
    data = raw.lstrip().removeprefix(b"\xef\xbb\xbf")
    if not data.startswith(b"step"):
        try:
            data = data.rstrip()
            # A truncated file may end anywhere, and base64 is decoded in groups of four: drop an incomplete last group.
            data = base64.b64decode(data[: len(data) - len(data) % 4], validate=True).removeprefix(b"\xef\xbb\xbf")
        except binascii.Error as error:
            raise BackendError(f"the result file is neither CSV nor base64 ({raw[:40]!r}): look at the job") from error
    if not data.startswith(b"step"):
        raise BackendError(f"the result file does not begin with a column 'step' ({data[:40]!r}): look at the job")
    return data.decode("utf-8", "replace")


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _measured(value: float | None) -> float | None:
    return None if value is None or value < 0 else value
