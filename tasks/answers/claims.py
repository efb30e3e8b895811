"""Claims: an answer checked against a row claim by claim, the same every time, by rules and a few weights.

Four verdicts: *verbatim* (the row's words in the row's order but for function words), *consistent*, *not shown* (the
row does not say it), *contradicted* (the row says otherwise). An answer holds where all its claims are verbatim or
consistent.
"""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

from tasks.answers import quoting
from tasks.answers.alignment import ABOVE, DERIVED, SAME, Match, Row, aligned, row_of
from tasks.answers.contradictions import Contradiction, contradictions, listed_as, swap
from tasks.answers.sentences import sentences
from tasks.answers.tokens import Token, tokens
from tasks.core.models import Frozen

Verdict = Literal["verbatim", "consistent", "not shown", "contradicted"]
NEW = 0.7  # share of words that the row lacks from which a claim is not shown, whatever its weights say
CUT = 0.5  # probability of "not shown" from which it is said

_CITED = re.compile(r"\s*\[[A-Za-z0-9_.:-]{1,64}\]|\u3010[^\u3011]{1,64}\u3011")
_MARKS = re.compile(
    r"(?m)^\s{0,6}(?:#{1,6}\s+|>\s?|[-*+\u2022]\s+|\d{1,2}[.)]\s+)|\*\*|__|`|(?<!\w)[*_](?=\w)|(?<=[\w.!?])[*_](?!\w)"
)
_HEADING = re.compile(r"(?m)^\s*(?:#{1,6} .*|\*\*[^*\n]{1,40}\*\*:?|[^\n.!?]{1,40}:)\s*$")
_HEDGE = re.compile(
    r"\b(?:according to the (?:listing|description|row|catalogue|text|product page|author|review)|"
    r"it (?:seems|appears)(?: so| that| to be)?|seems? to be|appears? to be|"
    r"(?:the|its) (?:listing|description|text|row|page) (?:says|mentions|states|notes|describes)(?: that)?|"
    r"(?:the )?(?:listing|description) does(?:n't| not) say (?:much|more)[^,.;]*,? ?(?:but)?)\b[:,]?",
    re.IGNORECASE)  # fmt: skip
_LABEL = frozenset("describe description follow list feature key specification detail summary answer note".split())
_YES = re.compile(
    r"^\s*(?P<said>yes|no|yep|nope|correct|indeed|better not|not quite)\b\s*(?:[,.:;!\u2013\u2014-]+\s*|$)",
    re.IGNORECASE,
)


class Quote(Frozen):
    """A sentence of the row, verbatim: `start` to `end` of its content."""

    start: int
    end: int
    text: str


class Claim(Frozen):
    """One claim of an answer. `reason` says why it is not verbatim; `quote` is the sentence that it was held to."""

    text: str
    verdict: Verdict
    reason: str = ""
    quote: Quote | None = None


class Checked(Frozen):
    """An answer checked against one row. `quotes` are at most two sentences: for the answer and for the question."""

    claims: tuple[Claim, ...]
    quotes: tuple[Quote, ...]

    @property
    def holds(self) -> bool:
        """Whether every claim is verbatim or consistent; an answer without a claim does not hold."""
        return bool(self.claims) and all(c.verdict in ("verbatim", "consistent") for c in self.claims)


class Looked(NamedTuple):
    """A claim beside the row: its content tokens, their places, what speaks against it, and what the weights weigh."""

    text: str
    said: list[Token]
    found: list[Match | None]
    against: list[Contradiction]
    features: list[float]


NAMES = """bias nouns verbs adjectives adverbs names numbers unknown above share negation opposite displaced swap
    yes only spread""".split()


def check(question: str, answer: str, title: str, content: str) -> Checked:
    """Check `answer` against the row of this title and content."""
    row = row_of(title, content)
    claims, quotes = [], []
    asked = {t.text for t in tokens(question)}
    for looked in (look(_unlabelled(text, row), yes, row) for text, yes in split(answer)):
        if not looked.said:
            continue
        sentence = _sentence(looked, row)
        claim = _claim(looked, row, sentence)
        if claim.verdict != "contradicted" and _repeats(looked.said, asked, row):
            claim = Claim(text=looked.text, verdict="not shown", reason="only what was asked", quote=sentence)
        claims.append(claim)
        if sentence is not None and claims[-1].verdict != "contradicted":
            quotes.append(sentence)
    return Checked(claims=tuple(claims), quotes=quoted(question, answer, row, quotes))


def split(answer: str) -> list[tuple[str, bool]]:
    """The claims of an answer without Markdown, citations and hedges; and whether "Yes" led each of them in."""
    text = _HEADING.sub("", html.unescape(answer))
    text = _HEDGE.sub(" ", _MARKS.sub("", _CITED.sub("", text)))
    found = []
    for start, end in sentences(text):
        for part in re.split(r";\s+", text[start:end]):
            led = _YES.match(part)
            part = part[led.end() :] if led else part
            if any(c.isalnum() for c in part):
                found.append((part.strip(), bool(led and led["said"].lower() in ("yes", "yep", "correct", "indeed"))))
    return found


def _repeats(said: Sequence[Token], asked: set[str], row: Row) -> bool:
    """Whether a claim is the title said again, which the question had and the content does not say."""
    told = all(any(row.tokens[n].sentence >= 0 for n in row.by.get(t.text, ())) for t in said)
    return not told and all(t.text in asked and row.by_title(t) for t in said)


def _unlabelled(text: str, row: Row) -> str:
    """A claim without "The Copper Kettle is described like this:" before it, which claims nothing."""
    head, colon, rest = text.partition(": ")
    while colon and rest and all(row.by_title(t) or _LABEL & set(t.meaning.lemmas) for t in tokens(head) if t.content):
        text = rest
        more, colon, rest = rest.partition(": ")
        head = f"{head} {more}"
    return text


def look(text: str, yes: bool, row: Row) -> Looked:
    """All that is seen of one claim beside the row."""
    said = [t for t in tokens(text) if t.content]
    found = aligned(said, row)
    against = contradictions(said, found, row, text)
    return Looked(text, said, found, against, _features(said, found, row, against, yes))


def _features(
    said: Sequence[Token], found: Sequence[Match | None], row: Row, against: Sequence[Contradiction], yes: bool
) -> list[float]:
    new = [t for t, m in zip(said, found, strict=True) if m is None]
    above = sum(m is not None and m.score <= ABOVE for m in found)
    plain = [t for t in new if t.value is None and not t.name and not t.code]
    count = {pos: sum(t.meaning.pos == pos for t in plain) for pos in "nvar"}
    rules = {c.rule for c in against}
    spread = len({row.tokens[m.at].sentence for m in found if m})
    return [
        1.0,
        *(min(count[pos], 4) for pos in "nvar"),
        min(3, sum(bool(t.name or t.code or listed_as(t)) for t in new)),
        min(2, sum(t.value is not None and not t.weak for t in new)),
        min(3, sum(not t.meaning.pos for t in plain)),
        min(4, above),
        len(new) / max(1, len(said)),
        float("negation" in rules),
        float("opposite" in rules),
        min(3, _displaced(said, found, row)),
        swap(said, found, row)[0],
        float(yes) * min(1.0, len(new) / 2),
        float(any(t.text in ("only", "all", "every", "never", "always", "entire") for t in new)),
        min(spread, 4) / 2,
    ]


def _displaced(said: Sequence[Token], found: Sequence[Match | None], row: Row) -> int:
    """Words that are not in the row, beside one that is, where the row has another word of their kind at that place."""
    taken, count = {m.at for m in found if m}, 0
    for n, token in enumerate(said):
        if found[n] is not None or token.meaning.pos not in ("n", "a") or token.value is not None:
            continue
        for m in (n - 1, n + 1):
            match = found[m] if 0 <= m < len(said) else None
            if match is None or match.score < DERIVED or abs(said[m].place - token.place) > 1:
                continue
            for at in (match.at - 1, match.at + 1):
                if 0 <= at < len(row.tokens) and at not in taken:
                    held = row.tokens[at]
                    if (
                        held.clause == row.tokens[match.at].clause
                        and held.meaning.pos in ("n", "a")
                        and held.value is None
                    ):
                        count += 1 + bool(held.meaning.above & token.meaning.above)
    return count


@cache
def weights() -> dict[str, float]:
    """The weights of `weights.json`, which `python -m tests.benchmarks.claims learn` writes."""
    return dict(json.loads((Path(__file__).parent / "weights.json").read_text()))


def doubt(features: Sequence[float]) -> float:
    """The probability, 0 to 1, that a claim of these features is not shown by its row."""
    held = weights()
    return 1 / (1 + math.exp(-sum(held.get(name, 0.0) * x for name, x in zip(NAMES, features, strict=True))))


def _claim(looked: Looked, row: Row, sentence: Quote | None) -> Claim:
    if verbatim(looked.said, looked.found, row):
        return Claim(text=looked.text, verdict="verbatim", quote=sentence)
    if looked.against:
        first = looked.against[0]
        place = row.tokens[first.at].sentence if first.at >= 0 else -1
        quote = _quote(row, place) if place >= 0 else sentence
        return Claim(text=looked.text, verdict="contradicted", reason=f"{first.rule}: {first.reason}", quote=quote)
    lacking = [t for t, m in zip(looked.said, looked.found, strict=True) if m is None]
    new = [t.text for t in lacking]
    told = f"not in the row: {', '.join(new)}" if new else "said in other words"
    plain = (
        not new and all(m and m.score >= DERIVED for m in looked.found) and swap(looked.said, looked.found, row)[0] == 0
    )
    stuff = any(listed_as(t) for t in lacking)
    shown = plain or (not stuff and doubt(looked.features) < CUT and len(new) <= NEW * len(looked.said))
    return Claim(text=looked.text, verdict="consistent" if shown else "not shown", reason=told, quote=sentence)


def verbatim(said: Sequence[Token], found: Sequence[Match | None], row: Row) -> bool:
    """Whether the content words stand in the row one after the other, with the same negations and bounds.

    Words of the title may come before ("The Copper Kettle holds two litres").
    """
    runs = list(zip(said, found, strict=True))
    while runs and runs[0][1] is not None and row.by_title(runs[0][0]) and not _starts(runs, row):
        runs.pop(0)
    if len(runs) < 2:
        return bool(runs) and runs[0][0].value is not None and _equal(runs[0][0], runs[0][1], row)
    return all(_equal(token, match, row) for token, match in runs) and _starts(runs, row)


def _starts(runs: Sequence[tuple[Token, Match | None]], row: Row) -> bool:
    """Whether the words stand one after the other, as they are here, somewhere in the row."""
    first = runs[0][0]
    for at in row.by.get(first.text, ()) if first.value is None else row.numbers:
        held = row.tokens[at : at + len(runs)]
        if (
            len(held) == len(runs)
            and held[0].sentence == held[-1].sentence
            and all(_same(t, h) for (t, _), h in zip(runs, held, strict=True))
        ):
            return True
    return False


def _same(token: Token, held: Token) -> bool:
    if (token.value is None) != (held.value is None) or token.negated != held.negated:
        return False
    if token.value is not None:
        return token.value == held.value and token.kind == held.kind and token.bound == held.bound
    return token.text == held.text or bool(set(token.meaning.lemmas) & set(held.meaning.lemmas))


def _equal(token: Token, match: Match | None, row: Row) -> bool:
    return match is not None and match.score >= SAME


def _quote(row: Row, sentence: int) -> Quote | None:
    if not 0 <= sentence < len(row.sentences):
        return None
    start, end = row.sentences[sentence]
    return Quote(start=start, end=end, text=row.content[start:end])


def _sentence(looked: Looked, row: Row) -> Quote | None:
    """The sentence of the row that has most of the claim."""
    worth: dict[int, float] = {}
    for token, match in zip(looked.said, looked.found, strict=True):
        if match and row.tokens[match.at].sentence >= 0:
            at = row.tokens[match.at].sentence
            worth[at] = worth.get(at, 0.0) + match.score * (1.5 if token.value is not None or token.name else 1.0)
    return _quote(row, max(worth, key=lambda s: (worth[s], -s))) if worth else None


def quoted(question: str, answer: str, row: Row, claimed: Sequence[Quote] = ()) -> tuple[Quote, ...]:
    """At most two sentences of the row that answer the question; see `quoting`."""
    held = {row.sentences.index((q.start, q.end)) for q in claimed if (q.start, q.end) in row.sentences}
    return tuple(q for n in quoting.chosen(question, answer, row, held) if (q := _quote(row, n)) is not None)


def told(checked: Checked) -> list[dict[str, Any]]:
    """The claims as `shardtune verify --json` shows them."""
    return [claim.model_dump(mode="json") for claim in checked.claims]
