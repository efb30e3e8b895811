"""Talk: a question that goes on from those before it, as one that stands alone."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.answers.finding import find
from tasks.answers.index import Index

BACK = 6  # questions that are looked back at


def alone(questions: Sequence[str], index: Index) -> str:
    """The last question; with the product of an earlier one where it names none itself."""
    *before, last = questions
    if not before or find(last, index).state != "none":
        return last
    for earlier in reversed(before[-BACK:]):
        found = find(earlier, index)
        if found.state == "one":
            return f"{found.products[0].rows[0].title}: {last}"
    return last
