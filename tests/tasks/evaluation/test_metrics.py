"""Scores of answers, on cases whose value is known by hand or by the reference implementation."""

from __future__ import annotations

import pytest
from sacrebleu import sentence_chrf

from tasks.evaluation.metrics import means, numbers_supported, refused, score

SOURCE = "A 2.50 kg drum of 1,000 screws, sold since 1998."


@pytest.mark.parametrize(
    ("answer", "share"),
    [
        ("no number at all", None),
        ("2.5 kg", 1.0),
        ("2.50 kg", 1.0),
        ("2,5 kg", 1.0),
        ("1000 screws", 1.0),
        ("1,000 screws", 1.0),
        ("25 kg", 0.0),
        ("998", 0.0),
        ("10 screws", 0.0),
        ("01998", 1.0),
        ("2.5 kg, 7 colours", 0.5),
        ("5 of 100 in 3", 0.0),
    ],
)
def test_numbers_count_as_whole_numbers(answer, share):
    assert numbers_supported(answer, SOURCE) == share


@pytest.mark.parametrize(
    ("answer", "is_refusal"),
    [
        ("I'm sorry, I cannot find that product.", True),
        ("As an AI language model", True),
        ("I do not have details on it", True),
        ("", True),
        ("  \n", True),
        ("A sorry tale of a man who cannot find his way home.", False),
        ("You cannot help but like it", False),
    ],
)
def test_refusals(answer, is_refusal):
    assert refused(answer) is is_refusal


def test_likeness_is_that_of_the_reference_implementations():
    told = score("a drum of screws", SOURCE, "What is it?")
    assert told.chrf == pytest.approx(sentence_chrf("a drum of screws", [SOURCE]).score, abs=1e-3)
    # Longest common subsequence "a … drum of … screws": 4 of 4 words of the answer, 4 of the 12 of the source.
    assert told.rouge_l == pytest.approx(2 * (4 / 4) * (4 / 12) / (4 / 4 + 4 / 12), abs=1e-4)
    assert score(SOURCE, SOURCE, "").chrf == 100.0


def test_a_number_of_the_question_is_supported():
    assert score("It weighs 9 kg", "heavy", "What is the 9 kg anvil?").numbers_supported == 1.0


def test_means_leave_out_what_no_answer_has():
    none, half = score("words", "words", ""), score("7 and 8", "7", "")
    assert "numbers_supported" not in means([none, none])
    assert means([none, half])["numbers_supported"] == 0.5
    assert means([none, half])["characters"] == 6.0
    assert means([]) == {}
