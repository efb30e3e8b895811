"""Stumps: what is left of an entity whose `&`, or `&#`, an earlier program took away: `it x2019;s`, `17quot;`.

Only what is no word is taken for a stump. `amp;` is one unless the text is about amplifiers or current; `gt;` and `lt;`
only around the name of a tag; a number only where it stands for a quote, dash, bullet or trade mark.
"""

from __future__ import annotations

import html
import re

import numpy as np
from numpy.typing import NDArray

_SIGNS = "8211|8212|8216|8217|8218|8220|8221|8222|8226|8230|8482"
_WORDS = (
    "quot|nbsp|apos|[lr][sd]quo|[sb]dquo|sbquo|[mn]dash|hellip|[lr]aquo|frac(?:12|14|34)|plusmn|middot|iexcl|iquest|"
    "[AEIOUYaeiouy]acute|[AEIOUaeiou](?:grave|circ|uml)|yuml|[ANOano]tilde|[Cc]cedil|(?<![A-Za-z])[Aa]ring|[Oo]slash|szlig|"
    "(?:ae|AE|oe|OE)lig|thinsp|e[mn]sp"
)
_NO_WORD = "".join(f"(?<!{word})" for word in "bo fo vo fa wa ta mi si fi fle he lu".split())  # box, fox, Vox, fax, …
_STUMP = re.compile(
    # Hexadecimal: spaces, dashes, quotes, bullet, euro, trade mark, arrows, stars; `x2400;` may be a model.
    r"(?<![&0-9#])#?x(?P<hex>20(?:0[239bB]|1[0-9a-fA-F]|2[2-7]|3[0-9aA]|44|[aA][cC])|2122|219[0-3]|2212|2248|226[045]|"
    r"25[aA]0|25[cC][fF]|260[56]|271[34]);"
    # Latin letters and signs: with a digit (`x` in `boxed;` is a letter), or where no letter comes before. After
    # a small letter stand small ones (`cafxe9;`), and not after a word that ends in x (`boxe9;`).
    r"|(?<![&0-9])(?:#x(?P<latin>[89a-fA-F][0-9a-fA-F])|(?<![A-Za-z#])x(?P<apart>[a-fA-F][0-9a-fA-F]|"
    rf"9[1-7](?=;[A-Za-z]))|(?<=[a-z]){_NO_WORD}x(?P<inside>e[0-9]|f[1-9]));"
    rf"|(?<![&0-9])#(?P<decimal>8[2-4][0-9]{{2}}|(?<=[A-Za-z]#)(?:3[489]|1[2-9][0-9]|2[0-5][0-9]));"
    rf"|(?:(?<=[A-Za-z])|(?<![&#0-9;A-Za-z])(?=[0-9]{{4}};[A-Za-z]))(?P<bare>{_SIGNS});"
    # A lost `&` may have taken its place with a space or not: `caf eacute;`, `cafeacute;`, `17quot;`.
    rf"|(?<!&)(?P<name>{_WORDS});"
    r"|(?<![&;A-Za-z])(?P<amp>amp);"
    r"|(?<![&A-Za-z])lt;\s?(?P<tag>/?(?:b|i|u|p|br|li|ul|ol|em|strong|div|span|td|tr|table|font|h[1-6])\s?/?)\s?gt;"
)
_GLUED = re.compile(r"(?<=[^\W\d_]) ?(?=[\u2019'](?:s|t|re|ve|ll|d|m)\b)")
_CURRENT = re.compile(
    r"\bamps\b|\bamp\b(?!;)|\bamplif|\bguitar|\bbass\b|\bspeaker|\bsubwoofer|\bwatt|\bvolt|\bohm|\bfuses?\b|\bbreaker|"
    r"\bcircuit|\bcurrent\b|(?:\b(?:an?|the|this|that|your|our|my|each|tube|power|combo|stereo|car)|-) ?amp;|"
    r"[0-9] ?amp;(?! ?[0-9])",
    re.IGNORECASE,
)
# The last two letters of a stump, for a quick look at bytes: `quot;` ends in `ot`.
_PAIRS = frozenset("ot sp os uo sh ip 12 14 34 mn cl st te ve rc ml de il ng ig mp gt".split())
_HEXADECIMAL = frozenset("0123456789abcdefABCDEF")
_ENDS = np.zeros(1 << 16, bool)
_ENDS[[ord(pair[0]) << 8 | ord(pair[1]) for pair in _PAIRS]] = True
_DIGITS = np.zeros(256, bool)
_DIGITS[list(b"0123456789abcdefABCDEF")] = True


def mend(text: str) -> str:
    """`text` with its stumps turned into the characters that they stand for."""
    if not _there(text):
        return text
    about = ""

    def read(found: re.Match[str]) -> str:
        nonlocal about
        if found["amp"]:
            about = about or ("current" if _CURRENT.search(text) else "else")
            return found[0] if about == "current" else "&"
        if code := found["hex"] or found["latin"] or found["apart"] or found["inside"]:
            return html.unescape(f"&#x{code};")
        if code := found["decimal"] or found["bare"]:
            return html.unescape(f"&#{code};")
        return html.unescape(f"&{found['name']};") if found["name"] else f"<{found['tag']}>"

    mended = _STUMP.sub(read, text)
    return _GLUED.sub("", mended) if mended != text else text


def _there(text: str) -> bool:
    """Whether there is a stump, by a look at what stands before each semicolon: the pattern is slow on a long text."""
    at = text.find(";")
    while at >= 0:
        pair = text[max(0, at - 2) : at]
        if (pair in _PAIRS or pair[-1:] in _HEXADECIMAL) and _STUMP.search(text, max(0, at - 20), at + 2):
            return True
        at = text.find(";", at + 1)
    return False


def near(data: NDArray[np.uint8]) -> NDArray[np.intp]:
    """Positions in `data` (UTF-8) of the semicolons that may end a stump."""
    ends = np.flatnonzero(data == 59)
    ends = ends[ends >= 2]
    before = data[ends - 1].astype(np.uint32)
    named = _ENDS[(data[ends - 2].astype(np.uint32) << 8) | before]
    numbered = _DIGITS[before] & _DIGITS[data[ends - 2]]
    return np.asarray(ends[named | numbered])
