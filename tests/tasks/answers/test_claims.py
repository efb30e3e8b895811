"""Claims: each rule tells a true and a false answer apart that differ in one thing; what a row says itself holds."""

from __future__ import annotations

import pytest

from tasks.answers import claims
from tasks.answers.sentences import sentences
from tests.benchmarks import claims as bench

LAMP = (
    "Corvex Trail Lantern",
    "Gives up to 400 lumens and runs for 30 hours on low, 6 hours on high. "
    "Powered by three D batteries (not included). "
    "Measures 7.5 inches high by 3.6 inches wide. Do not submerge the lantern in water. The handle is removable. "
    "The base is made of oak and the shade of linen. Comes with a canvas bag. Anna Berg designed it; the booklet was "
    "translated by Paul Dorn. For ages 8 and up.",
)


def verdicts(answer: str, question: str = "What is it?") -> list[str]:
    return [c.verdict for c in claims.check(question, answer, *LAMP).claims]


@pytest.mark.parametrize(
    ("rule", "true", "false"),
    [
        ("number", "It gives up to 400 lumens.", "It gives up to 450 lumens."),
        ("number", "It is 7.5 inches high.", "It is three inches high."),
        ("unit", "It is 3.6 inches wide.", "It is 3.6 feet wide."),
        ("bound", "It gives up to 400 lumens.", "It gives at least 400 lumens."),
        ("negation", "The lantern must not be submerged in water.", "The lantern can be submerged in water."),
        ("negation", "The handle is removable.", "The handle is not removable."),
        ("opposite", "The handle is removable.", "The handle is fixed."),
        ("includes", "It comes with a canvas bag.", "It comes with three D batteries."),
        ("role", "The booklet was translated by Paul Dorn.", "The booklet was written by Paul Dorn."),
        ("swapped", "It runs 30 hours on low and 6 hours on high.", "It runs 6 hours on low and 30 hours on high."),
        ("swapped", "It is 7.5 inches high and 3.6 inches wide.", "It is 3.6 inches high and 7.5 inches wide."),
        ("swapped", "Its base is oak, its shade linen.", "Its base is linen, its shade oak."),
    ],
)
def test_one_thing_that_differs_is_told(rule, true, false):
    assert "contradicted" not in verdicts(true)
    (wrong,) = claims.check("What is it?", false, *LAMP).claims
    assert wrong.verdict == "contradicted" and wrong.reason.startswith(f"{rule}: ")


@pytest.mark.parametrize(
    "answer",
    [
        "Gives up to 400 lumens and runs for 30 hours on low, 6 hours on high.",
        "The Corvex Trail Lantern gives up to 400 lumens.",
        "Runs for thirty hours on low [L1].",
        "**Measures** 7.5 inches high by 3.6 inches wide.",
        "1. Comes with a canvas bag.\n2. The handle is removable.",
    ],
)
def test_the_words_of_the_row_in_its_order_are_verbatim(answer):
    assert set(verdicts(answer)) == {"verbatim"}


@pytest.mark.parametrize(
    "answer",
    [
        "Yes, the lantern's handle can be removed.",
        "It is 7.5 inches (about 19 cm) high.",
        "According to the listing, it comes with a bag of canvas.",
        "- Oak base\n- Linen shade",
        "Paul Dorn is the booklet's translator.",
        "It is meant for children from 8 years.",
        "Keep the lantern out of water; it is not meant to be submerged.",
        "The three D batteries are not in the box, but a canvas bag is.",
        "Over the year, its base of oak and its shade of linen age well.",
    ],
)
def test_ordinary_style_is_no_contradiction(answer):
    assert "contradicted" not in verdicts(answer)


def test_a_true_clause_stands_beside_one_that_is_struck():
    found = claims.check("What is it?", "It comes with a canvas bag, and the handle is not removable.", *LAMP).claims
    assert [c.verdict for c in found] == ["verbatim", "contradicted"]
    assert found[0].text == "It comes with a canvas bag," and found[1].text == "and the handle is not removable."


def test_what_the_row_does_not_say_is_not_shown_and_does_not_hold():
    found = claims.check("Is it any good?", "Gives up to 400 lumens. Astronauts praised its titanium engine.", *LAMP)
    assert [c.verdict for c in found.claims] == ["verbatim", "not shown"] and not found.holds
    assert "titanium" in found.claims[1].reason


def test_the_question_is_no_source():
    assert not claims.check("Has it a solar panel?", "Yes, it has a solar panel.", *LAMP).holds


def test_quotes_are_sentences_of_the_row_as_they_stand():
    found = claims.check("Who translated the booklet?", "Paul Dorn did.", *LAMP)
    assert all(LAMP[1][q.start : q.end] == q.text for q in found.quotes)
    assert any("translated by Paul Dorn" in q.text for q in found.quotes) and len(found.quotes) <= 2


def test_an_answer_that_claims_nothing_does_not_hold():
    assert not claims.check("What is it?", "", *LAMP).holds
    assert not claims.check("What is it?", "Well, yes.", *LAMP).holds


def test_glued_and_damaged_rows_are_read_through():
    title, content = (
        "Oscillator",
        "17 brass nozzles withclog-free ends. The base isweighted so it doesn x2019;t tip over.",
    )
    assert claims.check("Does it tip over?", "It does not tip over.", title, content).holds
    (wrong,) = claims.check("Does it tip over?", "It does tip over.", title, content).claims
    assert wrong.verdict == "contradicted"


def test_every_sentence_of_the_cases_rows_is_accepted():
    rows = {c["uid"]: (c["title"], c["content"]) for c in bench.own()}
    said = [(t, c, c[a:b]) for t, c in rows.values() for a, b in sentences(c)]
    wrong = [text for t, c, text in said if not claims.check("What is it?", text, t, c).holds]
    assert len(wrong) <= 0.02 * len(said), wrong


def test_answers_by_hand_are_judged_as_well_as_readme_says():
    """The rows that neither rules nor weights saw: one answer is three points."""
    found = bench.rates([case for case in bench.own() if not bench.learnt(case)])
    assert found["mark on false"] <= 0.05 and found["contradicted of false"] >= 0.45
    assert found["contradicted of true"] <= 0.07
    assert found["false accepted"] <= 0.32 and found["true rejected"] <= 0.35
