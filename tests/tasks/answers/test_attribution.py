"""Attribution: who says what in a row of reviews."""

from __future__ import annotations

import pytest

from tasks.answers import claims
from tasks.answers.attribution import reviews

TITLE = "The Salt Road"
CONTENT = (
    "'A robust story, full of violent emotions.' Harbour Gazette 'Moves at a cracking pace and is highly readable.' "
    'Northern Evening Post "One of the boy\'s best adventures." -- Ada Quist, author of Cold Water'
)


def verdicts(answer: str) -> list[str]:
    return [c.verdict for c in claims.check("What do critics say?", answer, TITLE, CONTENT).claims]


def test_each_review_has_who_signs_it():
    names = ["Harbour Gazette", "Northern Evening Post", "Ada Quist, author of Cold Water"]
    assert [one.name for one in reviews(CONTENT)] == names
    assert [CONTENT[r.said : r.end].strip("'\" -") for r in reviews(CONTENT)] == names


@pytest.mark.parametrize(
    ("true", "false"),
    [
        (
            "The Harbour Gazette calls it a robust story of violent emotions.",
            "The Northern Evening Post calls it a robust story of violent emotions.",
        ),
        ("Ada Quist wrote Cold Water.", "Ada Quist is the author of The Salt Road."),
    ],
)
def test_a_claim_names_the_one_who_says_it(true, false):
    assert "contradicted" not in verdicts(true) and "contradicted" in verdicts(false)


def test_rows_without_reviews_have_none():
    assert reviews("The Captain's 6\" lamp. It's Anna's best, she says.") == ()
