"""Tokens: numbers, bounds, and how far a negation reaches."""

from __future__ import annotations

import pytest

from tasks.answers.tokens import tokens


def marked(text: str) -> tuple[set[str], set[str]]:
    """The words that a negation of `text` reaches, and those that it may reach."""
    said = [t for t in tokens(text) if t.content]
    return {t.text for t in said if t.negated}, {t.text for t in said if t.unsure}


@pytest.mark.parametrize(
    ("text", "negated"),
    [
        ("It is not a toy for children; it has wheels.", {"toy", "children"}),
        ("Do not put it in the oven, microwave or dishwasher.", {"put", "oven", "microwave", "dishwasher"}),
        ("Keep it away from acetone, bleach and oil.", {"acetone", "bleach", "oil"}),
        ("It does not tip but rolls.", {"tip"}),
        ("It comes without a lid, and it folds.", {"lid"}),
        ("Cracks not longer than 12 inches.", set()),
        ("The cold war against slavery began.", set()),
        ("It is paraffin-free.", {"paraffin"}),
    ],
)
def test_a_negation_reaches_its_clause_and_all_of_a_list(text, negated):
    assert marked(text)[0] == negated


def test_what_a_negation_may_reach_is_neither_said_nor_denied():
    assert marked("It does not rust, black or white.")[0] >= {"rust"}
    assert marked("Never shake the bottle, warm water helps.") == ({"shake", "bottle"}, {"warm", "water", "helps"})
    assert marked("It will not repair damage to more than one layer.")[1] == {"one", "layer"}


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        ("not longer than 12 inches", "<"),
        ("longer than 12 inches", ">"),
        ("does not weigh more than 12 pounds", "<"),
        ("no fewer than 12", ">"),
        ("12 or more", ">"),
        ("other than 12", ""),
    ],
)
def test_bounds_of_any_comparative(text, bound):
    (number,) = [t for t in tokens(text) if t.value is not None]
    assert number.bound == bound


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ('4.3" x6.7"', [4.3, 6.7]),
        ("a 20x30x5.5 box", [20, 30, 5.5]),
        ("three in total", [3]),
        ("a billion copies", [1e9]),
        ("1.5 million", [1.5e6]),
        ("Cleaning cloth x6", [6]),
        ("Weight: 5ml-12g, set-105g", [5, 12, 105]),
    ],
)
def test_numbers_as_catalogues_write_them(text, values):
    assert [t.raw for t in tokens(text) if t.value is not None] == values


def test_a_number_word_before_in_is_no_length():
    assert [t.kind for t in tokens("Three in total, 3 in all, 3 in wide") if t.value is not None] == ["", "", "length"]
