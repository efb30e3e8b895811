"""Offers: every entry has its day and source, and what is over is told with what is left."""

from __future__ import annotations

from datetime import date

import pytest

from tasks.backends import offers

TODAY = date(2026, 11, 24)


def test_a_tuned_model_costs_what_its_base_costs():
    assert offers.find("openai", "ft:gpt-4o-mini-2024-07-18:shop:x:1") == offers.find(
        "openai", "gpt-4o-mini-2024-07-18"
    )
    assert offers.find("openai", "gpt-9") is None


def test_what_can_be_tuned_today_is_what_the_recipes_tune():
    assert "gpt-4o-mini-2024-07-18" in offers.trainable("openai", TODAY)
    assert set(offers.trainable("gemini", TODAY)) == {
        "gemini-3.5-flash",
        "gemini-3.5-flash-lite",
        "gemini-3.1-flash-lite",
    }
    assert offers.trainable("openai", date(2027, 1, 6)) == []


def test_a_price_nobody_told_is_unknown_and_not_nothing():
    assert offers.find("gemini", "gemini-3.5-flash-lite").training_usd is None


@pytest.mark.parametrize(
    ("model", "today", "needed", "told"),
    [
        ("gpt-4o-mini-2024-07-18", date(2026, 9, 1), None, set()),
        ("gpt-4o-mini-2024-07-18", TODAY, None, {("serving end", "warning"), ("tuning end", "warning")}),
        ("gpt-4o-mini-2024-07-18", date(2027, 1, 5), None, {("serving end", "warning"), ("tuning end", "warning")}),
        ("gpt-4o-mini-2024-07-18", date(2027, 1, 6), None, {("tuning end", "error")}),
        ("gpt-4o-mini-2024-07-18", date(2027, 1, 14), None, {("retired", "error")}),
        ("gpt-4o-mini-2024-07-18", date(2026, 9, 1), date(2027, 2, 1), {("serving end", "error")}),
        ("gemini-3.1-flash-lite", TODAY, date(2027, 5, 1), set()),
        ("gemini-3.1-flash-lite", TODAY, date(2030, 1, 1), {("serving end", "warning")}),
        ("gemini-3.5-flash", date(2027, 3, 1), None, {("serving end", "warning")}),
        ("gemini-3.5-flash-lite", TODAY, None, {("price", "warning")}),
        ("gemini-2.5-flash", TODAY, None, {("retired", "error")}),
        ("models/gemini-1.5-flash-001-tuning", TODAY, None, {("retired", "error")}),
        ("gemini-9", TODAY, None, {("model", "error")}),
    ],
)
def test_life_spans_are_told_by_the_day(model, today, needed, told):
    provider = "openai" if model.startswith("gpt") else "gemini"
    found = offers.findings(provider, model, today, needed)
    assert {(f.rule, f.level) for f in found} == told
    assert all("choose" in f.message for f in found if f.level == "error")
