"""Clauses: an answer in ordinary style falls into what it claims."""

from __future__ import annotations

import pytest

from tasks.answers.clauses import clauses, statements
from tasks.answers.tokens import tokens


def parts(text: str) -> list[str]:
    return [text[start:end].strip(" ,") for start, end in clauses(text, tokens(text))]


@pytest.mark.parametrize(
    ("text", "claimed"),
    [
        ("It holds two litres and comes with a lid.", ["It holds two litres", "and comes with a lid."]),
        ("The oven is safe, but the lid is not.", ["The oven is safe", "but the lid is not."]),
        ("It includes a brush, a case and a manual.", ["It includes a brush, a case and a manual."]),
        ("It is for tail lights and turn signals.", ["It is for tail lights and turn signals."]),
        ("Black and light.", ["Black and light."]),
    ],
)
def test_a_sentence_is_cut_where_a_new_claim_begins(text, claimed):
    assert parts(text) == claimed


@pytest.mark.parametrize(
    ("answer", "claimed"),
    [
        ("| Size | Inches |\n|---|---:|\n| S | 3.1 |\n| M | 4 |", ["S: 3.1", "M: 4"]),
        ("1. **Wash** it.\n2) Dry it.", ["Wash it.", "Dry it."]),
        ("It [B1] holds two litres [B1].", ["It holds two litres."]),
        ("# Details\n- Made of oak\n- _Linen_ shade", ["Made of oak", "Linen shade"]),
        ("Yes, according to the listing it folds; it&#39;s light.", ["it folds", "it's light."]),
        ("**Width:** 3 inches\n**Height:** 4 inches", ["Width: 3 inches", "Height: 4 inches"]),
    ],
)
def test_ordinary_style_claims_nothing_itself(answer, claimed):
    assert [" ".join(said.split()) for said in statements(answer)] == claimed
