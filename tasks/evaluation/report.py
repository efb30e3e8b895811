"""Report: a comparison as a picture, and as one HTML file that needs nothing beside it."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tasks.evaluation.comparison import GUARD, Compared
from tasks.evaluation.trial import Mark

EXAMPLES = 12  # questions shown with the answers of every arm
COLOURS = {"supported": "#2f7d4f", "abstained": "#b9b4a7", "unsupported": "#b5483a"}


def picture(compared: Compared) -> Any:
    """A matplotlib figure: for each group, what became of every arm's answers."""
    from matplotlib.figure import Figure

    groups = list(compared.questions)
    figure = Figure(figsize=(11, 1.4 + 0.42 * len(compared.arms)), layout="constrained")
    places = figure.subplots(1, len(groups), sharey=True, squeeze=False)[0]
    names = [arm.name for arm in compared.arms][::-1]
    for place, group in zip(places, groups, strict=True):
        left = [0.0] * len(names)
        for rate, colour in COLOURS.items():
            values = [float(arm.groups[group][rate] or 0.0) for arm in compared.arms][::-1]
            place.barh(names, values, left=left, color=colour, label=rate)
            left = [a + b for a, b in zip(left, values, strict=True)]
        place.set(
            title=f"{group}, {compared.questions[group]} questions",
            xlim=(0, 1),
            xticks=(0, 0.5, 1),
            xlabel="share of answers",
        )
        place.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        for side in ("top", "right"):
            place.spines[side].set_visible(False)
    figure.legend(*places[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    return figure


def html(compared: Compared, marks: Sequence[Mark]) -> str:
    """The report, standalone: style and picture are in it."""
    drawn = io.BytesIO()
    picture(compared).savefig(drawn, format="png", dpi=144)
    pages = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined)
    pages.filters |= {"percent": _percent, "number": _number}
    return pages.get_template("report.html").render(
        compared=compared,
        picture=base64.b64encode(drawn.getvalue()).decode(),
        headlines=headlines(compared),
        guard=GUARD,
        paid=any(arm.groups[group]["usd"] != 0 for arm in compared.arms for group in compared.questions),
        pairs=compared.verdicts[::4],  # one way round, by the measure: see compared.verdicts
        examples=_examples(marks),
        day=datetime.now(UTC).date().isoformat(),
    )


def headlines(compared: Compared) -> list[str]:
    """The verdicts a person asks for first: every arm of a later model over the first model's, and over its own."""
    if len(compared.arms) < 2:
        return []
    first = compared.arms[0].name
    return [told(compared.said(arm.name, first, compared.measure)) for arm in compared.arms[1:]]


def told(found: Any, wanting: bool = True) -> str:
    """A verdict as a sentence; `wanting`: with how many more questions it would need."""
    interval = f"{found.difference:+.3f} [{found.low:+.3f}, {found.high:+.3f}], {found.questions:,} questions"
    more = ""
    if wanting and found.word == "can't tell":
        more = f"; about {found.more:,} more would tell" if found.more else "; no number of questions would tell"
    return f"{found.new} vs {found.old}: {found.word} by {found.measure} ({interval}{more})"


def _examples(marks: Sequence[Mark]) -> list[tuple[str, str, list[Mark]]]:
    """Some questions of each group with the answers of every arm."""
    asked = list(dict.fromkeys((m.group, m.question) for m in marks))
    groups = list(dict.fromkeys(group for group, _ in asked))
    few = [one for group in groups for one in [a for a in asked if a[0] == group][: EXAMPLES // len(groups)]]
    return [
        (group, question, [m for m in marks if (m.group, m.question) == (group, question)]) for group, question in few
    ]


def _percent(value: float | None) -> str:
    return "\u2013" if value is None else f"{value:.0%}"


def _number(value: float | None, places: int = 2) -> str:
    return "\u2013" if value is None else f"{value:.{places}f}"
