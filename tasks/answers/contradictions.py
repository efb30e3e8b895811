"""Contradictions: what a claim says otherwise than its row. Each rule looks at one thing and says it in a sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tasks.answers.alignment import DERIVED, SAME, Match, Row, wrong_unit
from tasks.answers.tokens import Token
from tasks.answers.words import listed

_OPPOSITES = {
    frozenset(pair.split("/"))
    for pair in "before/after detachable/fixed removable/fixed removable/sewn mono/stereo hardcover/paperback "
    "indoor/outdoor wet/dry "
    "manual/automatic daily/weekly weekly/monthly daily/monthly first/last odd/even above/below over/under "
    "unabridged/abridged fine/coarse more/less more/fewer larger/smaller never/always only/also".split()
}
_ROLES = {
    "author": "write writer author wrote written authored novel memoir authoress",
    "illustrator": "illustrate illustrator illustration draw drawing paint painting watercolour watercolor picture",
    "photographer": "photograph photographer photo", "translator": "translate translator translation",
    "introduction": "introduction foreword preface afterword", "editor": "edit editor edited",
    "producer": "produce producer", "reader": "narrate narrator",
}  # fmt: skip
_ROLE = {word: role for role, known in _ROLES.items() for word in known.split()}
_INCLUDES = re.compile(
    r"\b(?:includ(?:es?|ed|ing)|com(?:es?|ing) with|supplied|you get|consists? of|contains?|in the box|"
    r"provided|free of charge|comes? as)\b"
)
_LACKS = re.compile(
    r"\b(?:(?:not|n't|never) (?:be )?(?:included|supplied|provided|part of)|sold separately|bought separately|"
    r"purchased separately|available separately|separately|not part of|costs? extra|optional|requires?|required|"
    r"compatible|works? with|fits|use with|used with|no [a-z]+ included|recommended|without|shown)\b"
)


def listed_as(token: Token) -> set[str]:
    """Whether a word names a colour or a material, or both: then it is as much a fact as a name."""
    forms = {token.text, *token.meaning.lemmas}
    return {kind for kind in ("colours", "materials") if forms & listed(kind)}


class Contradiction(NamedTuple):
    """What does not agree: the rule, a sentence about it, and the row's token that says otherwise."""

    rule: str
    reason: str
    at: int


def contradictions(said: Sequence[Token], found: Sequence[Match | None], row: Row, text: str) -> list[Contradiction]:
    """All that the row says otherwise than the claim `text`, whose content tokens are `said`, aligned by `found`."""
    rules = (_negation, _numbers, _bounds, _opposites, _replaced, _includes, _roles, _swapped)
    return [one for rule in rules for one in rule(said, found, row, text)]


def supported(
    n: int, said: Sequence[Token], found: Sequence[Match | None], row: Row, at: int, reach: float = 5
) -> bool:
    """Whether a neighbour of the claim's word `n` lies beside place `at` of the row."""
    here = row.tokens[at].place
    for m in range(max(0, n - 4), min(len(said), n + 5)):
        match = found[m]
        if m != n and match and match.score >= DERIVED and match.at != at:
            other = row.tokens[match.at]
            if (
                abs(other.place - here) <= reach
                and abs(said[m].place - said[n].place) <= reach
                and other.sentence == row.tokens[at].sentence
            ):
                return True
    return False


def _negation(said: Sequence[Token], found: Sequence[Match | None], row: Row, text: str) -> Iterator[Contradiction]:
    agreed = {
        row.tokens[m.at].sentence
        for t, m in zip(said, found, strict=True)
        if m and m.score >= DERIVED and t.negated and row.tokens[m.at].negated
    }
    for n, (token, match) in enumerate(zip(said, found, strict=True)):
        if match is None or match.score < DERIVED or row.tokens[match.at].sentence < 0 or token.value is not None:
            continue
        held = row.tokens[match.at]
        if (
            token.meaning.pos not in ("n", "v", "a")
            or token.text[:3] != held.text[:3]
            or token.text in ("under", "over")
        ):
            continue
        if token.meaning.pos == "n" and held.sentence in agreed:  # "do not submerge the lantern": it is not denied
            continue
        against = held.text != token.text and bool(held.meaning.opposite & token.meaning.own)
        if token.negated == held.negated or token.unsure or held.unsure or against:
            continue
        others = [
            o
            for o in row.by.get(token.text, ())
            if (row.tokens[o].negated == token.negated or row.tokens[o].unsure) and row.tokens[o].sentence >= 0
        ]
        if others:
            continue
        alone = sum(m is not None and row.tokens[m.at].sentence >= 0 for m in found) == 1
        if supported(n, said, found, row, match.at, 6) or (alone and len(said) < 4):
            yield Contradiction("negation", f"the row {'denies' if held.negated else 'says'} {held.text!r}", match.at)
            return


def _numbers(said: Sequence[Token], found: Sequence[Match | None], row: Row, text: str) -> Iterator[Contradiction]:
    held = [row.tokens[n] for n in row.numbers]
    for token, match in zip(said, found, strict=True):
        if token.value is None or match is not None:
            continue
        if token.weak and not (token.kind == "times" and any(t.kind == "times" for t in held)):
            continue
        derived = token.raw is not None and any(
            token.raw in ((a.raw or 0) + (b.raw or 0), abs((a.raw or 0) - (b.raw or 0)))
            for a in held for b in held
            if a is not b and token.kind in ("", "time", a.kind) and a.raw and b.raw and abs(a.place - b.place) < 30
        )  # fmt: skip
        wrong = next((n for n in row.numbers if wrong_unit(token, row.tokens[n])), None)
        if wrong is not None:
            yield Contradiction("unit", f"the row has {row.tokens[wrong].text} in another unit", wrong)
        elif not derived:
            yield Contradiction("number", f"the row has no {token.text}", -1)


def _bounds(said: Sequence[Token], found: Sequence[Match | None], row: Row, text: str) -> Iterator[Contradiction]:
    for token, match in zip(said, found, strict=True):
        if token.value is not None and match and token.bound:
            held = row.tokens[match.at]
            if held.bound and held.bound != token.bound and not held.negated and not token.negated:
                yield Contradiction("bound", f"the row sets the bound {held.text} the other way", match.at)


def _opposites(said: Sequence[Token], found: Sequence[Match | None], row: Row, text: str) -> Iterator[Contradiction]:
    taken, texts = {m.at for m in found if m and m.score >= DERIVED}, {t.text for t in said}
    for n, token in enumerate(said):
        match = found[n]
        if token.value is not None or (match and match.score >= DERIVED):
            continue
        for at, held in enumerate(row.tokens):
            if at in taken or held.value is not None or held.sentence < 0 or held.negated != token.negated:
                continue
            paired = frozenset((token.text, held.text)) in _OPPOSITES
            if not (paired or token.meaning.opposite & held.meaning.own or held.meaning.opposite & token.meaning.own):
                continue
            if held.text in texts or {"buy", "sell"} & {*token.meaning.lemmas, *held.meaning.lemmas}:
                continue
            if token.text in ("before", "after") and not (_counted(said, n) and _counted(row.tokens, at)):
                continue
            if supported(n, said, found, row, at, 5):
                yield Contradiction("opposite", f"the row says {held.text!r}, not {token.text!r}", at)
                return


def _counted(tokens: Sequence[Token], n: int) -> bool:
    """Whether a number stands within three words before `n`."""
    return any(t.value is not None for t in tokens[max(0, n - 3) : n])


def _replaced(said: Sequence[Token], found: Sequence[Match | None], row: Row, text: str) -> Iterator[Contradiction]:
    """A colour or material that the row lacks, beside a word that it has, where the row has another: oak for pine.

    Of other words, two of one kind are no rivals often enough: "ages" and "a year".
    """
    taken = {m.at for m in found if m}
    for n, token in enumerate(said):
        if found[n] is not None or not listed_as(token):
            continue
        for side in (1, -1):
            match = found[n + side] if 0 <= n + side < len(said) else None
            at = match.at - side if match else -1
            if match is None or match.score < SAME or not 0 <= at < len(row.tokens) or at in taken:
                continue
            held = row.tokens[at]
            if (
                abs(said[n + side].place - token.place) > 2
                or held.clause != row.tokens[match.at].clause
                or held.sentence < 0
            ):
                continue
            if (
                listed_as(token) & listed_as(held)
                and held.negated == token.negated
                and abs(held.place - row.tokens[match.at].place) <= 2
            ):
                yield Contradiction("other word", f"the row says {held.text!r}, not {token.text!r}", at)
                return


def _includes(said: Sequence[Token], found: Sequence[Match | None], row: Row, text: str) -> Iterator[Contradiction]:
    low = text.lower()
    says, denies = _INCLUDES.search(low), _LACKS.search(low)
    if not says or denies or re.search(r"\b(?:not|n't|no|without)\b", low):
        return
    for token, match in zip(said, found, strict=True):
        if not match or match.score < DERIVED or token.value is not None or token.meaning.pos == "v":
            continue
        held = row.tokens[match.at]
        if held.sentence < 0:
            continue
        places = [o for o in row.by.get(token.text, (match.at,)) if row.tokens[o].sentence >= 0] or [match.at]
        if all(_lacked(row.tokens[o], row) for o in places):
            yield Contradiction("includes", f"the row does not include {held.text!r}", match.at)
            return


def _lacked(token: Token, row: Row) -> bool:
    """Whether the content says that this is not in the box: in its own part of the sentence, or else after it."""
    start, end = row.sentences[token.sentence]
    parts = [(m.start(), m[0]) for m in re.finditer(r"[^,;:()]+", row.content[start:end].lower())]
    mine = max((n for n, (at, _) in enumerate(parts) if at <= token.start - start), default=0)
    for _, part in parts[mine:]:
        if _LACKS.search(part):
            return True
        if _INCLUDES.search(part):
            return False
    return any(_LACKS.search(part) for _, part in parts)


def _role(n: int, tokens: Sequence[Token], reach: float) -> str | None:
    """The role that the nearest word for one gives the name `n`."""
    best, role = reach, None
    for token in tokens:
        found = next((_ROLE[w] for w in (token.text, *token.meaning.lemmas) if w in _ROLE), None)
        off = abs(token.place - tokens[n].place)
        if found and off <= best and token.clause == tokens[n].clause and (token.place < tokens[n].place or off <= 3):
            best, role = off, found
    return role


def _roles(said: Sequence[Token], found: Sequence[Match | None], row: Row, text: str) -> Iterator[Contradiction]:
    for n, (token, match) in enumerate(zip(said, found, strict=True)):
        if not token.name or match is None or token.value is not None or row.tokens[match.at].sentence < 0:
            continue
        role = _role(n, said, 5)
        places = [o for o in row.by.get(token.text, ()) if row.tokens[o].sentence >= 0]
        held = {_role(o, row.tokens, 4) for o in places}
        signed = all("--" in row.content[max(0, row.tokens[o].start - 22) : row.tokens[o].start] for o in places)
        if role == "author" and signed and places:
            yield Contradiction("role", f"{token.text!r} signs a review", match.at)
            return
        if role and held and None not in held and role not in held and not ({"author"} & held and role == "reader"):
            yield Contradiction(
                "role", f"in the row {token.text!r} is {' and '.join(sorted(map(str, held)))}, not {role}", match.at
            )
            return


def _kind(token: Token) -> str:
    if token.value is not None:
        return f"number {token.kind}" if token.kind in ("th", "money") else "number"
    return "name" if token.name else token.meaning.pos


def _near(a: float, b: float) -> float:
    return 2.0 ** -abs(a - b) if abs(a - b) < 9 else 0.0


def swap(said: Sequence[Token], found: Sequence[Match | None], row: Row) -> tuple[float, int, int]:
    """How much nearer the claim comes to the row when two words of one kind are exchanged, at most 1; and which two."""
    best = (0.0, -1, -1)
    pairs = [n for n, m in enumerate(found) if m and m.score >= DERIVED and row.tokens[m.at].sentence >= 0]
    at = {n: row.tokens[found[n].at].place for n in pairs}  # type: ignore[union-attr]
    for i, a in enumerate(pairs):
        for b in pairs[i + 1 :]:
            if (
                _kind(said[a]) != _kind(said[b])
                or at[a] == at[b]
                or abs(said[a].place - said[b].place) > 14
                or said[a].text == said[b].text
            ):
                continue
            names = said[a].name and said[b].name
            if b == a + 1 and abs(said[a].place - said[b].place) <= 2:  # "Peru and Honduras": either order is right
                continue
            if _kind(said[a]) in ("n", "v", "a", "r") and abs(at[a] - at[b]) > 10:
                continue
            if names and bool(said[a].meaning.pos) != bool(said[b].meaning.pos):
                continue
            if names and (said[b].place - said[a].place <= 1 or found[a].score < SAME or found[b].score < SAME):  # type: ignore[union-attr]
                continue
            now = then = 0.0
            for c in pairs:
                if c in (a, b) or (names and said[c].name and min(abs(c - a), abs(c - b)) == 1):
                    continue
                to_a, to_b = _near(said[a].place, said[c].place), _near(said[b].place, said[c].place)
                now += to_a * _near(at[a], at[c]) + to_b * _near(at[b], at[c])
                then += to_a * _near(at[b], at[c]) + to_b * _near(at[a], at[c])
            gain = (then - now) / (then + now + 0.05) if then > now else 0.0
            if gain > best[0]:
                best = (gain, a, b)
    return best


SWAPPED, OTHER = {"number": 0.2, "name": 0.3}, 0.4  # gain from which it counts


def _swapped(said: Sequence[Token], found: Sequence[Match | None], row: Row, text: str) -> Iterator[Contradiction]:
    gain, a, b = swap(said, found, row)
    if a >= 0 and gain > SWAPPED.get(_kind(said[a]), OTHER):
        match = found[a]
        yield Contradiction(
            "swapped", f"{said[a].text!r} and {said[b].text!r} stand the other way round", match.at if match else -1
        )
