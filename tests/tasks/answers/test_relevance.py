"""Relevance: what a question asks for, and whether a text says it."""

from __future__ import annotations

import pytest

from tasks.answers.relevance import relevant


@pytest.mark.parametrize(
    ("question", "to_the_point", "beside"),
    [
        ("How heavy is it?", "It weighs 3.1 pounds.", "It has two handles."),
        ("How long does the battery last?", "It runs for 30 hours.", "It is 7 inches long."),
        ("How tall is the lamp?", "7.5 inches high.", "It weighs 2 pounds."),
        ("How many recipes are there?", "There are seventy-five recipes.", "The recipes are quick."),
        ("How tall is the lamp?", "It stands 16 inches high.", "It takes one 40 W bulb."),
        ("What is it made of?", "The bowl is made of oak.", "The bowl holds two litres."),
        ("Who wrote it?", "It was written by Ann Lee.", "It has 24 pages."),
        ("What colour is it?", "It comes in rose gold.", "It weighs 95 g."),
        ("How much is it?", "It costs $29.95.", "It is sold in pairs."),
    ],
)
def test_what_is_asked_for_is_wanted(question, to_the_point, beside):
    assert relevant(question, to_the_point) and not relevant(question, beside)


def test_other_questions_want_no_measure():
    assert relevant("What is it?", "It is made of oak.")
    assert relevant("How do I clean it?", "Wash it with soapy water.")
