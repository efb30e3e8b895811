"""Offers: base models that a provider tunes, what they cost, and until when, from offers.yaml."""

from __future__ import annotations

import os
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tasks.backends import endpoint
from tasks.backends.contract import Link
from tasks.core.models import Finding, Frozen
from tasks.examples.counting import base_of
from tasks.recipe.tuning import OpenAITune, Prices, Tune

SOON = timedelta(days=90)


class Offer(Frozen):
    """One base model. Prices are US dollars for a million tokens, None if they are not published."""

    provider: str
    model: str
    training_usd: float | None
    input_usd: float | None
    output_usd: float | None
    last_tuning_day: date | None  # None where no end is announced
    last_serving_day: date | None
    served_until: date | None = None  # it is not retired before this day; what happens after it is not announced
    regions: tuple[str, ...] = ()  # where it is tuned
    note: str | None = None  # anything else to know before tuning it
    as_of: date
    source: str


@cache
def _read() -> dict[str, dict[str, Any]]:
    sections: dict[str, dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "offers.yaml").read_text())
    return sections


@cache
def _all() -> dict[str, dict[str, Offer]]:
    return {
        provider: {model: Offer(provider=provider, model=model, **values) for model, values in models.items()}
        for provider, models in _read().items()
        if provider != "hosts"
    }


def hosts() -> dict[str, str]:
    """{domain: section} of the endpoints whose prices are known."""
    return dict(_read()["hosts"])


def priced(offer: Offer | None, provider: str, model: str, prices: Prices | None) -> Offer | None:
    """The offer with the recipe's prices in place of its own; without an offer, one made from these prices alone."""
    if prices is None:
        return offer
    given = prices.model_dump(exclude_none=True) | {"source": "the recipe's tune.prices"}
    if offer is not None:
        return offer.model_copy(update=given)
    missing: dict[str, Any] = dict.fromkeys(
        ("training_usd", "input_usd", "output_usd", "last_tuning_day", "last_serving_day")
    )
    return Offer(**(missing | {"provider": provider, "model": model, "as_of": date.today()} | given))


def find(provider: str, model: str) -> Offer | None:
    """The offer of a base model, or of the base of a tuned one; None where it is not known."""
    known = _all()[provider]
    name = base_of(model).removeprefix("models/")
    return known.get(name)


def section(tune: OpenAITune) -> str | None:
    """The section of offers.yaml for the endpoint of `tune`; None if the endpoint is unknown.

    A simulator of OpenAI that the environment names offers what OpenAI does.
    """
    url = tune.base_url or os.environ.get("OPENAI_BASE_URL") or None
    if endpoint.identity(url, "api.openai.com") is None or (endpoint.is_loopback(url) and tune.base_url is None):
        return "openai"
    return endpoint.offered(url, hosts())


def lookup(tune: Tune) -> Offer | None:
    """The offer for the base of a remote `tune`: with the recipe's prices, else those of offers.yaml."""
    if isinstance(tune, OpenAITune):
        there = section(tune)
        known = find(there, tune.base_model) if there else None
        return priced(known, there or "openai", tune.base_model, tune.prices)
    return find(tune.kind, tune.base_model)


def trainable(provider: str, today: date) -> list[str]:
    """Models that can be tuned on this day."""
    return [o.model for o in _all()[provider].values() if o.last_tuning_day is None or today <= o.last_tuning_day]


def today() -> date:
    """The day, in UTC."""
    return datetime.now(UTC).date()


def needed_until(link: Link) -> date | None:
    """The day of the chain's next retrain, until which the model must be served; None where none is planned."""
    days = link.retrain_days
    return None if days is None else today() + timedelta(days=days)


def findings(
    provider: str, model: str, today: date, needed_until: date | None, prices: Prices | None = None
) -> list[Finding]:
    """Reasons against tuning `model` today for use until `needed_until`. A recipe's `prices` replace missing ones."""
    offer, others = find(provider, model), ", ".join(trainable(provider, today)) or "no model any more"
    if offer is None:
        message = f"model {model!r} is not known to be tunable: choose one of {others}"
        return [Finding(rule="model", level="error", message=message)]
    listed = []
    tuning, serving = offer.last_tuning_day, offer.last_serving_day
    if serving and today > serving:
        message = f"model {model!r} was retired after {serving}: choose one of {others}"
        return [Finding(rule="retired", level="error", message=message)]
    if tuning and today > tuning:
        message = f"model {model!r} takes no new jobs since {tuning + timedelta(days=1)}: choose one of {others}"
        return [Finding(rule="tuning end", level="error", message=message)]
    if serving and needed_until and serving < needed_until:
        message = f"model {model!r} is served until {serving}, the next retrain is on {needed_until}: choose another"
        listed.append(Finding(rule="serving end", level="error", message=message))
    elif serving and serving - today < SOON:
        message = f"what is tuned on {model!r} is served until {serving}, {(serving - today).days} days from today"
        listed.append(Finding(rule="serving end", level="warning", message=message))
    if tuning and tuning - today < SOON:
        message = f"{model!r} takes new jobs until {tuning}, {(tuning - today).days} days from today"
        listed.append(Finding(rule="tuning end", level="warning", message=message))
    until = offer.served_until
    if until and serving is None and (until < (needed_until or today) or until - today < SOON):
        message = f"{model!r} is served until {until} at least; when it is retired after that is not announced"
        listed.append(Finding(rule="serving end", level="warning", message=message))
    if offer.note:
        listed.append(Finding(rule="offer", level="warning", message=f"{model!r}: {offer.note}"))
    if offer.training_usd is None and (prices is None or prices.training_usd is None):
        message = f"the price of tuning {model!r} is unknown"
        listed.append(Finding(rule="price", level="warning", message=message))
    return listed
