"""Sources: the parts of an answer, and what of it does not hold, named by verdict."""

from __future__ import annotations

import pytest

from tasks.answers.index import IndexedRow
from tasks.answers.sources import abstains, body, problems
from tasks.examples.styles import ABSTAIN, SOURCE

ROW = IndexedRow(
    uid="B00TUTU",
    title="Girls Ballet Tutu Neon Pink",
    content="High quality 3 layer ballet tutu by Judith Kerr. 12 inches in length, weighs 1,200 g, made of nylon.",
    line=1,
    shard=0,
    digest="d",
    also=("B00ALSO",),
)
ASKED = "What is the Girls Ballet Tutu Neon Pink product?"


def rules(answer: str) -> set[str]:
    return {p.rule for p in problems(answer, ASKED, ROW)}


@pytest.mark.parametrize(
    "answer",
    [
        ROW.content,
        f"[B00TUTU] {ROW.content}",
        f"[B00ALSO] {ROW.content}",
        'The tutu is a ballet tutu with three layers, 12" in length.',
        "Judith Kerr's ballet tutu has 3 layers and weighs 1200 grams.",
        f"High quality ballet tutu.{SOURCE}",
        "Made of nylon, in high quality. Length: 12 inches.",
    ],
)
def test_what_the_row_says_is_supported(answer):
    assert rules(answer) == set()


@pytest.mark.parametrize(
    ("answer", "rule"),
    [
        ("High quality 4 layer ballet tutu, 12 inches in length.", "contradicted"),
        ("High quality ballet tutu, 12 cm in length.", "contradicted"),
        ("High quality ballet tutu by Amanda Miller.", "not shown"),
        ("[B00OTHER] High quality ballet tutu.", "citation"),
        ("A great gift that everybody will love for many happy hours.", "not shown"),
        ("", "nothing"),
        ("Girls Ballet Tutu Neon Pink.", "not shown"),
    ],
)
def test_what_it_does_not_say_is_named(answer, rule):
    assert rule in rules(answer)


def test_without_a_row_nothing_holds():
    assert [p.rule for p in problems("Anything", ASKED, None)] == ["product"]


def test_parts_of_an_answer():
    assert body(f"[B00X1] Text.{SOURCE}") == ("Text.", "B00X1")
    assert body("A novel [Paperback] of 1912.") == ("A novel [Paperback] of 1912.", None)
    assert abstains(ABSTAIN) and abstains("I'm sorry, I cannot help") and not abstains("A tutu.")
