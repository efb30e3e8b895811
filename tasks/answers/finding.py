"""Finding: which products of the catalogue a question is about, and how sure that is.

Where in doubt a person is asked which; nothing is answered from another product.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from tasks.answers import calibrating
from tasks.answers.calibrating import Calibration
from tasks.answers.index import Index, IndexedRow
from tasks.answers.weighing import LISTED, Judged, decide, judge, titled
from tasks.core.models import Frozen

FoundState = Literal["one", "each", "several", "none"]
_BETWEEN = re.compile(r"(?:,|;|&|\+|\b(?:and|or|vs|versus|than|with|e|y|o|ou|u|und|oder|et|en)\b\.?)", re.IGNORECASE)
WHOLE = 0.95  # share of a question that one row has: it is then no comparison
CUTS = 6  # places at which a question may be two


class Product(Frozen):
    """Rows of one title, the best first; `probability` that this is the product asked about, 0 to 1."""

    rows: tuple[IndexedRow, ...]
    probability: float


class Found(Frozen):
    """What a question is about.

    `one`: `products[0]` is it, and the others are the nearest. `each`: the question compares or joins all of
    `products`, two of them. `several`: it may be any of `products` (at most five), so ask which, or it is a category
    and they belong to it. `none`: the catalogue
    has no such product; `products` are the nearest. `probability` is that of what the state says: of the first
    product, or that it is among those listed. `continued`: the question names no product itself, and `products` are
    those of the talk before it.
    """

    question: str
    state: FoundState
    probability: float
    products: tuple[Product, ...] = ()
    continued: bool = False

    @property
    def rows(self) -> list[IndexedRow]:
        """Rows of all products, best first."""
        return [row for product in self.products for row in product.rows]

    @property
    def fits(self) -> list[IndexedRow]:
        """The rows that the question is answered from."""
        meant = {"one": self.products[:1], "each": self.products}.get(self.state, ())
        return [row for product in meant for row in product.rows]


def find(question: str, index: Index, talk: Sequence[Found] = (), hidden: str | None = None) -> Found:
    """The products that `question` is about. `talk`: what was found for the questions before it, oldest first.

    `hidden` is a title whose rows are treated as not there: what would be found if the catalogue lacked it.
    """
    weighed_by = calibration(index)
    index = index.without(index.by_title(hidden)) if hidden else index
    judged = judge(question, index, weighed_by.weights)
    state = decide(judged, weighed_by.cuts, index)
    if (judged.asked.leans and state != "one") and (last := _last(talk)):
        return last.model_copy(update={"question": question, "continued": True})
    if judged.asked.leans and state == "several":
        state = "none"  # it names nothing, so no list can be what it means
    if two := _two(question, judged, index, weighed_by):
        return two
    shown = judged.products[:LISTED]
    return Found(
        question=question,
        state=state,
        probability=round(judged.answer if state == "one" else judged.listed, 4),
        products=tuple(_product(product) for product in shown),
    )


def calibration(index: Index) -> Calibration:
    """How this index weighs evidence; fitted once, at the first question."""
    if index.calibration is None:
        index.calibration = calibrating.of(index)
    return index.calibration


def _last(talk: Sequence[Found]) -> Found | None:
    """What the talk was about last."""
    return next((found for found in reversed(talk) if found.state in ("one", "each")), None)


def _product(matches: Sequence[tuple[object, float]]) -> Product:
    return Product(rows=tuple(match.row for match, _ in matches), probability=round(matches[0][1], 4))  # type: ignore[attr-defined]


def _two(question: str, whole: Judged, index: Index, by: Calibration) -> Found | None:
    """Two products, where the question cut at a word that joins names one on either side."""
    if len(whole.values) and (
        titled(whole) or (whole.first.value("share_row") >= WHOLE and whole.answer >= by.cuts.answer)
    ):
        return None
    best = None
    for place in list(_BETWEEN.finditer(question))[:CUTS]:
        sides: list[Judged] = []
        for part in (question[: place.start()], question[place.end() :]):
            side = judge(part, index, by.weights, part=True)
            if side.asked.bare or decide(side, by.cuts, index) != "one":
                break  # the other side need not be looked at
            sides.append(side)
        if len(sides) < 2 or sides[0].first.row.key == sides[1].first.row.key:
            continue
        sure = min(side.answer for side in sides)
        if best is None or sure > best.probability:
            both = tuple(_product(side.products[0]) for side in sides)
            best = Found(question=question, state="each", probability=round(sure, 4), products=both)
    return best
