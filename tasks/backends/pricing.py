"""Pricing: what a link will cost, as a range where the provider decides, and what a job has cost.

Training is billed as tokens of the training file times epochs; validation tokens are free. (OpenAI's fine-tuning guide;
Vertex bills the same product.)
"""

from __future__ import annotations

from typing import Literal

from tasks.backends import offers, room
from tasks.backends.contract import Link, Quote
from tasks.backends.offers import Offer
from tasks.examples import counting
from tasks.recipe.tuning import Tune

MILLION = 1e6
ARMS = 4  # every question is asked of two models, twice each
WIDER = 4 / 3  # upper bound of a token estimate from before exports kept one
PROMPT = 200  # tokens of a question, a generous estimate


def of_link(link: Link, epochs: int | Literal["auto"] | None, offer: Offer | None) -> Quote:
    """The quote of a link whose exports have their tokens counted; with the answers to its questions.

    None stands for what is unknown: a count, a price, or epochs that a service chooses by rules it does not publish.
    """
    examples, counts = sum(e.examples for e in link.train), [e.tokens for e in link.train]
    counted = None if None in counts else sum(count or 0 for count in counts)
    exact = link.backend == "openai" and counting.encoding_name(link.base_model) is not None
    least, most = _epochs(epochs, examples)
    low = high = None
    if counted is not None:
        width = 1.0 if exact else counting.FEWER
        low = round(counted * least * width)
        highs = [e.tokens_high or (e.tokens or 0) * (1 if exact else WIDER) for e in link.train]
        high = None if most is None else round(sum(highs) * most)
    price = offer.training_usd if offer else None
    answers = _answers(offer, link)
    return Quote(
        examples=examples,
        tokens=None if counted is None else counted * least,
        tokens_high=high,
        usd_low=None if low is None or price is None else low * price / MILLION,
        usd_high=None if high is None or price is None else high * price / MILLION + answers,
        basis=_basis(offer, least, most, exact),
        as_of=offer.as_of.isoformat() if offer else None,
        source=offer.source if offer else None,
        exact=exact,
        answers_usd=answers,
    )


def _epochs(epochs: int | Literal["auto"] | None, examples: int) -> tuple[int, int | None]:
    """Fewest and most epochs. What `auto` means is not published; OpenAI's cookbook aims at 3, more for few rows."""
    if isinstance(epochs, int):
        return epochs, epochs
    if epochs is None:
        return 1, None
    return 1, max(3, min(25, 100 // max(examples, 1)))


def _answers(offer: Offer | None, link: Link) -> float:
    """An upper bound for asking the questions; 0 where the price is unknown, since it is hundredths of the training."""
    if offer is None or offer.input_usd is None or offer.output_usd is None:
        return 0.0
    tokens = link.answer_tokens + min(room.MOST, room.MORE * link.answer_tokens)  # each may be asked once more
    return ARMS * link.asked * (2 * PROMPT * offer.input_usd + tokens * offer.output_usd) / MILLION


def _basis(offer: Offer | None, least: int, most: int | None, exact: bool) -> str:
    """How the numbers were computed, for a person."""
    many = str(least) if least == most else f"{least} to {'an unknown number of' if most is None else most}"
    how = "counted with o200k_base" if exact else "estimated by script"
    sentence = f"estimate: tokens {how}, x {many} epochs"
    if offer is None or offer.training_usd is None:
        return f"{sentence}; the price of tuning is unknown"
    return f"{sentence}, ${offer.training_usd:g} per million (as of {offer.as_of}, {offer.source})"


def billed_usd(offer: Offer | None, tokens: int) -> float | None:
    """The cost of these billed tokens in US dollars; None if the price is unknown."""
    if offer is None or offer.training_usd is None:
        return None
    return tokens * offer.training_usd / MILLION


def of_answer(tune: Tune, prompt_tokens: int, answer_tokens: int) -> float | None:
    """US dollars for one answer; 0 if the model is local, None if the price is unknown."""
    if tune.kind == "local":
        return 0.0
    offer = offers.lookup(tune)
    if offer is None or offer.input_usd is None or offer.output_usd is None:
        return None
    return (prompt_tokens * offer.input_usd + answer_tokens * offer.output_usd) / MILLION
