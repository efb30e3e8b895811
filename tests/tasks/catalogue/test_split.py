"""Splits: decided by the row alone, so nothing that is trained on shares its title or its content with the holdout."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.catalogue.split import HEAD, normalised, split, threshold

WORDS = st.lists(
    st.sampled_from(["Blue", "kite", "KITE", "caf\u00e9", "CAF\u00c9", "-", "!", "\u00df", "ss", "1"]), max_size=3
)
TEXT = WORDS.map(" ".join)


def letters(text: str) -> str:
    """Another way to say what `normalised` is to keep."""
    return "".join(c for c in text.casefold() if c.isalnum())


@given(st.lists(st.text() | TEXT | st.sampled_from(["", "\0", "a\0b"])))
def test_normalised_texts_are_their_letters_and_digits(texts):
    assert [each.decode() for each in normalised(texts)] == [letters(text) for text in texts]


@given(st.lists(st.tuples(TEXT, TEXT), max_size=60), st.sampled_from([0.1, 0.3, 0.5, 0.7]))
def test_training_and_holdout_share_neither_title_nor_content(rows, share):
    splits = split([title for title, _ in rows], [content for _, content in rows], threshold(share))
    found = [(s, letters(title), letters(content[:HEAD])) for s, (title, content) in zip(splits, rows, strict=True)]
    for part in (1, 2):
        trained = {row[part] for row in found if row[0] == "train"}
        assert trained.isdisjoint(row[part] for row in found if row[0] == "holdout")


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.7])
def test_shares_are_those_of_the_design(share):
    count = 20_000
    titles, contents = [f"Title {n}" for n in range(count)], [f"Content {n}" for n in range(count)]
    found = Counter(split(titles, contents, threshold(share)))
    assert found["train"] / count == pytest.approx((1 - share) ** 2, abs=0.01)
    assert found["holdout"] / count == pytest.approx(share**2, abs=0.01)
    assert found["reserved"] / count == pytest.approx(2 * share * (1 - share), abs=0.01)


def test_a_blurb_that_differs_at_its_end_is_the_same_content():
    blurb = "Our press prints small editions of books that went out of print, each one checked against the first. " * 2
    assert len(set(split(["Title"] * 2, [blurb + "Vol. 1", blurb + "Vol. 2"], threshold(0.5)))) == 1
    parts = set(split(["Title"] * 40, [f"{n} {blurb}" for n in range(40)], threshold(0.5)))
    assert len(parts) == 2  # one title: it hits or not, and the content decides between two splits


def test_a_row_falls_where_it_falls_whatever_stands_beside_it():
    titles, contents = [f"Title {n}" for n in range(50)], [f"Content {n} caf\u00e9" for n in range(50)]
    together = split(titles, contents, threshold(0.5))
    assert together == [split([t], [c], threshold(0.5))[0] for t, c in zip(titles, contents, strict=True)]
    # Written down: no release may move a row into another split.
    assert together[:6] == ["holdout", "train", "holdout", "train", "holdout", "reserved"]
