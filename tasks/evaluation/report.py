"""Report: a comparison as a picture, and as one HTML file that needs nothing beside it."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tasks.evaluation.comparison import COUNTS, GUARD, WORDS, Compared
from tasks.evaluation.trial import Mark
from tasks.evaluation.verdict import Verdict

EXAMPLES = 12  # questions shown with the answers of every arm
# What becomes of an answer, each in one part of a bar: see `outcomes`.
COLOURS = {
    "answered to the point": "#2f7d4f",
    "quoted to the point": "#8fbf9f",
    "beside the point": "#d9b44a",
    "false shown": "#b5483a",
    "declined": "#b9b4a7",
}


def picture(compared: Compared) -> Any:
    """A matplotlib figure: for each group, what became of every arm's answers. Of an absent product only declining is
    right."""
    from matplotlib.figure import Figure

    groups = list(compared.questions)
    figure = Figure(figsize=(11, 1.4 + 0.42 * len(compared.arms)), layout="constrained")
    places = figure.subplots(1, len(groups), sharey=True, squeeze=False)[0]
    names = [arm.name for arm in compared.arms][::-1]
    for place, group in zip(places, groups, strict=True):
        left = [0.0] * len(names)
        for outcome, colour in COLOURS.items():
            values = [outcomes(arm.groups.get(group, {}))[outcome] for arm in compared.arms][::-1]
            place.barh(names, values, left=left, color=colour, label=outcome)
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
    figure.legend(*places[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False)
    return figure


def outcomes(rates: dict[str, float | None]) -> dict[str, float]:
    """Shares of answers that add up to 1, by the names of `COLOURS`; all zero where nothing was asked."""
    held = {name: float(rates.get(name) or 0.0) for name in COUNTS}
    quoted = held["to_the_point"] - held["answered"]
    rest = 1 - held["to_the_point"] - held["false_shown"] - held["declined"] if rates else 0.0
    shares = (held["answered"], quoted, max(0.0, rest), held["false_shown"], held["declined"])
    return dict(zip(COLOURS, shares, strict=True))


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
        words=WORDS,
        forms=list(dict.fromkeys(form for arm in compared.arms for form in arm.forms)),
        outcome=outcome,
        paid=any(rates["usd"] != 0 for arm in compared.arms for rates in arm.groups.values()),
        pairs=_pairs(compared),
        examples=_examples(marks),
        day=datetime.now(UTC).date().isoformat(),
    )


def headlines(compared: Compared) -> list[str]:
    """The verdicts a person asks for first: every arm of a later model over the first model's, and over its own."""
    if len(compared.arms) < 2:
        return []
    first = compared.arms[0].name
    return [told(v) for v in compared.verdicts if (v.old, v.measure) == (first, compared.measure)]


def told(found: Any, wanting: bool = True) -> str:
    """A verdict as a sentence; `wanting`: with how many more questions it would need."""
    interval = f"{found.difference:+.3f} [{found.low:+.3f}, {found.high:+.3f}], {found.questions:,} questions"
    more = ""
    if wanting and found.word == "can't tell":
        more = f"; about {found.more:,} more would tell" if found.more else "; no number of questions would tell"
    measure = WORDS.get(found.measure, found.measure)
    return f"{found.new} vs {found.old}: {found.word} by {measure!r} ({interval}{more})"


def _pairs(compared: Compared) -> list[tuple[Verdict, Verdict]]:
    """Every two arms one way round, the later one first: the verdict by the measure, and that of the guard."""
    order = [arm.name for arm in compared.arms]
    mine = [v for v in compared.verdicts if v.measure == compared.measure and order.index(v.new) > order.index(v.old)]
    return [(v, compared.said(v.new, v.old, GUARD)) for v in mine]


def outcome(mark: Mark) -> str:
    """What became of one answer, by the names of `COLOURS`."""
    if mark.to_the_point:
        return "answered to the point" if mark.answered else "quoted to the point"
    return "false shown" if mark.false_shown else "declined" if mark.declined else "beside the point"


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
