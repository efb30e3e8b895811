"""Facts: what a row states that a person may ask for, the question it answers, and its words cut to that question."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from tasks.answers.sentences import sentences
from tasks.examples.grounding import clip

VERSION = 2  # bump it when a row may state something else, or is asked about otherwise
LOOKED_AT = 3_000  # characters of a content in which facts are looked for
LONGEST, CLAIM = 300, 200  # characters of a sentence that states a fact, and of the claim that is cut from it
NAMED = 70  # characters of a title that is said whole in a question
SHORTER = 0.7  # share of a sentence's words below which a claim is followed by its sentence

# Where a claim may be cut out of its sentence: never between the members of a list.
_CUT = re.compile(
    r"\s*;\s*|\s+[-\u2013\u2014]+\s+|\s*(?:--|\u2014)\s*|:\s+|\s+(?=but\b)"
    r"|,\s+(?=(?:and|but|so|yet|which|who|while|making|because|as|it|they|you|he|she|this|these)\s)"
)
_LEAD = re.compile(r"^(?:and|but|so|yet|while|because|as)\s+", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d_]{4,}")
_ARTICLE = re.compile(r"(?:the|an?)\s", re.IGNORECASE)
_TAIL = re.compile(r"\s*(?:[,:(\[|]| - | \u2013 | \u2014 ).*$")


class Fact(NamedTuple):
    """A thing that a row states. `value` are the words that answer a question for it; {x} in that is the product."""

    kind: str
    asks: tuple[str, ...]  # the questions that a model is taught
    tried: str  # another one, by which models are compared
    value: str
    claim: str  # the part of the sentence that states it, verbatim
    sentence: str

    @property
    def answer(self) -> str:
        """The claim as a sentence, and where that is only a part of the row's sentence, that sentence as a quote."""
        told = self.claim[0].upper() + self.claim[1:]
        told += "" if told[-1] in ".!?" else "."
        whole = len(self.claim.split()) >= SHORTER * len(self.sentence.split())
        return told if whole else f'{told} "{self.sentence}"'


class _Kind(NamedTuple):
    """A kind of fact: how rows state it, how people ask for it, and the questions that are made of it."""

    says: tuple[re.Pattern[str], ...]
    asked: re.Pattern[str]
    asks: tuple[str, ...]
    tried: str


@cache
def _kinds() -> dict[str, _Kind]:
    held: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "facts.yaml").read_text(encoding="utf-8"))

    def filled(pattern: str) -> re.Pattern[str]:
        for name, part in held["parts"].items():
            pattern = pattern.replace(f"{{{name}}}", part)
        return re.compile(pattern, re.IGNORECASE)

    return {
        name: _Kind(
            says=tuple(filled(pattern) for pattern in kind["says"]),
            asked=re.compile(kind["asked"], re.IGNORECASE),
            asks=tuple(kind["asks"]),
            tried=kind["tried"],
        )
        for name, kind in held["kinds"].items()
    }


def facts(content: str) -> list[Fact]:
    """What a content states, at most one fact of a kind, the first; in the order of the kinds."""
    return [found for name in _kinds() if (found := next(of_kind(content, name), None))]


def of_kind(content: str, name: str) -> Iterator[Fact]:
    """All facts of one kind that a content states, in its order."""
    text, kind = content[:LOOKED_AT], _kinds()[name]
    if any(pattern.search(text) for pattern in kind.says):
        yield from _stated(name, kind, [text[a:b] for a, b in sentences(text) if b - a <= LONGEST])


def _stated(name: str, kind: _Kind, parts: Sequence[str]) -> Iterator[Fact]:
    for sentence in parts:
        for pattern in kind.says:
            for match in pattern.finditer(sentence):
                claim = _clause(sentence, *match.span("value"))
                value = match["value"].strip(" ,")
                if value in claim and len(claim) <= CLAIM:
                    more = {key: said for key, said in match.groupdict().items() if key != "value"}
                    asks = tuple(_filled(ask, more) for ask in kind.asks)
                    yield Fact(name, asks, _filled(kind.tried, more), value, claim, sentence)


def _filled(ask: str, more: dict[str, str]) -> str:
    for key, said in more.items():
        many = said if key != "what" or said.endswith("s") or said in ("mAh", "psi", "horsepower") else f"{said}s"
        ask = ask.replace(f"{{{key}}}", many)
    return ask


def _clause(sentence: str, start: int, end: int) -> str:
    """The part of a sentence between cuts that has the words from `start` to `end`."""
    cuts = [(0, 0), *(found.span() for found in _CUT.finditer(sentence)), (len(sentence), len(sentence))]
    first = max(after for _, after in cuts if after <= start)
    last = min(before for before, _ in cuts if before >= end)
    clause = _LEAD.sub("", sentence[first:last].strip(" ,"))
    return clause if len(clause.split()) > 2 else sentence


def asked_for(question: str) -> list[str]:
    """The kinds of facts that a question may ask for, in any words of it; none where it asks for something else."""
    return [name for name, kind in _kinds().items() if kind.asked.search(question)]


def asking(fact: Fact, name: str, seed: int) -> str:
    """One of the questions that are taught of a fact, about what is called `name`; the same for the same seed."""
    return about(fact.asks[seed % len(fact.asks)], name)


def about(ask: str, name: str) -> str:
    """A question with `{x}` about what is called `name`."""
    return (ask.replace("the {x}", "{x}") if _ARTICLE.match(name) else ask).replace("{x}", name)


def called(title: str) -> str:
    """A title as it is said in a question: a long one without what stands behind its first comma or dash."""
    if len(title) <= NAMED:
        return title
    short = _TAIL.sub("", title)
    return short if 8 <= len(short) <= NAMED else clip(title, NAMED)


def window(content: str, question: str, title: str, most: int) -> str:
    """The sentences of `content` that say what `question` asks for, then its first ones, within `most` characters.

    They stand in the order of the content. Where the question asks for nothing of its own, that is the head.
    """
    if len(content) <= most:
        return content
    kinds = [_kinds()[name] for name in asked_for(question)]
    named = {word[:5] for word in _WORD.findall(title.lower())}
    wanted = {word[:5] for word in _WORD.findall(question.lower())} - named
    worth = []
    for number, (a, b) in enumerate(sentences(content)):
        text = content[a:b]
        states = next((n for n, kind in enumerate(kinds) if any(p.search(text) for p in kind.says)), None)
        said = {word[:5] for word in _WORD.findall(text.lower())}
        worth.append((3.0 * (states is not None) + len(wanted & said), -number, a, b))
    if not any(value for value, *_ in worth):
        return clip(content, most)
    chosen, room = list[tuple[int, int]](), most
    for _, _, a, b in sorted(worth, reverse=True):
        if b - a < room:
            chosen.append((a, b))
            room -= b - a + 1
    return " ".join(content[a:b] for a, b in sorted(chosen)) or clip(content, most)
