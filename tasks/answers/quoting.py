"""Quoting: which sentences of a row answer a question, by the question alone or by an answer to it too."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection
from typing import NamedTuple

from tasks.answers import aspects
from tasks.answers.alignment import Row, aligned
from tasks.answers.tokens import FUNCTION, Token, tokens

MOST = 2  # sentences of a quotation
CLAIMED, SAYS, MEASURES, TITLE = 1.0, 0.9, 1.5, 0.2  # worth of a sentence: a word of the question is worth 1
FIRST, WHOLE, GOES_ON = 0.5, 0.8, 0.5  # of the first sentence, of a long one, of one that goes on with the one before
LONG = 24  # words of a sentence that says much
_GOES_ON = re.compile(r"(?:he|she|it|they|this|these|his|her|its|their|in addition|also)\b", re.IGNORECASE)


class Evidence(NamedTuple):
    """What speaks for one sentence: words of question and answer by their number, and its worth beside them."""

    words: dict[int, float]
    beside: float


def chosen(question: str, answer: str, row: Row, claimed: Collection[int] = ()) -> list[int]:
    """The numbers of at most two sentences of `row`, in their order: the best one, and what adds most to it.

    `claimed` are sentences that claims of the answer were held to. Without an answer the question alone decides.
    """
    evidence = _evidence(question, answer, row, claimed)
    picked: list[int] = []
    covered: set[int] = set()
    while len(picked) < min(MOST, len(evidence)):
        worth = {
            n: sum(score for word, score in of.words.items() if word not in covered)
            + of.beside
            + (GOES_ON if n - 1 in picked and _GOES_ON.match(_text(row, n)) else 0.0)
            for n, of in enumerate(evidence)
            if n not in picked
        }
        best = max(worth, key=lambda n: (worth[n], -n))
        picked.append(best)
        covered |= set(evidence[best].words)
    return sorted(picked)


def _evidence(question: str, answer: str, row: Row, claimed: Collection[int]) -> list[Evidence]:
    title = {t.text for t in tokens(row.title)}
    wanted = [t for t in tokens(answer) if t.content]
    wanted += [t for t in tokens(question) if t.content and t.text not in title and t.text not in FUNCTION]
    words: dict[int, dict[int, float]] = defaultdict(dict)
    for n, (_, match) in enumerate(zip(wanted, aligned(wanted, row), strict=True)):
        if match and row.tokens[match.at].sentence >= 0:
            words[row.tokens[match.at].sentence][n] = match.score
    held: dict[int, list[Token]] = defaultdict(list)
    for token in row.all:
        held[token.sentence].append(token)
    asked = aspects.of(question)
    return [
        Evidence(words[n], _beside(n, held[n], title, asked, row) + (CLAIMED if n in claimed else 0.0))
        for n in range(len(row.sentences))
    ]


def _beside(n: int, held: list[Token], title: set[str], asked: tuple[aspects.Aspect, ...], row: Row) -> float:
    """The worth of a sentence beside the words that it shares with question and answer."""
    content = [t for t in held if t.content]
    worth = FIRST / (1 + n) + min(1.0, TITLE * len({t.text for t in content} & title))
    if not asked:  # what is it? the sentence that says most
        return worth + WHOLE * min(1.0, len(content) / LONG)
    text = _text(row, n)
    worth += SAYS * sum(aspect.answered(text) for aspect in asked) / len(asked)
    kinds = {kind for aspect in asked for kind in aspect.measures}
    measured = any(t.value is not None and ("*" in kinds or t.kind in kinds) for t in held)
    return worth + (MEASURES if measured else 0.0)


def _text(row: Row, n: int) -> str:
    start, end = row.sentences[n]
    return row.content[start:end]
