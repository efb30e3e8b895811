"""Sentences: where the sentences of a row or an answer begin and end, also where a catalogue has glued them together.

Catalogues lose the blank after a full stop ("utensils.this pouch") and write all in lower case, which the libraries
that were looked at do not cut; and a quotation needs the place of every sentence in the text as it is.
"""

from __future__ import annotations

import re

_ABBREVIATED = frozenset(
    """mr mrs ms dr prof st jr sr vs no nos vol approx inc ltd co dept fig ed eds pp oz lb lbs ft cm mm kg min max hr
    hrs sec u.s u.k e.g i.e p.l a.m p.m jan feb mar apr jun jul aug sep sept oct nov dec ca cf op rev gen col capt lt
    sgt maj in incl ave blvd mt""".split()
)
_END = re.compile(
    r"(?P<stop>[.!?\u2026]+)(?P<close>[\"'\u201d\u2019)\]]*)(?:(?P<gap>\s+)|(?P<end>$)|(?=[A-Za-z]{2}))"
    r"|(?P<line>\s*\n\s*|\s+(?=--\s?[A-Z])|\s*[\u2022|]\s*)"
)
_WORD_BEFORE = re.compile(r"(?:[A-Za-z]\.)*[A-Za-z]+$")
_WEB = re.compile(r"(?:com|org|net|html|pdf|exe)\b", re.IGNORECASE)


def sentences(text: str) -> list[tuple[int, int]]:
    """Start and end of every sentence of `text`, in order, white space at its ends left out."""
    found, start = [], 0
    for cut in _END.finditer(text):
        if cut["line"] is None and not _ends(text, cut):
            continue
        end = cut.end("close") if cut["line"] is None else cut.start()
        found += _trimmed(text, start, end)
        start = cut.end()
    return found + _trimmed(text, start, len(text))


def _ends(text: str, cut: re.Match[str]) -> bool:
    """Whether this full stop ends a sentence."""
    if cut["stop"] != "." or cut["end"] is not None:
        return True
    before = _WORD_BEFORE.search(text, max(0, cut.start() - 20), cut.start())
    word = before[0] if before else ""
    if len(word) == 1 or word.lower() in _ABBREVIATED or "." in word:
        return False
    if cut["gap"] is not None:
        return True
    return len(word) > 2 and word[1:].islower() and not _WEB.match(text, cut.end())


def _trimmed(text: str, start: int, end: int) -> list[tuple[int, int]]:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return [(start, end)] if any(c.isalnum() for c in text[start:end]) else []
