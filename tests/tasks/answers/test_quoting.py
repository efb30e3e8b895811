"""Quoting: the two sentences that answer a question, by the question alone and with an answer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tasks.answers import aspects
from tasks.answers.alignment import row_of
from tasks.answers.quoting import chosen
from tasks.answers.words import languages, stems

TITLE = "Norwell Copper Kettle"
CONTENT = (
    "Tea tastes better from copper. Boils two litres in four minutes. It weighs 1.4 kg when empty. "
    "The handle is made of beech wood. It comes with a whistle and a trivet. "
    "For gas and electric hobs, not for induction. Designed by Ada Norwell in 1987."
)


@pytest.mark.parametrize(
    ("question", "part"),
    [
        ("How heavy is the Norwell Copper Kettle?", "1.4 kg"),
        ("quanto pesa a Norwell Copper Kettle?", "1.4 kg"),
        ("Wie schwer ist der Norwell Copper Kettle?", "1.4 kg"),
        ("What is its handle made of?", "beech"),
        ("De quoi est-ce fabriqué ? Norwell kettle", "beech"),
        ("What does it come with?", "trivet"),
        ("When was the Norwell kettle designed?", "1987"),
        ("Does the copper kettle work with induction?", "induction"),
    ],
)
def test_a_sentence_that_answers_the_question_is_among_the_two(question, part):
    row = row_of(TITLE, CONTENT)
    picked = chosen(question, "", row)
    assert len(picked) == 2 and picked == sorted(picked)
    assert any(part in CONTENT[start:end] for start, end in (row.sentences[n] for n in picked))


def test_an_answer_moves_the_quotation_to_what_it_says():
    row = row_of(TITLE, CONTENT)
    picked = chosen("What is the Norwell Copper Kettle?", "A kettle with a beech wood handle, from 1987.", row)
    assert [CONTENT[slice(*row.sentences[n])][:10] for n in picked] == ["The handle", "Designed b"]


@pytest.mark.parametrize("content", ["", "One sentence only", "?!", "\u0000 . ."])
def test_a_row_of_one_sentence_or_none_is_quoted_as_far_as_it_goes(content):
    row = row_of(TITLE, content)
    assert chosen("How heavy is it?", "", row) == list(range(len(row.sentences)))


def test_a_question_that_only_names_a_product_asks_for_nothing():
    assert [a.name for a in aspects.of("Norwell Copper Kettle")] == []
    assert [a.name for a in aspects.of("¿Quién escribió Platero y yo?")] == ["author"]


CASES = Path(__file__).parent / "cases"


def test_two_sentences_hold_the_answers_of_the_cases():
    """True answers in the words of people. The sentence that shares most words with one counts as what holds it."""
    rows = {row["uid"]: row for row in map(json.loads, (CASES / "rows.jsonl").read_text().splitlines())}
    alone = helped = asked = 0
    for case in map(json.loads, (CASES / "answers.jsonl").read_text().splitlines()):
        if not case["true"]:
            continue
        row = row_of(rows[case["uid"]]["title"], rows[case["uid"]]["content"])
        said = set(stems(case["answer"])) - languages()["en"].stop - set(stems(row.title))
        shared = [len(said & set(stems(row.content[start:end]))) for start, end in row.sentences]
        holds = {n for n, words in enumerate(shared) if words and words >= 0.8 * max(shared)}
        asked += bool(holds)
        alone += bool(holds & set(chosen(case["question"], "", row)))
        helped += bool(holds & set(chosen(case["question"], case["answer"], row)))
    assert asked > 90 and alone >= 0.75 * asked and helped >= 0.95 * asked, (asked, alone, helped)
