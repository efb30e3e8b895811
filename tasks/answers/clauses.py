"""Clauses: an answer cut into what it claims, without Markdown, citations and hedges.

A sentence that joins two claims ("It holds two litres and comes with a lid") is two, so that a true one stands where
the other is struck.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from tasks.answers.sentences import sentences
from tasks.answers.tokens import Token

_CITED = re.compile(r"\s*\[[A-Za-z0-9_.:-]{1,64}\]|\u3010[^\u3011]{1,64}\u3011")
_TABLE_HEAD = re.compile(r"(?m)^[^\S\n]*\|?[^\n]*\|[^\n]*\n[^\S\n]*\|?(?:[^\S\n]*:?-{2,}:?[^\S\n]*\|?)+[^\S\n]*$")
_TABLE_ROW = re.compile(r"(?m)^[^\S\n]*\|(?P<cells>[^\n]+)\|[^\S\n]*$")
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
_YES = re.compile(
    r"^\s*(?:yes|no|yep|nope|correct|indeed|better not|not quite)\b\s*(?:[,.:;!\u2013\u2014-]+\s*|$)",
    re.IGNORECASE,
)
_FINITE = frozenset(
    """is are was were has have had can could will would may might must should does do did comes came gets isn't
    aren't cannot measures works weighs needs fits lets shows features""".split()
)
_PRONOUNS = frozenset("it they he she you we there this these".split())
_CONTRASTS = frozenset("but while whereas yet although though".split())
_JOINS = frozenset("and so because since which who".split())


def statements(answer: str) -> list[str]:
    """The sentences of an answer, without Markdown, citations, hedges, and "Yes" and "No" before them."""
    text = _TABLE_ROW.sub(_row, _TABLE_HEAD.sub("", html.unescape(answer)))
    text = _HEADING.sub("", text)
    text = _HEDGE.sub(" ", _MARKS.sub("", _CITED.sub("", text)))
    made = []
    for start, end in sentences(text):
        for part in re.split(r";\s+", text[start:end]):
            part = _YES.sub("", part)
            if any(c.isalnum() for c in part):
                made.append(part.strip())
    return made


def _row(match: re.Match[str]) -> str:
    """The cells of a table's row as one claim: "Size: 4 inches, 5 inches"."""
    head, *rest = (cell.strip() for cell in match["cells"].split("|"))
    return f"{head}: {', '.join(rest)}" if rest else head


def clauses(text: str, words: Sequence[Token]) -> list[tuple[int, int]]:
    """Start and end of every clause of a sentence that claims something by itself, in order; `words` are its tokens."""
    cuts = [0, *_cuts(words, text), len(words)]
    parts = [words[a:b] for a, b in pairwise(cuts) if a < b]
    joined: list[Sequence[Token]] = []
    for part in parts:
        if joined and (not _whole(part) or not _whole(joined[-1])):
            joined[-1] = [*joined[-1], *part]
        else:
            joined.append(part)
    starts = [0, *(part[0].start for part in joined[1:])]
    return list(zip(starts, [*starts[1:], len(text)], strict=True))


def _cuts(words: Sequence[Token], text: str) -> Iterator[int]:
    """The words before which a clause may begin."""
    for n in range(1, len(words) - 1):
        word, after = words[n].text, words[n + 1 : n + 3]
        comma = "," in text[words[n - 1].end : words[n].start]
        near = any(t.text in _PRONOUNS or _verb(t) for t in after[: 1 + (after[0].text in ("also", "then", "not"))])
        if near and not comma and len(after) > 1 and _bare(after[0]) and after[1].content:  # "and turn signals"
            near = False
        if word in _CONTRASTS or (word in _JOINS and (comma or near)):
            yield n


def _whole(part: Sequence[Token]) -> bool:
    """Whether a part has a verb and at least two content words, or one after a word as "but"."""
    telling = sum(t.content for t in part) + (part[0].text in _CONTRASTS)
    return telling >= 2 and any(t.text in _FINITE or _verb(t) for t in part)


def _bare(token: Token) -> bool:
    """Whether a verb has no ending, so that it may as well be a noun."""
    return token.text not in _FINITE and not token.text.endswith(("s", "ed"))


def _verb(token: Token) -> bool:
    """Whether a word is, most often, a verb that a clause is built on."""
    return token.text in _FINITE or (token.meaning.pos == "v" and not token.text.endswith("ing") and not token.name)
