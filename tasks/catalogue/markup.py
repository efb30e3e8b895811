"""Markup: the text of a piece of HTML as a browser shows it, and text with a `<` in it as it stands.

A `<` begins a tag where a name that HTML knows follows, alone or with attributes that have values: `a < b` and
`i<b and c>d` are text. So are `a<b>c` and `press <select>`, tags that are never closed and look like code. Lexbor, the
HTML parser, then reads the tags, comments and scripts.
"""

from __future__ import annotations

import re

from selectolax.lexbor import LexborHTMLParser

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
_VALUE = r"\s*=\s*(?:\"[^\"]{0,2000}\"|'[^']{0,2000}'|[^\s\"'<>]+)"
_LESS = re.compile(
    rf"<(?P<end>/?)(?P<name>{_NAMES})"
    rf"(?:\s+(?:[\w:@.-]+{_VALUE}|(?:{_BARE})(?=[\s/>]))(?:\s+[\w:@.-]+(?:{_VALUE})?)*)?\s*/?>"
    rf"|<(?P<broken>{_NAMES})\s+[\w:@.-]+\s*=[^<>]*>"  # a quote that is never closed ends with its tag
    r"|<!doctype[^<>]*>|<!\[(?:if|endif)[^<>]*>|<\?xml[^<>]*>|(?P<comment><!--)|<",
    re.IGNORECASE,
)
# Names that are words of code and of instructions, too: bare and never closed they are no tags. A single letter is none
# between other letters; elsewhere it is a tag whose end was cut off with the text.
_WORDLIKE = frozenset(
    "area base button canvas caption cite code data details dialog frame input label legend link main map mark menu "
    "meter object option output param picture progress samp section select source summary template time title track "
    "var video".split()
)
_LETTERS = frozenset("abiqsu")

# A tag or comment at the end of a text that was cut at a length.
_CUT = re.compile(
    r"</(?:[a-z]\w{0,11})?\s*\Z|<(?:br|p|li|div|span|img|strong|em|ul|ol|h[1-6]|table|tr|td)\s*/?\Z"
    r"|<(?:a|p|br|li|div|span|img|font|table|tr|td|ul|ol|h[1-6])\s+[\w:-]*\Z"
    rf"|<(?:{_NAMES})\s+[\w:@.-]+\s*=[^<>]{{0,500}}\Z|<!--[^<>]{{0,200}}\Z",
    re.IGNORECASE,
)
_CDATA = re.compile(r"<!\[CDATA\[(.{0,1000000}?)\]\]>", re.DOTALL)

_PARAGRAPH = frozenset(("p", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "pre"))
_LINE = frozenset(
    "address article aside body caption center dd details dialog dir div dl dt fieldset figcaption figure footer form "
    "frameset head header hr html legend li main menu nav ol optgroup option section select summary table tbody tfoot "
    "thead title tr ul".split()
)
_SPACE = frozenset(
    "audio button canvas embed iframe img input label meter object progress td textarea th video".split()
)
# Lexbor would leave out what stands in these without their parents, or read no tags in them: only their breaks stay.
_LOOSE = frozenset(
    "body caption col colgroup frame frameset head html iframe noframes noscript optgroup option select svg table "
    "tbody td template textarea tfoot th thead title tr".split()
)
_BREAK, _BLOCK, _GAP = "\x1c", "\x1e", "\x1d"  # <br>, the edge of a block, the edge of a paragraph
_MARKS = str.maketrans(dict.fromkeys((_BREAK, _BLOCK, _GAP), " "))
_BLANK_LINE = re.compile(r"[ \t\r\xa0]*\n[ \t\r\xa0]*\n\s*")
_EDGE = re.compile(rf"\s*[{_BREAK}{_GAP}{_BLOCK}][\s{_BREAK}{_GAP}{_BLOCK}]*")


def strip(text: str, lines: bool) -> str:
    """`text` without tags, comments and scripts; inline tags leave nothing, others a space.

    With `lines`, `<br>`, `<li>` and other blocks begin a line, and `<p>` and headings stand between blank lines; line
    ends of the HTML itself are then white space, as in a browser.
    """
    if "<![" in text:
        text = _CDATA.sub(r"\1", text)
    text = _whole(text)
    lowered = text.lower()
    ends = {name: lowered.rfind(f"</{name}") for name in ("script", "style")} if "</s" in lowered else {}
    comments = text.rfind("-->")
    tags, blocks = 0, False

    def read(found: re.Match[str]) -> str:
        nonlocal tags, blocks
        if found["comment"]:
            kept = found.start() < comments
            tags += kept
            return "<!--" if kept else "&lt;!--"
        if found[0] == "<":
            return "&lt;"
        if _is_code(found, lowered):
            return "&lt;" + found[0][1:]
        tags += 1
        if found[0].endswith("]-->"):  # Word's `<!--[if mso]> … <![endif]-->` ends a comment
            return "-->"
        name = (found["name"] or found["broken"] or "").strip(" /").lower()
        mark = _mark(name, bool(found["end"]))
        blocks = blocks or bool(mark.strip(" "))
        closed = found["end"] or name not in _RAW or found.start() < ends.get(name, 0)  # else all after it were script
        whole = found["name"] and name not in _LOOSE and closed
        return mark + found[0] if whole else mark

    marked = _LESS.sub(read, text.translate(_MARKS).replace("&", "&amp;"))
    return _text(marked, lines, blocks) if tags else text


_RAW = ("script", "style")


def _is_code(found: re.Match[str], lowered: str) -> bool:
    """Whether what looks like a tag is text. `lowered` is the whole text, in which its end may follow."""
    name = (found["name"] or "").lower()
    if found["end"] or found[0].lower() != f"<{name}>" or not (name in _WORDLIKE or name in _LETTERS):
        return False
    around = found.string[found.start() - 1 : found.start()], found.string[found.end() : found.end() + 1]
    return (name in _WORDLIKE or all(map(str.isalnum, around))) and f"</{name}" not in lowered


def _whole(text: str) -> str:
    """`text` without the tags that break off at its end."""
    end = len(text)
    while (start := text.rfind("<", 0, end)) >= 0 and _CUT.match(text, start, end):
        end = start
        while end and text[end - 1].isspace():
            end -= 1
    return text[:end]


def _mark(name: str, end: bool) -> str:
    if name == "br":
        return _BREAK
    if name in _PARAGRAPH:
        return _GAP
    if name in _LINE:
        return _BLOCK
    return " " if name in _SPACE else ""


def _text(marked: str, lines: bool, blocks: bool) -> str:
    """The text of HTML whose breaks are marked."""
    if lines and blocks:
        marked = _BLANK_LINE.sub(_GAP, marked).replace("\r\n", " ").replace("\n", " ")
    if "<" in marked:
        parser = LexborHTMLParser(marked, is_fragment=True)
        if "<s" in marked.lower():
            parser.strip_tags(list(_RAW))
        marked = parser.text()
    else:
        marked = marked.replace("&lt;", "<").replace("&amp;", "&")
    return _EDGE.sub(_lines if lines else " ", marked) if blocks else marked


def _lines(found: re.Match[str]) -> str:
    return "\n\n" if _GAP in found[0] or found[0].count(_BREAK) > 1 else "\n"
