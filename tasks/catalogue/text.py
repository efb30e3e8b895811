"""Text: what one title or one content is after cleaning. Each rule is a function of text alone.

`clean` runs the rules until nothing changes, so cleaning twice is cleaning once: an entity may hide a tag, a cut tail
another tail. `plain` tells, much faster, that a text has nothing to clean.
"""

from __future__ import annotations

import html
import re
import unicodedata

from tasks.recipe import Cleaning

PASSES = 8  # real text settles in two; text made to never settle loses its ampersands instead

# Left over where Windows-1252 bytes were taken for Latin-1: 0x92 is an apostrophe, not a control character.
_WINDOWS = {code: bytes([code]).decode("cp1252", "ignore") or " " for code in range(0x80, 0xA0)}
_C1 = re.compile(r"[\x80-\x9f]")
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
_TAILS = re.compile(
    r"\s*(?:-{1,2}|\u2014)?\s*(?:"
    r"This (?:text|review) refers to (?:the|an|a)\s?[^.!?]{0,60}?edition(?: of this title)?\.?"
    rf"|Copyright\s*(?:\u00a9|\(c\))?\s*(?:\d{{4}})?,?\s*(?:by )?(?:{_PUBLISHER})[^.]{{0,60}}\.?"
    r"(?:\s*All rights reserved\.?)?"
    r")\s*\Z",
    re.IGNORECASE,
)
_TAIL_ENDS = ("dition", "title", "inc", "reserved", "information", "association", "associates", "journal", "lp")

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
_WORDLESS = re.compile(r"[\W_]*")


def plain(text: str) -> bool:
    """Whether `clean` would only look for a tail: ASCII, no entity, no tag, no control, no white space to fold."""
    return (
        text.isascii()
        and "&" not in text
        and "<" not in text
        and "  " not in text
        and text.isprintable()
        and text[:1] != " "
        and text[-1:] != " "
    )


def clean(text: str, rules: Cleaning, tails: bool = False) -> str:
    """`text` by the rules that are on; `tails` says that boilerplate tails may be there (contents, not titles)."""
    tails = tails and rules.boilerplate_tails
    for _ in range(PASSES):
        before, text = text, _once(text, rules, tails)
        if text == before:
            return text
    while (after := _once(text.replace("&", " "), rules, tails)) != text:
        text = after
    return text


def _once(text: str, rules: Cleaning, tails: bool) -> str:
    if rules.unescape:
        if "&" in text:
            text = html.unescape(_AMPERSANDS.sub("&", text))
        if not text.isascii() and _C1.search(text):
            text = text.translate(_WINDOWS)
    if rules.strip_tags and "<" in text:
        text = _TAG.sub(" ", text)
    if rules.controls and not (text.isascii() and text.isprintable()):
        text = _UNSEEN.sub("", _CONTROLS.sub(" ", text))
    if rules.normalise and not text.isascii():
        text = unicodedata.normalize("NFC", text)
    if rules.whitespace:
        text = " ".join(text.split())
    return cut_tails(text) if tails else text


def has_tail(text: str) -> bool:
    """Whether `text` ends as boilerplate tails do: a cheap look that never misses one."""
    return text[-20:].rstrip(" .\n\t").lower().endswith(_TAIL_ENDS)


def cut_tails(text: str) -> str:
    """`text` without the boilerplate at its end."""
    while has_tail(text):
        # Tails are short; looking at the end alone keeps long contents cheap.
        head, end = text[:-400], text[-400:]
        shorter = head + _TAILS.sub("", end)
        if shorter == text:
            break
        text = shorter
    return text


def is_boilerplate(text: str) -> bool:
    """Whether `text` says nothing of the product: 'Book by', 'No description available'."""
    return len(text) < 100 and _BOILERPLATE.fullmatch(text) is not None


def is_junk(text: str) -> bool:
    """Whether `text` is a test item, has no letter or digit, or is one phrase at least four times over."""
    if _JUNK.match(text) or _WORDLESS.fullmatch(text):
        return True
    again = text.find(text[:16], 1)
    return 0 < again <= len(text) // 4 and text.startswith(text[again:])
