"""Aspects: what a question asks of a product (its weight, who wrote it), and how a row's sentence says such a thing."""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml


class Aspect(NamedTuple):
    """One thing that questions ask; `said`, `names` (with capitals) and `measures` are how a sentence says it."""

    name: str
    asked: re.Pattern[str]
    said: re.Pattern[str]
    names: re.Pattern[str] | None
    measures: tuple[str, ...]

    def answered(self, sentence: str) -> bool:
        """Whether a sentence has the words in which such a thing is said."""
        return bool(self.said.search(folded(sentence)) or (self.names and self.names.search(sentence)))


@cache
def every() -> tuple[Aspect, ...]:
    """All aspects of `aspects.yaml`."""
    held = yaml.safe_load((Path(__file__).parent / "aspects.yaml").read_text(encoding="utf-8"))
    return tuple(_aspect(name, of) for name, of in held.items())


def _aspect(name: str, of: dict[str, Any]) -> Aspect:
    asked, said = (re.compile(re.sub(r"\|\s+", "|", of[part])) for part in ("asked", "said"))
    names = re.compile(of["names"]) if "names" in of else None
    return Aspect(name, asked, said, names, tuple(of.get("measures", ())))


def of(question: str) -> tuple[Aspect, ...]:
    """What a question asks for, in the order of the file; nothing where it only names a product."""
    text = folded(question)
    return tuple(aspect for aspect in every() if aspect.asked.search(text))


def folded(text: str) -> str:
    """Lower case, without accents."""
    return "".join(c for c in unicodedata.normalize("NFKD", text.lower()) if not unicodedata.combining(c))
