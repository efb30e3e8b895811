"""Token counts: the cookbook's sample, tuned names, and what nobody can count here."""

from __future__ import annotations

import pytest

from deployments.simulators.openai import tokens
from tasks.examples import counting

TURNS = [
    ("system", "Act as sales representative"),
    ("user", "Steel drum"),
    ("assistant", "A drum of 7 litres — «für» 水."),
]


def test_a_tuned_model_counts_as_its_base_does():
    tuned, base = "ft:gpt-4.1-mini-2025-04-14:shop::1", "gpt-4.1-mini-2025-04-14"
    assert counting.encoding_name(tuned) == counting.encoding_name(base) == "o200k_base"
    assert counting.of_examples([TURNS], "openai", tuned) == counting.of_examples([TURNS], "openai", base)


def test_another_implementation_counts_the_same():
    counted = counting.of_examples([TURNS, TURNS[1:]], "openai", "gpt-4o")
    examples = [{"messages": [{"role": r, "content": c} for r, c in turns]} for turns in (TURNS, TURNS[1:])]
    assert sum(counted) == tokens.of_examples(examples)
    assert counted[0] > counted[1] > 10


@pytest.mark.parametrize(("format", "model"), [("chat", "gpt-4o"), ("alpaca", "gpt-4o")])
def test_what_nobody_can_count_here_is_unknown(format, model):
    assert counting.of_examples([TURNS], format, model) is None


def test_gemini_is_estimated_by_script():
    assert counting.of_examples([[("user", "x" * 30), ("assistant", "y" * 50)]], "gemini", "gemini-3.5-flash") == [23]


def test_a_model_of_another_endpoint_is_estimated_the_same_way():
    assert counting.of_examples([[("user", "x" * 30), ("assistant", "y" * 50)]], "openai", "some-llama") == [23]
