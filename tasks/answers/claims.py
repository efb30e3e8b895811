"""Claims: an answer checked against a row claim by claim, the same every time, by rules and a few weights.

Four verdicts: *verbatim* (the row's words in the row's order but for function words), *consistent*, *not shown* (the
row does not say it), *contradicted* (the row says otherwise). An answer holds where all its claims are verbatim or
consistent.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from tasks.answers import quoting
from tasks.answers.alignment import DERIVED, SAME, Match, Row, aligned, row_of
from tasks.answers.clauses import clauses, statements
from tasks.answers.contradictions import ClauseSpan, contradictions, swap
from tasks.answers.crossing import listed_as
from tasks.answers.doubt import Clause, doubt
from tasks.answers.tokens import Token, tokens
from tasks.core.models import Frozen

Verdict = Literal["verbatim", "consistent", "not shown", "contradicted"]
NEW = 0.7  # share of words that the row lacks from which a claim is not shown, whatever its weights say
CUT = 0.45  # probability of "not shown" from which it is said

_LABEL = frozenset("describe description follow list feature key specification detail summary answer note".split())


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
    """A sentence beside the row: its content words, their places in the row, and its clauses."""

    words: list[Token]
    matches: list[Match | None]
    clauses: list[Clause]


def check(question: str, answer: str, title: str, content: str) -> Checked:
    """Check `answer` against the row of this title and content."""
    row = row_of(title, content)
    claims, quotes = [], []
    asked = {t.text for t in tokens(question)}
    for looked in (look(_unlabelled(text, row), row) for text in statements(answer)):
        repeated = _repeats(looked.words, asked, row)
        for clause in looked.clauses:
            sentence = _sentence(clause, row)
            claim = _claim(clause, row, sentence)
            if claim.verdict != "contradicted" and repeated:
                claim = Claim(text=clause.text, verdict="not shown", reason="only what was asked", quote=sentence)
            claims.append(claim)
            if sentence is not None and claim.verdict != "contradicted":
                quotes.append(sentence)
    return Checked(claims=tuple(claims), quotes=quoted(question, answer, row, quotes))


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


def look(text: str, row: Row) -> Looked:
    """All that is seen of one sentence beside the row."""
    all_words = tokens(text)
    words = [t for t in all_words if t.content]
    matches = aligned(words, row)
    parts = [
        ClauseSpan(text[start:end].strip(), bisect_left(words, start, key=_start), bisect_left(words, end, key=_start))
        for start, end in clauses(text, all_words)
    ]
    parts = [part for part in parts if part.first < part.end]
    swapped = swap(words, matches, row)
    against = contradictions(words, matches, row, parts, swapped)
    found = []
    for part in parts:
        own = [one for one in against if any(part.first <= n < part.end for n in one.words)]
        said, places = words[part.first : part.end], matches[part.first : part.end]
        gain = swapped.gain if part.first <= swapped.one < part.end or part.first <= swapped.other < part.end else 0.0
        found.append(Clause(part.text, said, places, own, gain))
    return Looked(words, matches, found)


def _start(token: Token) -> int:
    return token.start


def _claim(clause: Clause, row: Row, sentence: Quote | None) -> Claim:
    if verbatim(clause.words, clause.matches, row):
        return Claim(text=clause.text, verdict="verbatim", quote=sentence)
    if clause.against:
        first = clause.against[0]
        place = row.tokens[first.at].sentence if first.at >= 0 else -1
        quote = _quote(row, place) if place >= 0 else sentence
        return Claim(text=clause.text, verdict="contradicted", reason=f"{first.rule}: {first.reason}", quote=quote)
    lacking = [t for t, m in zip(clause.words, clause.matches, strict=True) if m is None]
    new = [t.text for t in lacking]
    told = f"not in the row: {', '.join(new)}" if new else "said in other words"
    plain = not new and all(m and m.score >= DERIVED for m in clause.matches) and clause.swap == 0
    stuff = any(listed_as(t) for t in lacking)
    shown = plain or (not stuff and doubt(clause) < CUT and len(new) <= NEW * len(clause.words))
    return Claim(text=clause.text, verdict="consistent" if shown else "not shown", reason=told, quote=sentence)


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


def _sentence(clause: Clause, row: Row) -> Quote | None:
    """The sentence of the row that has most of the claim."""
    worth: dict[int, float] = {}
    for token, match in zip(clause.words, clause.matches, strict=True):
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
