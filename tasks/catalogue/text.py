"""Text: what one title or one content is after cleaning. Each rule is a function of text alone.

`clean` runs the rules until nothing changes, so cleaning twice is cleaning once: an entity may hide a tag, a tag an
entity. `cut_tails` then takes boilerplate from the end of a clean content.
"""

from __future__ import annotations

import html
import re
import unicodedata
from functools import lru_cache
from typing import Any

import numpy as np

from tasks.recipe import Cleaning

PIECE = 1 << 17  # bytes looked at in one go: what fits the processor's cache
BRIEF = 100  # characters: what says nothing says it in fewer
PASSES = 8  # real text settles in two; text made to never settle loses its ampersands instead

# Left over where Windows-1252 bytes were taken for Latin-1: 0x92 is an apostrophe, not a control character.
_WINDOWS = {code: bytes([code]).decode("cp1252", "ignore") or " " for code in range(0x80, 0xA0)}
_C1 = re.compile(r"[\x80-\x9f]")
_ENTITY = re.compile(r"&(?:#[0-9]+;?|#[xX][0-9a-fA-F]+;?|[^\t\n\f <&#;]{1,32};?)")  # as html.unescape finds them
_character = lru_cache(maxsize=4_096)(html.unescape)  # few entities, many times
_AMPERSANDS = re.compile(r"&(?:(?:amp|#0*38|#x0*26);)+", re.IGNORECASE)
_NAMES = (
    "a|abbr|acronym|address|applet|area|article|aside|audio|b|base|basefont|bdi|bdo|big|blink|blockquote|body|br|button|"
    "canvas|caption|center|cite|code|col|colgroup|data|datalist|dd|del|details|dfn|dialog|dir|div|dl|dt|em|embed|"
    "fieldset|figcaption|figure|font|footer|form|frame|frameset|h[1-6]|head|header|hr|html|i|iframe|img|input|ins|kbd|"
    "label|legend|li|link|main|map|mark|marquee|menu|meta|meter|nav|nobr|noframes|noscript|object|ol|optgroup|option|"
    "output|p|param|picture|pre|progress|q|rp|rt|ruby|s|samp|script|section|select|small|source|span|strike|strong|"
    "style|sub|summary|sup|svg|table|tbody|td|template|textarea|tfoot|th|thead|time|title|tr|track|tt|u|ul|var|video|"
    r"wbr|[ovw]:\w+|st1:\w+"
)
_BARE = "nowrap|noshade|compact|hidden|disabled|checked|selected|readonly|multiple|controls|autoplay|loop|muted|defer"
# A tag is a name HTML knows, with attributes that have values: `a < b` and `i<b and c>d` are text.
_TAG = re.compile(
    r"<(?:script|style)\b[^<>]*>[^<]{0,100000}</(?:script|style)\s*>|<!--.{0,1000}?-->|<!doctype[^<>]*>|"
    rf"</?(?:{_NAMES})(?:\s+(?:[\w:-]+\s*=\s*(?:\"[^\"<>]*\"|'[^'<>]*'|[^\s\"'<>]+)|(?:{_BARE})(?=[\s/>])))*\s*/?>",
    re.IGNORECASE | re.DOTALL,
)
# Characters nobody sees: soft hyphen, zero width space, word joiner, byte order mark, direction marks.
_UNSEEN = re.compile("[\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff\ufffe\uffff]")
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")

_PUBLISHER = r"(?:Reed|Cahners) Business Information|American Library Association|Kirkus Associates|Library Journal"
# The words run into each other ("thePaperbackedition") since tags were once stripped with nothing in their place.
_MARKS = ("This text refers to", "This review refers to", "Copyright")
_TAIL = re.compile(
    r"this (?:text|review) refers to (?:the|an|a)\s?[^.!?]{0,60}?edition(?: of this title)?[\s.]*"
    rf"|copyright\s*(?:\u00a9|\(c\))?\s*(?:\d{{4}})?,?\s*(?:by )?(?:{_PUBLISHER})[^.]{{0,60}}\.?"
    r"(?:\s*all rights reserved)?[\s.]*",
    re.IGNORECASE,
)
_TAIL_ENDS = tuple(
    word + dot
    for word in ("edition", "title", "Inc", "reserved", "Information", "Association", "Associates", "Journal", "LP")
    for dot in ("", ".")
)

_BOILERPLATE = re.compile(
    r"(?:(?:written |edited |illustrated |selected )?(?:book )?by|text: [\w ,()-]{1,60}|library of liberal arts title"
    r"|(?:no |product )*(?:description|details)(?: is)?(?: not| un)?(?: ?available| given| provided)?"
    r"|(?:please )?(?:see|read) (?:the )?(?:above|below|title|pictures?|photos?|images?|description|details)"
    r"|n/?a|none|null|unknown|tbd|click here(?: for (?:more|details))?|all rights reserved)[\s.:!]*",
    re.IGNORECASE,
)
_JUNK = re.compile(
    r"(?:this is )?(?:just |only )?(?:a )?test(?: item| product| listing| asin)?[\s.,!-]*"
    r"(?:\Z|(?:not|do not|don't|please|only)\b)"
    r"|(?:please )?do not (?:bid|buy|order|purchase)\b|lorem ipsum\b|(?:asdf|qwerty)\w*\Z",
    re.IGNORECASE,
)
_JUNK_STARTS = frozenset(("this", "just", "only", "test", "a te", "plea", "do n", "lore", "asdf", "qwer"))
_WORDLESS = re.compile(r"[\W_]*")


def suspects(texts: list[str]) -> list[int]:
    """Positions of the texts that `clean` may change; all others it would leave as they are.

    One look at all their bytes at once: anything but printable ASCII, `&`, `<`, two spaces or a space at an end.
    """
    data = np.frombuffer(("\0" + "\0".join(texts) + "\0").encode("utf-8", "surrogatepass"), np.uint8)
    ends = np.flatnonzero(data == 0)
    if len(ends) != len(texts) + 1:
        return list(range(len(texts)))  # a NUL inside a text
    hit = np.zeros(len(texts) + 1, bool)
    for start in range(0, len(data), PIECE):
        piece = data[start : start + PIECE + 1]  # one byte more, so that no pair is split
        hit[np.searchsorted(ends, np.flatnonzero(_odd(piece)) + start)] = True
    return [int(n) for n in np.flatnonzero(hit[1:])]


def _odd(piece: Any) -> Any:
    """Marks bytes that call for a closer look; NUL, which stands between texts, is none."""
    odd = piece.view(np.int8) < 32
    odd &= piece != 0
    for code in (38, 60, 127):
        odd |= piece == code
    edge = (piece == 32) | (piece == 0)
    double = edge[1:] & edge[:-1]
    odd[1:] |= double & (piece[1:] == 32)
    odd[:-1] |= double & (piece[:-1] == 32)
    return odd


def clean(text: str, rules: Cleaning) -> str:
    """`text` by the rules that are on, but for boilerplate tails."""
    for turn in range(PASSES):
        before, text = text, _once(text, rules, again=turn > 0)
        # Only an entity or a tag can hide another; with neither in sight the other rules are done in one turn.
        if text == before or not ("&" in text or "<" in text):
            return text
    while (after := _once(text.replace("&", " "), rules, again=True)) != text:
        text = after
    return text


def _once(text: str, rules: Cleaning, again: bool) -> str:
    if rules.unescape and "&" in text:
        text = _ENTITY.sub(_decode, _AMPERSANDS.sub("&", text) if again else text)
    if rules.strip_tags and "<" in text:
        text = _TAG.sub(" ", text)
    # To Python a character is printable when it is no control, not unseen, and no space but the plain one.
    printable = text.isprintable()
    if not printable:
        if rules.unescape and not text.isascii() and _C1.search(text):
            text = text.translate(_WINDOWS)
        if rules.controls:
            text = _UNSEEN.sub("", _CONTROLS.sub(" ", text))
    if rules.normalise and not text.isascii():
        text = unicodedata.normalize("NFC", text)
    if rules.whitespace:
        text = _squeeze(text) if printable else " ".join(text.split())
    return text


def _squeeze(text: str) -> str:
    """White space folded, where the plain space is the only one there is."""
    while "  " in text:
        text = text.replace("  ", " ")
    return text.strip(" ")


def _decode(found: re.Match[str]) -> str:
    return _character(found[0])


def cut_tails(text: str) -> str:
    """`text` without the boilerplate at its end."""
    while text.endswith(_TAIL_ENDS):
        start = max(0, len(text) - 400)  # tails are short: a long content costs no more than a short one
        mark = max(text.rfind(words, start) for words in _MARKS)
        if mark < 0 or not _TAIL.fullmatch(text, mark):
            return text
        text = text[:mark].rstrip(" -\u2014\r\n\t\xa0")
    return text


def is_boilerplate(text: str) -> bool:
    """Whether `text` says nothing of the product: 'Book by', 'No description available'."""
    return len(text) < BRIEF and _BOILERPLATE.fullmatch(text) is not None


def is_junk(text: str) -> bool:
    """Whether `text` is a test item, has no letter or digit, or is one phrase at least four times over."""
    head = text[:16]
    if not head[:1].isalnum() and _WORDLESS.fullmatch(text):
        return True
    if head[:4].lower() in _JUNK_STARTS and _JUNK.match(text):
        return True
    again = text.find(head, 1, len(text) // 4 + 16)
    return 0 < again <= len(text) // 4 and text.startswith(text[again:])
