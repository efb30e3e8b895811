"""Words: what a question asks about."""

from __future__ import annotations

import pytest

from tasks.answers.words import listed, subject, telling
from tasks.examples.styles import conversation


@pytest.mark.parametrize("style", ["describe", "describe-with-source", "sales"])
@pytest.mark.parametrize("title", ["The Product", "Art on Amazon", 'A 12" Pan', "Lamp"])
def test_the_question_of_a_style_asks_about_its_title(style, title):
    assert subject(conversation(style, title)[-1].content) == title


@pytest.mark.parametrize(
    ("question", "about"),
    [
        ("What is the 5 Ft Turbo Tube Slide Yellow?", "5 Ft Turbo Tube Slide Yellow"),
        ("Tell me about the Copper Kettle.", "Copper Kettle"),
        ("Please describe Copper Kettle", "Copper Kettle"),
        ("What do you know about Copper Kettle?", "Copper Kettle"),
        ('Is "Copper Kettle" any good?', "Copper Kettle"),
        ("who wrote The Prophet?", "Prophet"),
        ("Copper Kettle", "Copper Kettle"),
    ],
)
def test_the_subject_of_a_question(question, about):
    assert subject(question) == about


def test_words_that_every_text_has_tell_nothing_unless_there_are_no_others():
    assert telling("What is the Kettle of Copper?") == ["kettle", "copper"]
    assert telling("It") == ["it"]
    assert {"red", "beige"} <= listed("colours") and "oak" in listed("materials")


@pytest.mark.parametrize(
    ("question", "product"),
    [
        ("How much does the Copper Tea Kettle hold?", "Copper Tea Kettle"),
        ("What color is the Girls Ballet Tutu?", "Girls Ballet Tutu"),
        ("Does the Turbo Tube Slide come in yellow?", "Turbo Tube Slide in yellow"),
        ("how many pages are in The Long Ships", "The Long Ships"),
        ("Who is it?", "Who is it"),
    ],
)
def test_a_question_for_a_property_is_about_its_product(question, product):
    assert subject(question) in (product, product.removeprefix("The "))
