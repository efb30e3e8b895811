"""Text: what one title or one content is after cleaning. Each rule is a function of text alone.

`clean` runs the rules until nothing changes, so cleaning twice is cleaning once: an entity may hide a tag, a tag an
entity. `cut_tails` then takes boilerplate from the end of a clean content.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from html.entities import html5
from typing import Any

import numpy as np

from tasks.catalogue import markup, stumps
from tasks.recipe.model import Cleaning

PIECE = 1 << 17  # bytes looked at in one go: what fits the processor's cache
BRIEF = 100  # characters: what says nothing says it in fewer
PASSES = 8  # real text settles in two; text made to never settle loses its ampersands instead

# Left over where Windows-1252 bytes were taken for Latin-1: 0x92 is an apostrophe, not a control character.
_WINDOWS = {code: bytes([code]).decode("cp1252", "ignore") or " " for code in range(0x80, 0xA0)}
_C1 = re.compile(r"[\x80-\x9f]")
_ENTITY = re.compile(r"&(?:#[0-9]+;?|#[xX][0-9a-fA-F]+;?|[^\t\n\f <&#;]{1,32};?)")  # as html.unescape finds them
_character = lru_cache(maxsize=4_096)(html.unescape)  # few entities, many times
_AMPERSANDS = re.compile(r"&(?:(?:amp|#0*38|#x0*26);)+", re.IGNORECASE)
# Two entities or more whose numbers are bytes above 127: text that was UTF-8 before each byte became an entity.
_BYTES = re.compile(r"(?:&#(?:[xX](?:[89a-fA-F][0-9a-fA-F])|1[3-9][0-9]|12[89]|2[0-5][0-9]);){2,}")
_NUMBER = re.compile(r"#(?:[xX]([0-9a-fA-F]+)|([0-9]+))")
# JSON and JavaScript write characters above U+FFFF as two halves; some programs made an entity of each.
_HALVES = re.compile(
    r"&#(?:[xX]([dD][89abAB][0-9a-fA-F]{2})|(5[56][0-9]{3}));&#(?:[xX]([dD][c-fC-F][0-9a-fA-F]{2})|(5[67][0-9]{3}));"
)
# Names that HTML reads without a semicolon, longest first; these five also where letters follow ("AT&ampT").
_OPEN = sorted((name for name in html5 if not name.endswith(";")), key=len, reverse=True)
_ALWAYS = frozenset(("amp", "nbsp", "quot", "lt", "gt"))
_PARAMETER = re.compile(r"[A-Za-z]|[0-9]*=")  # what follows in an address: `&region=EU` is no registered mark

# UTF-8 that was read as Windows-1252, Windows-1251, Mac Roman or code page 437 has a lead and then what is no letter.
_MOJIBAKE = re.compile(
    "[\u00c2-\u00f4\u0102\u0139\u0420\u0421\u0412\u0432\u251c\u252c\u0393\u221a\u201a]"
    "(?:[\u0080-\u00bf\u0152-\u0153\u0160-\u0161\u0178\u017d-\u017e\u0192\u02c6\u02dc\u2013-\u203a\u20ac\u2122]"
    "|(?<=[\u0420\u0421\u0412\u0432])[\u0402-\u040f\u0452-\u045f\u0490-\u0491\u2116]"
    "|(?<=[\u251c\u252c\u0393\u221a\u201a])[^\x00-\x7f])"
)
_LEADS = (b"\xc3", b"\xc4", b"\xd0", b"\xd1", b"\xce", b"\xe2\x94", b"\xe2\x88\x9a", b"\xe2\x80\x9a")  # of the above
# A sign of U+2000 to U+2BFF in such text: `\u00e2\u201e\u00a2` is a trade mark. ftfy leaves some of them, to be safe.
_SIGN = re.compile(
    "\u00e2[\u0080-\u00af\u0152-\u0153\u0160-\u0161\u0178\u017d-\u017e\u0192\u02c6\u02dc\u2013-\u203a\u20ac\u2122]"
    "[\u0080-\u00bf\u0152-\u0153\u0160-\u0161\u0178\u017d-\u017e\u0192\u02c6\u02dc\u2013-\u203a\u20ac\u2122]"
)

# Characters nobody sees: soft hyphen, zero width space, word joiner, byte order mark, direction marks.
_UNSEEN = re.compile("[\u00ad\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff\ufffe\uffff]")
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_LOST = "\ufffd"
_BREAKS = re.compile("\r\n|[\n\r\x0b\x0c\x85\u2028\u2029]")
_GAPS = re.compile(r"\n{3,}")

# Tails come from book pages. Words run into each other there ("thePaperbackedition"): tags were once stripped with
# nothing in their place; some copies are in lower case, some are cut at a length and end in dots.
_PUBLISHERS = (
    "reed business information", "cahners business information", "american library association", "kirkus associates",
    "kirkus reviews", "kirkus", "library journal", "school library journal", "publishers weekly", "booklist",
    "phillips & nelson media", "bookmarks publishing", "the new yorker", "audiofile", "vnu business media",
    "nielsen business media",
)  # fmt: skip
_PUBLISHER = "|".join(map(re.escape, sorted(_PUBLISHERS, key=len, reverse=True)))
_YEARS = r"\d{4}(?:\s*[-\u2013,]\s*\d{4})*"
# Without a sign or a year the word is one of a sentence: "all about copyright".
_YEAR = rf"copyright\s*(?:(?:\u00a9|\(c\))\s*(?:{_YEARS})?|{_YEARS}),?\s*(?:by )?"
_MARKS = ("this text refers to", "this review refers to", "copyright")
_TAIL = re.compile(
    r"this (?:text|review) refers to (?:the|an|a)\s?[^.!?]{0,60}?edition(?: of this title)?[\s.]*"
    rf"|(?:{_YEAR}|copyright (?:by )?)(?:{_PUBLISHER})[^.]{{0,60}}\.?(?:\s*all rights reserved)?[\s.]*"
    rf"|{_YEAR}[^.!?]{{0,80}}(?:\b(?:inc|ltd|co|corp|llc|lp)\.)?[^.!?]{{0,40}}\.?\s*all rights reserved[\s.]*",
    re.IGNORECASE,
)
_ENDS = tuple(
    "edition title inc reserved information association associates reviews kirkus journal weekly booklist lp llc media "
    "publishing yorker audiofile".split()
)
# How the catalogue goes on after "this text refers to": a tail that breaks off begins so, other sentences do not.
_EDITIONS = (
    "out of print or unavailable edition of this title", "hardcover", "paperback", "mass market paperback",
    "trade paperback", "perfect paperback", "board book", "bath book", "rag book", "audio cassette", "audio cd",
    "audible", "mp3 cd", "cd-rom", "preloaded digital audio player", "library binding", "school & library binding",
    "textbook binding", "unknown binding", "leather bound", "spiral-bound", "ring-bound", "loose leaf", "turtleback",
    "print on demand", "kindle edition", "digital", "vhs tape", "dvd", "calendar", "cards", "map", "pamphlet",
    "sheet music", "unbound", "misc. supplies",
)  # fmt: skip
_EDITION = re.compile(
    r"this (?:text|review) refers to(?: (?:the|an|a)\b ?| the| an?)?(?P<edition>.{0,80})", re.IGNORECASE
)
_CUT = re.compile(rf"{_YEAR}(?P<publisher>[^.!?]{{4,60}}?)", re.IGNORECASE)
_BEGUN = re.compile(r"--\s?([^.!?-]{7,80})\Z")  # "--this te": fewer letters are the end of a sentence
_DOTS = re.compile(r"\s?(?:\.{2,}|\u2026)\s*\Z")

_TONGUES = (
    "afrikaans|albanian|arabic|armenian|basque|bengali|bosnian|bulgarian|catalan|chinese|croatian|czech|danish|dutch|"
    "english|esperanto|estonian|farsi|finnish|flemish|french|gaelic|galician|georgian|german|greek|gujarati|hebrew|"
    "hindi|hungarian|icelandic|indonesian|irish|italian|japanese|korean|latin|latvian|lithuanian|macedonian|malay|"
    "mandarin|mongolian|norwegian|old english|middle english|ancient greek|persian|polish|portugu?ese|punjabi|"
    "romanian|russian|sanskrit|serbian|serbo-croatian|slovak|slovene|slovenian|spanish|swahili|swedish|tagalog|tamil|"
    "telugu|thai|tibetan|turkish|ukrainian|urdu|vietnamese|welsh|yiddish|zulu"
)
_TONGUE = rf"(?:{_TONGUES})(?: ?\((?:translation|original|subtitled|dubbed|transcription)\))?"
_LANGUAGES = rf"(?:text|languages?|original languages?): ?{_TONGUE}(?:(?:, ?| and | & |/){_TONGUE})*"
_BOILERPLATE = re.compile(
    r"(?:(?:written |edited |illustrated |selected )?(?:book )?by"
    rf"|{_LANGUAGES}(?:[.;,]? ?{_LANGUAGES})*|library of liberal arts title"
    r"|(?:no |product )*(?:description|details)(?: is)?(?: not| un)?(?: ?available| given| provided)?"
    r"|(?:please )?(?:see|read) (?:the )?(?:above|below|title|pictures?|photos?|images?|description|details)"
    r"|n/?a|none|null|unknown|tbd|click here(?: for (?:more|details))?|all rights reserved)[\s.:!]*",
    re.IGNORECASE,
)
# Who made it and nothing else: "By Ann Ode, Illustrated by Bo Ek". A name alone needs an initial or says what was done:
# "By Popular Demand" is no author. In lower case only with a second part, and not where an article follows.
_NOBODY = "the|an?|its|your|our|my|their|his|her|hand|heart|all|many"
_PERSON = rf"(?!(?:{_NOBODY})[ ,])[^\W\d_][\w.'\u2019-]*(?:,? (?:[^\W\d_][\w.'\u2019-]*|&)){{0,7}}"
_PARTICLES = "and|&|de|la|le|van|von|der|den|del|di|du"
_NAME = r"(?=[A-Z])(?!(?:For|The|Of|In|With|Your|Our|All|Every|Around|Since)\b)[\w.'\u2019-]+"
_NAMED = rf"{_NAME}(?: (?:{_NAME}|{_PARTICLES})){{1,7}}"
_WROTE = r"(?:written|illustrated|edited|translated|retold|adapted|compiled|selected|photographed|narrated)"
_ROLE = rf"(?:{_WROTE}|designed|read)"
_PART = r"(?:foreword|introduction|preface|afterword|text|pictures|photographs|photos|illustrations|drawings)"
_CREDIT = re.compile(
    rf"(?i:(?:{_ROLE} )?by {_PERSON}(?:[,;.]| and)? ?(?:(?:with )?(?:{_ROLE}|(?:an? )?{_PART}) by {_PERSON}[.,; ]*)+)"
    rf"|(?i:{_WROTE} by) {_NAMED}\.?|(?i:by) (?=.*\b[A-Z]\. ){_NAMED}\.?"
)

_LISTING = r"test (?:item|product|listing|asin)s?"
_NO_SALE = r"do(?: not|n't|n\u2019t) (?:bid|buy|order|purchase)"
_REST = "on|this|these|it|any|item|listing|product|test|yet|now|please|thanks?|you"
_JUNK = re.compile(
    rf"(?:this is )?(?:just |only )?(?:a )?(?:{_LISTING}[\s.,!:-]*(?:\Z|(?:not|do|don't|don\u2019t|please|only)\b)"
    rf"|test[\s.,!:-]*(?:\Z|not to (?:bid|buy|order)\b|(?:please )?{_NO_SALE}\b))"
    rf"|(?:please )?{_NO_SALE}(?: (?:{_REST}))*[\s.!]*\Z"
    r"|lorem ipsum(?: dolor\b|\W*\Z)|(?:asdf|qwerty)\w*\Z",
    re.IGNORECASE,
)
_JUNK_TITLE = re.compile(
    rf"(?:this is )?(?:just |only )?(?:a )?{_LISTING}[\s.,!:-]*(?:\Z|(?:not|do not|don't|don\u2019t|please|only)\b)",
    re.IGNORECASE,
)
_JUNK_STARTS = frozenset(
    ("this", "just", "only", "test", "a te", "plea", "do n", "don'", "don\u2019", "lore", "asdf", "qwer")
)
_WORDLESS = re.compile(r"[\W_]*")


def suspects(texts: list[str]) -> list[int]:
    """Positions of the texts that `clean` may change; all others it would leave as they are.

    One look at all their bytes at once: anything but printable ASCII, `&`, `<`, two spaces, a space at an end, or a
    semicolon after what may be the stump of an entity.
    """
    data = np.frombuffer(("\0" + "\0".join(texts) + "\0").encode("utf-8", "surrogatepass"), np.uint8)
    ends = np.flatnonzero(data == 0)
    if len(ends) != len(texts) + 1:
        return list(range(len(texts)))  # a NUL inside a text
    hit = np.zeros(len(texts) + 1, bool)
    for start in range(0, len(data), PIECE):
        piece = data[start : start + PIECE + 1]  # one byte more, so that no pair is split
        hit[np.searchsorted(ends, np.flatnonzero(_odd(piece)) + start)] = True
    hit[np.searchsorted(ends, stumps.near(data))] = True
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


def clean(text: str, rules: Cleaning, lines: bool = False, seen: set[str] | None = None) -> str:
    """`text` by the rules that are on, but for boilerplate tails.

    `lines`: it may have several, as a content may and a title may not. `seen` is given the names of the rules that
    mended damage: mojibake, entity_stumps, lost_characters.
    """
    lines, seen = lines and rules.paragraphs, set() if seen is None else seen
    for turn in range(PASSES):
        before, text = text, _once(text, rules, lines, turn > 0, seen)
        if text == before or not _unsettled(text, rules):
            return text
    while (after := _once(text.replace("&", " "), rules, lines, True, seen)) != text:
        text = after
    return text


def _unsettled(text: str, rules: Cleaning) -> bool:
    """Whether one turn may have uncovered work for another: an entity hides a tag, a control character splits both."""
    if "&" in text or "<" in text or (rules.entity_stumps and ";" in text):
        return True
    return rules.mojibake and _may_be_mojibake(text)


def _may_be_mojibake(text: str) -> bool:
    """A quick look: few texts hold one of the leads, and bytes are searched sixty times as fast as by the pattern."""
    if text.isascii():
        return False
    data = text.encode("utf-8", "surrogatepass")
    return any(lead in data for lead in _LEADS) and _MOJIBAKE.search(text) is not None


def _once(text: str, rules: Cleaning, lines: bool, again: bool, seen: set[str]) -> str:
    raw = not text.isascii() or ";&" in text  # else what is decoded has no neighbour to be mojibake with
    if rules.unescape and "&" in text:
        if rules.mojibake and ";&#" in text and (mended := _BYTES.sub(_utf8, text)) != text:
            text = _seen(mended, "mojibake", seen)
        text = _unescape(text, again)
    if rules.entity_stumps and ";" in text and (mended := stumps.mend(text)) != text:
        text = _seen(mended, "entity_stumps", seen)
    if rules.mojibake and raw and _may_be_mojibake(text) and (mended := _recode(text)) != text:
        text = _seen(mended, "mojibake", seen)
    if rules.lost_characters and _LOST in text:
        text = _seen(text.replace(_LOST, ""), "lost_characters", seen)
    if rules.strip_tags and "<" in text:
        text = markup.strip(text, lines)
    # To Python a character is printable when it is no control, not unseen, and no space but the plain one.
    printable = text.isprintable()
    if not printable:
        if rules.unescape and not text.isascii() and _C1.search(text):
            text = text.translate(_WINDOWS)
        if lines and rules.whitespace:
            text = _BREAKS.sub("\n", text)
        if rules.controls:
            text = _UNSEEN.sub("", _CONTROLS.sub(" ", text))
    if rules.normalise and not text.isascii():
        text = unicodedata.normalize("NFC", text)
    return _fold(text, rules, lines, printable)


def _seen(text: str, rule: str, seen: set[str]) -> str:
    seen.add(rule)
    return text


def _fold(text: str, rules: Cleaning, lines: bool, printable: bool) -> str:
    """White space by the rules; the ends are trimmed whatever they say."""
    if not rules.whitespace:
        return text.strip()
    if printable:
        return _squeeze(text)
    if lines and "\n" in text:
        return _GAPS.sub("\n\n", "\n".join(" ".join(line.split()) for line in text.split("\n"))).strip()
    return " ".join(text.split())


def _squeeze(text: str) -> str:
    """White space folded, where the plain space is the only one there is."""
    while "  " in text:
        text = text.replace("  ", " ")
    return text.strip(" ")


def _unescape(text: str, again: bool) -> str:
    """Entities of every notation decoded; two that are the halves of one character are joined."""
    if again:
        text = _AMPERSANDS.sub("&", text)
    if ";&#" in text:
        text = _HALVES.sub(_join, text)
    return _ENTITY.sub(_decode, text)


def _utf8(found: re.Match[str]) -> str:
    codes = [int(x, 16) if x else int(n) for x, n in _NUMBER.findall(found[0])]
    try:
        return bytes(codes).decode()
    except UnicodeDecodeError:
        return found[0]


def _join(found: re.Match[str]) -> str:
    high = int(found[1], 16) if found[1] else int(found[2])
    low = int(found[3], 16) if found[3] else int(found[4])
    if not (0xD800 <= high < 0xDC00 <= low < 0xE000):
        return found[0]
    return chr(0x10000 + ((high - 0xD800) << 10) + low - 0xDC00)


def _decode(found: re.Match[str]) -> str:
    """One entity. A name without its semicolon is left where it may be a parameter of an address."""
    entity = found[0]
    if entity[1] == "#" or (entity[-1] == ";" and entity[1:] in html5):
        return _character(entity)
    return _opened(entity, found.string[found.end() : found.end() + 1])


@lru_cache(maxsize=4_096)
def _opened(entity: str, after: str) -> str:
    for name in _OPEN:
        if entity.startswith(name, 1):
            rest = entity[len(name) + 1 :]
            parameter = _PARAMETER.match(rest + after)
            left = parameter and (name not in _ALWAYS or "=" in rest)
            return entity if left else html5[name] + rest
    return entity


def _recode(text: str) -> str:
    """`text` with its mojibake undone, by ftfy where it is sure, and signs that can be nothing else."""
    import ftfy  # half a second of a start that needs none

    mended = ftfy.fix_encoding(text, ftfy.TextFixerConfig(fix_c1_controls=False))
    return _SIGN.sub(_sign, mended)


def _sign(found: re.Match[str]) -> str:
    try:
        return found[0].encode("sloppy-windows-1252").decode()
    except UnicodeError:
        return found[0]


def cut_tails(text: str) -> str:
    """`text` without the boilerplate at its end: what edition is meant, whose copyright it is."""
    while text.endswith(("..", "\u2026")) or text[-16:].rstrip(" .").lower().endswith(_ENDS):
        start = max(0, len(text) - 400)  # tails are short: a long content costs no more than a short one
        end = text[start:].lower()
        mark = max(end.rfind(words) for words in _MARKS)
        if mark < 0 or len(end) != len(text) - start or not _is_tail(text, start + mark):
            begun = _begun(text)
            if begun is None:
                return text
            mark = begun - start
        text = text[: start + mark].rstrip(" -\u2014\r\n\t\xa0")
    return text


def _is_tail(text: str, mark: int) -> bool:
    if _TAIL.fullmatch(text, mark):
        return True
    dots = _DOTS.search(text, mark)
    if not dots:
        return False
    if edition := _EDITION.fullmatch(text, mark, dots.start()):
        return _either_begins(edition["edition"].strip().removeprefix("alternate").strip(), _EDITIONS)
    cut = _CUT.fullmatch(text, mark, dots.start())
    return cut is not None and _either_begins(cut["publisher"].strip(), _PUBLISHERS)


def _either_begins(text: str, known: Sequence[str]) -> bool:
    """Whether one of the known phrases begins with `text`, or `text` with it."""
    text = text.lower()
    return any(text.startswith(phrase) or phrase.startswith(text) for phrase in known)


def _begun(text: str) -> int | None:
    """Where a tail begins that breaks off before it says that it is one: "--This text re..."."""
    dots = _DOTS.search(text, max(0, len(text) - 8))
    found = _BEGUN.search(text, max(0, len(text) - 100), dots.start()) if dots else None
    return found.start() if found and any(m.startswith(found[1].lower()) for m in _MARKS[:2]) else None


def is_boilerplate(text: str) -> bool:
    """Whether `text` says nothing of the product: 'Book by', 'No description available', who wrote and drew it."""
    return len(text) < BRIEF and bool(_BOILERPLATE.fullmatch(text) or _CREDIT.fullmatch(text))


def is_junk(text: str) -> bool:
    """Whether `text` is a test item, has no letter or digit, or is one phrase at least four times over."""
    head = text[:16]
    if not head[:1].isalnum() and _WORDLESS.fullmatch(text):
        return True
    if head[:4].lower() in _JUNK_STARTS and _JUNK.match(text):
        return True
    again = text.find(head, 1, len(text) // 4 + 16)
    return 0 < again <= len(text) // 4 and text.startswith(text[again:])


def is_junk_title(text: str) -> bool:
    """Whether a title is that of a test item, or has no letter or digit. "Test" and "Qwerty" are names of products."""
    return bool(not text[:1].isalnum() and _WORDLESS.fullmatch(text)) or bool(_JUNK_TITLE.match(text))
