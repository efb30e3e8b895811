"""Metrics of one answer beside the original content. They measure likeness; only the numbers say something of truth."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from statistics import fmean
from typing import Any

from tasks.core.models import Frozen

NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
REFUSAL = re.compile(
    r"\b(?:i(?:'m| am) sorry|i (?:cannot|can't|could not|couldn't|do not|don't|am unable to|was unable to) "
    r"(?:find|provide|have|answer|help|know)|as an ai|no information (?:is )?(?:available|found))\b",
    re.IGNORECASE,
)


class Score(Frozen):
    """One answer: chrF 0-100, ROUGE-L F1 0-1, share of its numbers that content or question hold (None: no number)."""

    chrf: float
    rouge_l: float
    numbers_supported: float | None
    refused: bool
    characters: int


def score(answer: str, content: str, question: str) -> Score:
    """Score one answer against the original content of the product asked about."""
    return Score(
        chrf=round(_chrf().sentence_score(answer, [content]).score, 3),
        rouge_l=round(_rouge().score(content, answer)["rougeL"].fmeasure, 4),
        numbers_supported=numbers_supported(answer, f"{content} {question}"),
        refused=refused(answer),
        characters=len(answer),
    )


def numbers_supported(answer: str, source: str) -> float | None:
    """Share of the numbers in `answer` that occur in `source` as whole numbers; None where it has none."""
    said = [plain(n) for n in NUMBER.findall(answer)]
    held = {plain(n) for n in NUMBER.findall(source)}
    return round(fmean(n in held for n in said), 4) if said else None


def plain(number: str) -> str:
    """A number in one spelling: 1,000 and 1000 are one number, and so are 2.50 and 2.5; 2.5 and 25 are two."""
    grouped = re.fullmatch(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?", number)
    text = number.replace(",", "") if grouped else number.replace(",", ".")
    whole, point, rest = text.partition(".")
    rest = rest.rstrip("0") if rest.isdigit() else rest
    return (whole.lstrip("0") or "0") + (f".{rest}" if point and rest else "")


def refused(answer: str) -> bool:
    """Whether the answer says that it cannot answer, or says nothing."""
    return not answer.strip() or REFUSAL.search(answer) is not None


def means(scores: Sequence[Score]) -> dict[str, float]:
    """Means over answers; a measure that no answer has is left out."""
    if not scores:
        return {}
    numbers = [s.numbers_supported for s in scores if s.numbers_supported is not None]
    found = {
        "chrf": fmean(s.chrf for s in scores),
        "rouge_l": fmean(s.rouge_l for s in scores),
        "refused": fmean(s.refused for s in scores),
        "characters": fmean(s.characters for s in scores),
    }
    if numbers:
        found["numbers_supported"] = fmean(numbers)
    return {name: round(value, 4) for name, value in found.items()}


@cache
def _chrf() -> Any:
    from sacrebleu.metrics.chrf import CHRF

    return CHRF()


@cache
def _rouge() -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rougeL"], use_stemmer=True)
