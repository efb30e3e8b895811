"""Contradictions: what a claim says otherwise than its row. Each rule looks at one thing and says it in a sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tasks.answers.alignment import DERIVED, SAME, Match, Row, wrong_unit
from tasks.answers.attribution import mistaken, reviews
from tasks.answers.crossing import crossed, listed_as
from tasks.answers.tokens import Token

_OPPOSITES = {
    frozenset(pair.split("/"))
    for pair in "before/after detachable/fixed removable/fixed removable/sewn mono/stereo hardcover/paperback "
    "indoor/outdoor wet/dry "
    "manual/automatic daily/weekly weekly/monthly daily/monthly first/last odd/even above/below over/under "
    "unabridged/abridged fine/coarse more/less more/fewer larger/smaller never/always only/also warm/cold hot/cool "
    "vertical/horizontal landscape/portrait upright/horizontal inner/outer internal/external single/double "
    "primary/secondary rigid/flexible smooth/rough inside/outside inward/outward".split()
}
_OPPOSED = {
    word: {other for pair in _OPPOSITES if word in pair for other in pair - {word}} for word in set().union(*_OPPOSITES)
}
_ROLES = {
    "author": "write writer author wrote written authored novel memoir authoress",
    "illustrator": "illustrate illustrator illustration draw drawing paint painting watercolour watercolor picture",
    "photographer": "photograph photographer photo", "translator": "translate translator translation",
    "introduction": "introduction foreword preface afterword", "editor": "edit editor edited",
    "producer": "produce producer", "reader": "narrate narrator",
}  # fmt: skip
_ROLE = {word: role for role, known in _ROLES.items() for word in known.split()}
_WRITERS = frozenset(["author", "writer"])
_INCLUDES = re.compile(
    r"\b(?:includ(?:es?|ed|ing)|com(?:es?|ing) with|supplied|you get|consists? of|contains?|in the box|"
    r"provided|free of charge|comes? as)\b"
)
_LACKS = re.compile(
    r"\b(?:(?:not|n't|never) (?:be )?(?:included|supplied|provided|part of)|sold separately|bought separately|"
    r"purchased separately|available separately|separately|not part of|costs? extra|optional|requires?|required|"
    r"compatible|works? with|fits|use with|used with|no [a-z]+ included|recommended|without|shown|"
    r"must (?:be|have)|will need|needed|necessary)\b"
)


class ClauseSpan(NamedTuple):
    """A clause of a sentence, and which of the sentence's content words are its own."""

    text: str
    first: int
    end: int


class Contradiction(NamedTuple):
    """What does not agree: the rule, a sentence about it, the row's token that says otherwise, the claim's words."""

    rule: str
    reason: str
    at: int
    words: tuple[int, ...]


def contradictions(
    said: Sequence[Token], found: Sequence[Match | None], row: Row, parts: Sequence[ClauseSpan], swapped: Swap
) -> list[Contradiction]:
    """All that the row says otherwise than a sentence, whose content tokens are `said`, aligned by `found`."""
    rules = (_negation, _numbers, _bounds, _opposites, _replaced, _renamed, _roles)
    against = [one for rule in rules for one in rule(said, found, row)]
    against += [one for part in parts for rule in (_includes, _speaker) for one in rule(said, found, row, part)]
    return [*against, *_swapped(said, found, row, swapped)]


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


def _negation(said: Sequence[Token], found: Sequence[Match | None], row: Row) -> Iterator[Contradiction]:
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
            yield Contradiction(
                "negation", f"the row {'denies' if held.negated else 'says'} {held.text!r}", match.at, (n,)
            )


def _numbers(said: Sequence[Token], found: Sequence[Match | None], row: Row) -> Iterator[Contradiction]:
    held = [row.tokens[n] for n in row.numbers]
    for n, (token, match) in enumerate(zip(said, found, strict=True)):
        if token.value is None or match is not None:
            continue
        if token.weak and not (token.kind == "times" and any(t.kind == "times" for t in held)):
            continue
        derived = token.kind != "th" and any(
            token.raw in ((a.raw or 0) + (b.raw or 0), abs((a.raw or 0) - (b.raw or 0)))
            for a in held for b in held
            if a is not b and token.kind in ("", "time", a.kind) and a.raw and b.raw and abs(a.place - b.place) < 30
        )  # fmt: skip
        wrong = next((at for at in row.numbers if wrong_unit(token, row.tokens[at])), None)
        if wrong is not None:
            yield Contradiction("unit", f"the row has {row.tokens[wrong].text} in another unit", wrong, (n,))
        elif not derived:
            yield Contradiction("number", f"the row has no {token.text}", -1, (n,))


def _bounds(said: Sequence[Token], found: Sequence[Match | None], row: Row) -> Iterator[Contradiction]:
    for n, (token, match) in enumerate(zip(said, found, strict=True)):
        if token.value is not None and match and token.bound:
            held = row.tokens[match.at]
            if held.bound and held.bound != token.bound and not held.negated and not token.negated:
                yield Contradiction("bound", f"the row sets the bound {held.text} the other way", match.at, (n,))


def _opposites(said: Sequence[Token], found: Sequence[Match | None], row: Row) -> Iterator[Contradiction]:
    taken, texts = {m.at for m in found if m and m.score >= DERIVED}, {t.text for t in said}
    for n, token in enumerate(said):
        match = found[n]
        elsewhere = match and token.meaning.pos != "r" and not supported(n, said, found, row, match.at)
        if token.value is not None or token.unsure or (match and match.score >= DERIVED and not elsewhere):
            continue
        for at, held in enumerate(row.tokens):
            if (
                at in taken
                or held.value is not None
                or held.sentence < 0
                or held.negated != token.negated
                or token.unsure
            ):
                continue
            paired = bool(_opposed(token) & {held.text, *held.meaning.lemmas})
            if not (paired or token.meaning.opposite & held.meaning.own or held.meaning.opposite & token.meaning.own):
                continue
            if held.text in texts or {"buy", "sell", "sit", "stand"} & {*token.meaning.lemmas, *held.meaning.lemmas}:
                continue
            if token.text in ("before", "after") and not (_counted(said, n) and _counted(row.tokens, at)):
                continue
            if supported(n, said, found, row, at, 5):
                yield Contradiction("opposite", f"the row says {held.text!r}, not {token.text!r}", at, (n,))
                break


def _opposed(token: Token) -> set[str]:
    """The opposites of a word that WordNet does not have."""
    return {other for form in (token.text, *token.meaning.lemmas) for other in _OPPOSED.get(form, ())}


def _counted(tokens: Sequence[Token], n: int) -> bool:
    """Whether a number stands within three words before `n`."""
    return any(t.value is not None for t in tokens[max(0, n - 3) : n])


def _replaced(said: Sequence[Token], found: Sequence[Match | None], row: Row) -> Iterator[Contradiction]:
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
                yield Contradiction("other word", f"the row says {held.text!r}, not {token.text!r}", at, (n,))
                break


def _renamed(said: Sequence[Token], found: Sequence[Match | None], row: Row) -> Iterator[Contradiction]:
    """A name beside a word where the row has another name beside it, and this one far off: "Kay's timing"."""
    taken = {m.at for m in found if m}
    for n, token in enumerate(said):
        match = found[n]
        if not _is_name(token) or match is None or match.score < SAME or row.by_title(token):
            continue
        plain = [None if t.name or (m and row.tokens[m.at].name) else m for t, m in zip(said, found, strict=True)]
        if supported(n, said, plain, row, match.at):
            continue
        for side in (1, -1):
            beside = found[n + side] if 0 <= n + side < len(said) else None
            if beside is None or beside.score < SAME or said[n + side].name or said[n + side].value is not None:
                continue
            word = row.tokens[beside.at]
            if abs(said[n + side].place - token.place) > 1 or word.sentence < 0:
                continue
            held = row.tokens[beside.at - side] if 0 <= beside.at - side < len(row.tokens) else token
            if not _is_name(held) or held.order in taken or held.clause != word.clause or row.by_title(held):
                continue
            near = min(abs(row.tokens[at].place - word.place) for at in row.by.get(token.text, (match.at,)))
            if abs(held.place - word.place) <= 1 and near > 8:
                yield Contradiction("name", f"the row says {held.text!r}, not {token.text!r}", held.order, (n,))
                break


def _is_name(token: Token) -> bool:
    """Whether a word is a name, and not a noun with a capital ("Features")."""
    return token.name and token.value is None and token.meaning.pos in ("", "n")


def _speaker(
    said: Sequence[Token], found: Sequence[Match | None], row: Row, part: ClauseSpan
) -> Iterator[Contradiction]:
    """What one review says, said to be in another."""
    wrong = mistaken(said[part.first : part.end], found[part.first : part.end], row)
    if wrong:
        name, _, review = wrong
        at = next((n for n, t in enumerate(row.tokens) if t.sentence >= 0 and t.start >= review.said), -1)
        yield Contradiction("speaker", f"in the row {review.name!r} says so", at, (part.first + name,))


def _includes(
    said: Sequence[Token], found: Sequence[Match | None], row: Row, part: ClauseSpan
) -> Iterator[Contradiction]:
    low = part.text.lower()
    says, denies = _INCLUDES.search(low), _LACKS.search(low)
    if not says or denies or re.search(r"\b(?:not|n't|no|without)\b", low):
        return
    for n in range(part.first, part.end):
        token, match = said[n], found[n]
        if not match or match.score < DERIVED or token.value is not None or token.meaning.pos == "v":
            continue
        held = row.tokens[match.at]
        if held.sentence < 0:
            continue
        places = [o for o in row.by.get(token.text, (match.at,)) if row.tokens[o].sentence >= 0] or [match.at]
        if all(_lacked(row.tokens[o], row) for o in places):
            yield Contradiction("includes", f"the row does not include {held.text!r}", match.at, (n,))


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


def _roles(said: Sequence[Token], found: Sequence[Match | None], row: Row) -> Iterator[Contradiction]:
    for n, (token, match) in enumerate(zip(said, found, strict=True)):
        if not token.name or match is None or token.value is not None or row.tokens[match.at].sentence < 0:
            continue
        role = _role(n, said, 5)
        places = [o for o in row.by.get(token.text, ()) if row.tokens[o].sentence >= 0]
        held = {_role(o, row.tokens, 4) for o in places}
        named = bool(_WRITERS & set(said[n + 1].meaning.lemmas)) if n + 1 < len(said) else False
        writes = role == "author" and (named or not any(_WRITERS & set(t.meaning.lemmas) for t in said))
        if writes and places and _signs(said, found, row, places):
            yield Contradiction("role", f"{token.text!r} signs a review", match.at, (n,))
            continue
        if role and held and None not in held and role not in held and not ({"author"} & held and role == "reader"):
            yield Contradiction(
                "role",
                f"in the row {token.text!r} is {' and '.join(sorted(map(str, held)))}, not {role}",
                match.at,
                (n,),
            )


def _signs(said: Sequence[Token], found: Sequence[Match | None], row: Row, places: Sequence[int]) -> bool:
    """Whether a name only signs reviews ("Jane Doe, author of Salt" wrote Salt, but not what she reviews)."""
    starts = [row.tokens[at].start for at in places]
    own = [r for r in reviews(row.content) if any(r.said <= start < r.end for start in starts)]
    if not all(any(r.said <= start < r.end for r in own) for start in starts):
        return all("--" in row.content[max(0, start - 22) : start] for start in starts)
    other = [(t, row.tokens[m.at]) for t, m in zip(said, found, strict=True) if m]
    rest = [held.start for t, held in other if held.sentence >= 0 and not any(w in _ROLE for w in t.meaning.lemmas)]
    return not any(r.said + len(r.name.partition(",")[0]) < start < r.end for r in own for start in rest)


def _kind(token: Token) -> str:
    if token.value is not None:
        return f"number {token.kind}" if token.kind in ("th", "money") else "number"
    return "name" if token.name else token.meaning.pos


def _near(a: float, b: float) -> float:
    return 2.0 ** -abs(a - b) if abs(a - b) < 9 else 0.0


class Swap(NamedTuple):
    """How much nearer a sentence comes to the row when its words `one` and `other` are exchanged, at most 1."""

    gain: float
    one: int
    other: int


def swap(said: Sequence[Token], found: Sequence[Match | None], row: Row) -> Swap:
    """The exchange of two words of one kind that brings a sentence nearest to the row; a gain of 0 if none does."""

    def signed(token: Token) -> bool:
        starts = [row.tokens[n].start for n in row.by.get(token.text, ()) if row.tokens[n].sentence >= 0]
        return any(r.said <= start < r.end for r in reviews(row.content) for start in starts)

    best = Swap(0.0, -1, -1)
    pairs = [n for n, m in enumerate(found) if m and m.score >= DERIVED and row.tokens[m.at].sentence >= 0]
    at = {n: row.tokens[found[n].at].place for n in pairs}  # type: ignore[union-attr]
    for i, a in enumerate(pairs):
        for b in pairs[i + 1 :]:
            if (
                _kind(said[a]) != _kind(said[b])
                or (said[a].value is not None and said[a].unit != said[b].unit and said[a].kind == said[b].kind)
                or at[a] == at[b]
                or abs(said[a].place - said[b].place) > 14
                or said[a].text == said[b].text
            ):
                continue
            names = said[a].name and said[b].name
            if names and signed(said[a]) and signed(said[b]):  # who says what is another rule
                continue
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
            if gain > best.gain:
                best = Swap(gain, a, b)
    return best


SWAPPED, OTHER = {"number": 0.2, "name": 0.3}, 0.4  # gain from which it counts


def _swapped(said: Sequence[Token], found: Sequence[Match | None], row: Row, swapped: Swap) -> Iterator[Contradiction]:
    gain, a, b = swapped
    pair = (a, b) if a >= 0 and gain > SWAPPED.get(_kind(said[a]), OTHER) else crossed(said, found, row)
    if pair:
        match, (one, other) = found[pair[0]], (said[n].text for n in pair)
        yield Contradiction(
            "swapped", f"{one!r} and {other!r} stand the other way round", match.at if match else -1, pair
        )
