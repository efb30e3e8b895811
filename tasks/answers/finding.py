"""Finding: which products of the catalogue a question is about, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from tasks.answers.index import Index, IndexedRow, key_of
from tasks.answers.words import subject
from tasks.core.models import Frozen

FoundState = Literal["one", "each", "several", "none"]


class Product(Frozen):
    """Rows of one title, the best first; `probability` that this is the product asked about, 0 to 1."""

    rows: tuple[IndexedRow, ...]
    probability: float


class Found(Frozen):
    """What a question is about.

    `one`: `products[0]` is it. `each`: the question compares or joins all of `products`, two of them. `several`: it may
    be any of `products` (at most five), so ask which, or it is a category and they belong to it. `none`: the catalogue
    has no such product; `products` are the nearest. `probability` is that of the state's claim. `continued`: the
    question names no product, and `products` are those of the talk before it.
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


def find(question: str, index: Index, talk: Sequence[Found] = (), hidden: str | None = None) -> Found:
    """The products that `question` is about. `talk`: what was found for the questions before it, oldest first.

    `hidden` is a title whose rows are treated as not there: what would be found if the catalogue lacked it.
    """
    candidates = index.candidates(subject(question), 5, hidden)
    products: dict[str, list[IndexedRow]] = {}
    for candidate in candidates:
        products.setdefault(key_of(candidate.row.title), []).append(candidate.row)
    fits = bool(candidates and candidates[0].fits)
    return Found(
        question=question,
        state="one" if fits else "none",
        probability=candidates[0].score if candidates else 0.0,
        products=tuple(Product(rows=tuple(rows), probability=0.5) for rows in products.values()),
    )
