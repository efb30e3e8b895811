"""Verify: answers in their order, held to the row that is named, cited or asked about."""

from __future__ import annotations

import pytest

from tasks.answers import index
from tasks.answers.verify import Case, cases, verify
from tasks.core.errors import AnswerError
from tests.kit.catalogues import line, run, source

PRODUCTS = [
    line("B001", "Copper Tea Kettle", "A copper kettle that holds two litres and sings when the water boils."),
    line("B002", "Steel Bread Tin", "A tin of steel for loaves of 900 grams, with a lid."),
]
ASKED = "What is the Copper Tea Kettle product?"


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    folder = tmp_path_factory.mktemp("verify")
    index.update(folder / "index", run(source(folder, PRODUCTS), folder).prepared.shards)
    return index.Index(folder / "index")


def test_each_answer_is_held_to_its_row_in_order(opened):
    told = [
        Case(question=ASKED, answer="A copper kettle that holds two litres."),
        Case(question=ASKED, answer="A copper kettle that holds five litres."),
        Case(question="How heavy are its loaves?", answer="The tin is for loaves of 900 grams.", uid="B002"),
        Case(question="What is a good loaf?", answer="[B002] A tin of steel, with a lid."),
        Case(question="Who won the cup?", answer="Nobody knows."),
        Case(question=ASKED, answer="[B002] A copper kettle that holds two litres."),
    ]
    found = verify(told, opened)
    assert [(one.holds, one.state, one.uid) for one in found] == [
        (True, "answered", "B001"),
        (False, "quoted", "B001"),
        (True, "answered", "B002"),
        (True, "answered", "B002"),
        (False, "none", None),
        (False, "quoted", "B001"),
    ]
    assert [c.verdict for c in found[0].claims + found[1].claims] == ["verbatim", "contradicted"]


def test_a_row_that_is_named_must_be_there(opened):
    with pytest.raises(AnswerError, match="B999"):
        verify([Case(question=ASKED, answer="x", uid="B999")], opened)


def test_lines_that_are_no_answers_are_named():
    good = '{"question": "a", "answer": "b", "model": "mine"}'
    assert list(cases([good, "", good], "f")) == [Case(question="a", answer="b")] * 2
    for bad in ("[]", "nonsense", '{"question": "a"}', '{"question": 1, "answer": []}'):
        with pytest.raises(AnswerError, match="line 2"):
            list(cases([good, bad], "f"))
