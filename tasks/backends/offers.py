"""Offers: base models that a provider tunes, what they cost, and until when, from offers.yaml."""

from __future__ import annotations

from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tasks.examples.counting import base_of
from tasks.models import Finding, Frozen

SOON = timedelta(days=90)


class Offer(Frozen):
    """One base model. Prices are US dollars for a million tokens, None where nobody has told them."""

    provider: str
    model: str
    training_usd: float | None
    input_usd: float | None
    output_usd: float | None
    last_tuning_day: date | None  # None where no end is announced
    last_serving_day: date | None
    as_of: date
    source: str


@cache
def _all() -> dict[str, dict[str, Offer]]:
    told: dict[str, dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "offers.yaml").read_text())
    return {
        provider: {model: Offer(provider=provider, model=model, **values) for model, values in models.items()}
        for provider, models in told.items()
    }


def find(provider: str, model: str) -> Offer | None:
    """The offer of a base model, or of the base of a tuned one; None where it is not known."""
    known = _all()[provider]
    name = base_of(model).removeprefix("models/")
    return known.get(name)


def trainable(provider: str, today: date) -> list[str]:
    """Models that can be tuned on this day."""
    return [o.model for o in _all()[provider].values() if o.last_tuning_day is None or today <= o.last_tuning_day]


def findings(provider: str, model: str, today: date, needed_until: date | None) -> list[Finding]:
    """What speaks against tuning `model` today for use until `needed_until`."""
    offer, others = find(provider, model), ", ".join(trainable(provider, today)) or "no model any more"
    if offer is None:
        message = f"model {model!r} is not known to be tunable: choose one of {others}"
        return [Finding(rule="model", level="error", message=message)]
    found = []
    tuning, serving = offer.last_tuning_day, offer.last_serving_day
    if serving and today > serving:
        message = f"model {model!r} was retired after {serving}: choose one of {others}"
        return [Finding(rule="retired", level="error", message=message)]
    if tuning and today > tuning:
        message = f"model {model!r} takes no new jobs since {tuning + timedelta(days=1)}: choose one of {others}"
        return [Finding(rule="tuning end", level="error", message=message)]
    if serving and needed_until and serving < needed_until:
        message = f"model {model!r} is served until {serving}, the next retrain is on {needed_until}: choose another"
        found.append(Finding(rule="serving end", level="error", message=message))
    elif serving and serving - today < SOON:
        message = f"what is tuned on {model!r} is served until {serving}, {(serving - today).days} days from today"
        found.append(Finding(rule="serving end", level="warning", message=message))
    if tuning and tuning - today < SOON:
        message = f"{model!r} takes new jobs until {tuning}, {(tuning - today).days} days from today"
        found.append(Finding(rule="tuning end", level="warning", message=message))
    if offer.training_usd is None:
        message = f"the price of tuning {model!r} is unknown"
        found.append(Finding(rule="price", level="warning", message=message))
    return found
