"""Quotes: exact where the tokenizer is known, a range where the provider decides, unknown where nobody knows."""

from __future__ import annotations

import pytest

from tasks.backends import offers, pricing
from tests.kit.links import made

MINI = offers.find("openai", "gpt-4o-mini-2024-07-18")
FLASH = offers.find("gemini", "gemini-3.1-flash-lite")


def link(tokens, examples=1_000, backend="openai", **changes):
    plain = made(backend=backend, **{"base_model": "gpt-4o-mini-2024-07-18", **changes})
    return plain.model_copy(
        update={"train": (plain.train[0].model_copy(update={"tokens": tokens, "examples": examples}),)}
    )


def test_a_hundred_thousand_tokens_three_times_are_ninety_cents():
    told = pricing.of_link(link(100_000), 3, MINI)
    assert (told.tokens, told.tokens_high, told.exact) == (300_000, 300_000, True)
    assert told.usd_low == told.usd_high == pytest.approx(0.9)
    assert "2026-11-22" in told.basis and told.source


def test_the_answers_to_the_questions_are_in_the_upper_end():
    told = pricing.of_link(link(100_000, asked=10, answer_tokens=100), 1, MINI)
    assert told.usd_low == pytest.approx(0.3)
    # Each question is asked of two models, twice each; an answer that is cut once more, with four times the room.
    assert told.usd_high == pytest.approx(0.3 + 40 * (2 * 200 * 0.3 + (100 + 400) * 1.2) / 1e6)
    assert told.answers_usd == pytest.approx(told.usd_high - 0.3)


def test_a_model_whose_tokenizer_is_not_public_is_counted_by_estimate():
    told = pricing.of_link(link(30_000, base_model="Qwen/Qwen3-32B"), 1, MINI)
    assert (told.exact, told.tokens_high) == (False, 40_000) and "estimated" in told.basis


@pytest.mark.parametrize(("examples", "most"), [(10, 10), (4, 25), (50, 3), (20_000, 3)])
def test_auto_epochs_are_a_range(examples, most):
    told = pricing.of_link(link(1_000, examples), "auto", MINI)
    assert (told.tokens, told.tokens_high) == (1_000, 1_000 * most)


def test_geminis_count_is_an_estimate_with_two_ends():
    told = pricing.of_link(link(30_000, backend="gemini"), 2, FLASH)
    assert (told.tokens, told.tokens_high, told.exact) == (60_000, 80_000, False)
    assert (told.usd_low, told.usd_high) == (pytest.approx(48_000 * 3e-6), pytest.approx(80_000 * 3e-6))


@pytest.mark.parametrize(
    ("tokens", "epochs", "offer"),
    [(None, 1, MINI), (10, None, FLASH), (10, 1, None), (10, 1, offers.find("gemini", "gemini-3.5-flash-lite"))],
)
def test_what_nobody_knows_is_unknown(tokens, epochs, offer):
    assert pricing.of_link(link(tokens), epochs, offer).usd_high is None


def test_billed_tokens_have_a_price_where_the_base_has():
    assert pricing.billed_usd(MINI, 1_000_000) == 3.0
    assert pricing.billed_usd(None, 1_000_000) is None
