"""Tokens: a text as words and measures in order, with what stands around each: clause, negation, bound, name.

Numbers carry their value in SI units, whatever they are written as (`12"`, `twelve inches`, `2 decades`, `3 1/2
hours`). What a catalogue has damaged is read through: stumps of entities (`x2019;`), glued words are left to who
compares them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from tasks.answers.lexicon import Meaning, meaning
from tasks.answers.sentences import sentences

# Words that build sentences and tell nothing; no negation, order, bound or exclusion is among them.
FUNCTION = frozenset(
    """a an the this that these those it its itself he him his himself she her hers herself they them their theirs
    themselves we us our ours you your yours i me my mine one ones who whom whose which what where when why how be is am
    are was were been being do does did done have has had having will would shall should can could may might must
    ought to of in on at by for from with as into onto upon about through throughout during until till since than so
    too very also and or if then there here such just quite rather still yet already even much many some any each other
    others another both either own same as well let lets s re ve ll d m t yes please of via per etc while whereas
    though although because however therefore thus besides moreover whether off out up down back again away around
    across along among between within toward towards onto like but ok okay well now get gets got getting
    roughly nearly approximately almost least most as""".split()
)
NEGATORS = frozenset("not never neither nor no none without non cannot nothing nobody hardly rarely".split())
_NEGATING = frozenset("forbid prevent avoid refuse lack fail prohibit discourage".split())  # verbs
_KEEPING = frozenset("keep stop protect".split())  # … from
_NOUN_NEGATORS = frozenset("no without non none".split())
_CLAUSE = frozenset("but so because since although though while whereas however yet".split())
_VERBAL = frozenset(
    """is are was were has have had can could will would may might must do does did comes come it they he she you
    the""".split()
)
_AUXILIARY = frozenset("is are was were has have had can could will would may might must should does do".split())
_UPPER = ("up to", "at most", "no more than", "not more than", "no longer than", "less than", "fewer than",
          "under", "below", "maximum", "max", "within", "or less", "or fewer", "or under", "at the most")  # fmt: skip
_LOWER = ("more than", "at least", "over", "above", "minimum", "min", "no less than", "no fewer than", "not less than",
          "or more", "and up", "or older", "or later", "or newer", "or above", "exceeding", "upwards of",
          "longer than", "older than")  # fmt: skip
_BOUNDING = frozenset(
    "more less fewer over under above below least most maximum minimum exceeding longer older".split()
)
_NEITHER = ("just over", "just under", "a little over", "slightly over")
_THAN = re.compile(
    r"(?P<denied>(?:\b(?:not|no|never)|n't)(?:\s+\w+)?)?\s+(?P<word>more|less|fewer|(?!other|rather)\w{3,}er) than$"
)
_FEWER = frozenset("less fewer shorter smaller lighter younger lower thinner narrower slower cheaper earlier".split())
_IN_WHAT = re.compile(r"\s+(?:total|all|one|the|an?|each|every|this|that|its|their|your|stock|number|\d{4})\b")
_GLUED = re.compile(r"(?<=[a-z])-(?=\d+(?:\.\d+)? ?(?:g|kg|mm|cm|ml|l|oz|lbs?|in|inch|ft|w|v)\b)")  # "set-105g"
_COUNT = re.compile(r"(?<=\s)x(?=\d{1,3}(?![\w.]))")  # the x of "cloths x6"
_BY = re.compile(r"(?<![a-wyz0-9.])(\d+(?:\.\d+)?[\"']?\s?)x(?=\s?\.?\d)")  # the x of 20x30

_SMALL = {word: n for n, word in enumerate(
    """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
    eighteen nineteen""".split())}  # fmt: skip
_TENS = {word: 10 * n for n, word in enumerate("twenty thirty forty fifty sixty seventy eighty ninety".split(), 2)}
_GREAT = {"hundred": 100, "thousand": 1_000, "million": 1_000_000, "billion": 1_000_000_000, "dozen": 12}
_ORDINALS = {word: n for n, word in enumerate(
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth".split(), 1)}  # fmt: skip
_TIMES = {"half": 0.5, "twice": 2.0, "thrice": 3.0, "double": 2.0, "triple": 3.0}
_UNITS: dict[str, tuple[str, float]] = {}
for _kind, _listed in {
    "length": "0.0254 in inch inches|0.3048 ft foot feet|0.9144 yd yds yard yards|0.01 cm centimeter centimeters "
    "centimetre centimetres|0.001 mm millimeter millimeters millimetre millimetres|1 m meter meters metre metres|"
    "1000 km kilometer kilometers kilometre kilometres|1609.34 mile miles",
    "mass": "0.0283495 oz ounce ounces|0.453592 lb lbs pound pounds|0.001 g gram grams gm|"
    "1 kg kilogram kilograms kilos",
    "volume": "1 l liter liters litre litres|0.001 ml milliliter milliliters millilitre millilitres|3.78541 gal gallon "
    "gallons|0.946353 qt quart quarts|0.473176 pint pints|0.236588 cup cups",
    "time": "1 sec second seconds|60 min minute minutes mins|3600 hr hrs hour hours|86400 day days|604800 week weeks|"
    "2629800 month months|31557600 yr yrs year years|315576000 decade decades|3155760000 century centuries",
    "power": "1 w watt watts|1000 kw kilowatt kilowatts|745.7 hp horsepower",
    "frequency": "1 hz|1000 khz|1000000 mhz|1000000000 ghz",
    "memory": "1 kb|1000 mb megabyte megabytes|1000000 gb gigabyte gigabytes|1000000000 tb terabyte terabytes",
    "speed": "1.609 mph|1 kmh kph",
    "percent": "1 percent",
    "money": "1 dollar dollars|0.01 cent cents",
    "volt": "1 v volt volts", "ampere": "1 ah amp amps", "turns": "1 rpm", "light": "1 lumen lumens",
    "pressure": "1 psi", "page": "1 page pages", "tilt": "1 degree degrees",
}.items():  # fmt: skip
    for _group in _listed.split("|"):
        _factor, *_names = _group.split()
        _UNITS.update(dict.fromkeys(_names, (_kind, float(_factor))))
_SIGNS = {'"': "inch", "''": "inch", "%": "percent", "'": "foot"}
_SIDES = {"h": "high", "w": "wide", "d": "deep", "l": "long"}

_STUMP = re.compile(
    r"&?#?x?(?:2019|2018|0?39|x?9[12]|rsquo|lsquo|apos);|&?#?x?(?:201[cd]|9[34]|34|[lr]dquo|quot);|"
    r"&?(?:amp|#38);|&?#?x?(?:201[34]|9[67]|[mn]dash);|&nbsp;|x9[12](?=[a-z])",
    re.IGNORECASE,
)
_NUMBER = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?"
_TOKEN = re.compile(
    rf"(?P<money>[$\u20ac\u00a3]\s?)?(?P<number>(?<![a-z0-9])(?:{_NUMBER}|\.\d+))(?:[ -](?P<fraction>\d+/\d+)(?!\d))?"
    r"(?P<ordinal>st|nd|rd|th)?(?:\s?(?P<sign>\"|''|%|'(?![a-z]))|(?P<tight>[a-z]{1,6})\b(?!'))?"
    r"|(?P<code>[a-z]+-?\d[a-z0-9]*(?:-[a-z0-9]+)*)"
    r"|(?P<word>[^\W\d_]+(?: ?'(?:t|s|re|ve|ll|d|m)\b)?)"
    r"|(?P<cut>[,;:()!?\u2026\n\u2022|\u2013\u2014/]|\.(?!\d)|\s-{1,2}\s?|--)"
)


@dataclass(slots=True)
class Token:
    """One word or number. `start` and `end` are places in the text that was given.

    `place` grows by one a content word and more at the end of a clause or sentence, so that differences tell how far
    two tokens lie apart. `value` is in SI where `kind` names what is measured.
    """

    text: str
    start: int
    end: int
    sentence: int
    content: bool = True
    name: bool = False
    code: bool = False
    value: float | None = None
    raw: float | None = None  # the number as written
    kind: str = ""
    unit: str = ""
    weak: bool = False  # "one", "first", "half": often no number at all
    about: bool = False
    bound: str = ""  # "<" or ">"
    negated: bool = False
    unsure: bool = False  # whether a negation reaches it
    place: float = 0.0
    clause: int = 0
    order: int = -1  # among the content words
    meaning: Meaning = field(default_factory=lambda: meaning(""))


def folded(text: str) -> tuple[str, list[int] | None]:
    """`text` with straight quotes, no accents and stumps read; and where each character stood, if any moved."""
    plain = text.translate(_STRAIGHT)
    if not plain.isascii():
        plain = "".join(_bare(c) for c in plain)
    if ";" not in plain and "x9" not in plain:
        return plain, None
    made, places, at = [], [], 0
    for stump in _STUMP.finditer(plain):
        told = stump[0].lower()
        sign = "'" if re.search(r"2019|2018|39|9[12]|[rl]squo|apos", told) else '"'
        sign = " " if re.search(r"amp|38|201[34]|9[67]|dash|nbsp", told) else sign
        made += [plain[at : stump.start()], sign]
        places += [*range(at, stump.start()), stump.start()]
        at = stump.end()
    made.append(plain[at:])
    places += [*range(at, len(plain)), len(plain)]
    return "".join(made), places


_STRAIGHT = str.maketrans("\u2018\u2019\u201b\u2032\u201c\u201d\u2033\u00a0\u2011\u2010\u00d7", "''''\"\"\" --x")


def _bare(c: str) -> str:
    bare = unicodedata.normalize("NFKD", c)[:1] if ord(c) > 127 else c
    return bare or c


def tokens(text: str) -> list[Token]:
    """All tokens of `text`, in order."""
    plain, places = folded(text)
    spans = sentences(plain)
    low, sentence = _COUNT.sub(" ", _GLUED.sub(" ", _BY.sub(r"\1 ", plain.lower()))), 0
    found: list[Token] = []
    state = _Reading(plain)
    for match in _TOKEN.finditer(low):
        while sentence + 1 < len(spans) and match.start() >= spans[sentence + 1][0]:
            sentence += 1
            state.sentence(sentence, found)
        state.read(match, found)
    state.end(found)
    if places is not None:
        for token in found:
            token.start, token.end = places[token.start], places[min(token.end, len(places) - 1)]
    return found


class _Reading:
    """What is known while tokens are read from left to right."""

    def __init__(self, plain: str) -> None:
        self.plain, self.place, self.clause, self.at, self.order = plain, 0.0, 0, 0, 0
        self.first = True  # the next word begins a sentence
        self.from_: int = 0  # where this sentence's tokens begin
        self.cuts: dict[int, str] = {}  # the sign before a token, by the token's number

    def sentence(self, number: int, found: list[Token]) -> None:
        self._finish(found)
        self.place += 6
        self.clause += 1
        self.at, self.first = number, True
        self.from_ = len(found)

    def end(self, found: list[Token]) -> None:
        self._finish(found)

    def read(self, match: re.Match[str], found: list[Token]) -> None:
        if match["cut"] is not None:
            sign = match["cut"].strip()
            if sign != "/":
                self.place += 1 if sign == "," else 2
                self.clause += 1
                self.cuts[len(found)] = sign
            return
        if match["number"] is not None:
            self._number(match, found)
        else:
            self._word(match, found)

    def _add(self, token: Token, found: list[Token]) -> None:
        token.sentence, token.clause = self.at, self.clause
        if token.content:
            self.place += 1
            token.order = self.order
            self.order += 1
        token.place = self.place
        found.append(token)
        self.first = False

    def _number(self, match: re.Match[str], found: list[Token]) -> None:
        value = float(match["number"].replace(",", ""))
        if match["fraction"]:
            top, bottom = map(int, match["fraction"].split("/"))
            value += top / bottom if bottom else 0
        token = Token(match["number"], match.start("number"), match.end(), self.at, value=value, raw=value)
        side = ""
        if match["money"]:
            token.kind = token.unit = "money"
        elif match["ordinal"]:
            token.kind = token.unit = "th"
        elif match["sign"]:
            _measure(token, _SIGNS[match["sign"]])
        elif tight := match["tight"]:
            if tight in _SIDES and re.search(
                r"\dx|x\d|x \d|\d x", self.plain[max(0, match.start() - 8) : match.end() + 8].lower()
            ):
                side = _SIDES[tight]
            elif tight in _UNITS:
                _measure(token, tight)
            elif tight == "x" or tight in ("f", "c"):
                token.kind = token.unit = "" if tight == "x" else tight
            else:
                token.unit = tight
        self._add(token, found)
        after = re.match(r"\s?([whdl])\b(?!')", self.plain[match.end() : match.end() + 4].lower())
        if match["sign"] and after and not side:
            side = _SIDES[after[1]]
        if side:
            self._add(Token(side, match.start("number"), match.end(), self.at, meaning=meaning(side)), found)

    def _word(self, match: re.Match[str], found: list[Token]) -> None:
        text = match[0]
        capital = self.plain[match.start()].isupper()
        if code := match["code"]:
            self._add(Token(code.replace("-", ""), match.start(), match.end(), self.at, name=True, code=True), found)
            return
        negative = "'t" in text or text == "cannot"
        text = text.replace(" ", "")
        bare = text.removesuffix("'s").partition("'")[0]
        if negative:
            bare = "not"
        _joined(bare, found)
        last = found[-1] if found else None
        if bare == "half" and last and last.text == "+half":
            last.text = last.text[1:]
            return
        if (
            last
            and last.value is not None
            and not last.unit
            and bare in _UNITS
            and len(bare) > (bare not in ("l", "g", "m", "w", "v"))
            and not (bare == "in" and (last.text.isalpha() or _IN_WHAT.match(self.plain.lower(), match.end())))
        ):
            _measure(last, bare)
            last.end = match.end()
            return
        if last and last.kind == "tilt" and bare in ("f", "c", "fahrenheit", "celsius"):
            last.kind = last.unit = bare[0]
            return
        if bare in ("and", "or", "x", "plus", "while", "whereas", "but"):  # what it joins are two things
            self.place += 1
        if bare == "by" and any(t.value is not None for t in found[-2:]):  # 7 inches high by 3 wide
            self.place += 1
        token = Token(bare, match.start(), match.end(), self.at, meaning=meaning(bare))
        token.name = capital and not self.first
        token.content = bare not in FUNCTION and bare not in NEGATORS and len(bare) > 1
        if capital and self.first and token.content:
            token.name = not token.meaning.pos
        self._spelt(token, found)
        if token.text:
            self._add(token, found)

    def _spelt(self, token: Token, found: list[Token]) -> None:
        """Numbers in words; a word that continues the number before it ("seventy-five") becomes part of it."""
        word = token.text
        last = found[-1] if found else None
        value = {**_SMALL, **_TENS}.get(word)
        if word in _ORDINALS:
            token.value = token.raw = float(_ORDINALS[word])
            token.kind = token.unit = "th"
            token.content, token.weak = True, word in ("first", "second")
        elif word in _TIMES:
            token.value = token.raw = _TIMES[word]
            token.kind = token.unit = "times"
            token.content, token.weak = True, word in ("half", "double")
        elif value is not None:
            if last and last.text in _TENS and value < 10 and token.start - last.end <= 1:
                last.value = last.raw = (last.value or 0) + value
                last.end = token.end
                token.value = 0.0
                token.content, token.text, token.value = False, "", None
                return
            token.value = token.raw = float(value)
            token.content, token.weak = True, word == "one"
        elif word in _GREAT:
            if last and last.value is not None and not last.unit and token.start - last.end <= 1:
                last.value = last.raw = last.value * _GREAT[word]
                last.end, last.weak = token.end, False
                token.content, token.text = False, ""
            else:
                token.value = token.raw = float(_GREAT[word])
                token.content = True
        elif word in ("quarter", "quarters") and last and last.value is not None and last.value < 4:
            last.value = last.raw = last.value / 4
            token.content, token.text = False, ""

    def _finish(self, found: list[Token]) -> None:
        """Negation, bounds and units of a list ("20 x 55 inches") of the sentence that ends here."""
        said = found[self.from_ :]
        _bounds(said, self.plain)
        _lists(said, self.plain)
        _negations(said, self.cuts, self.from_)


def _joined(word: str, found: list[Token]) -> None:
    """Take "and a" of "three and a half", and "of an" of "three quarters of an hour", out of the way."""
    two = [t.text for t in found[-2:]]
    if len(found) > 2 and found[-3].value is not None and not found[-3].unit:
        if word == "half" and two == ["and", "a"]:
            del found[-2:]
            found[-1].value = found[-1].raw = (found[-1].value or 0) + 0.5
            found[-1].text = "+half"
        elif word in ("hour", "year", "mile", "pound", "cup") and two in (["of", "an"], ["of", "a"]):
            del found[-2:]


def _measure(token: Token, unit: str) -> None:
    kind, factor = _UNITS.get(unit) or _UNITS[unit + "es"]
    token.kind, token.unit = kind, unit
    token.value = (token.raw or 0.0) * factor
    token.weak = False


def _lists(said: Sequence[Token], plain: str) -> None:
    """A number takes its unit from the next one where only `x`, `-`, `to`, `or`, `and` stands between."""
    numbers = [t for t in said if t.value is not None]
    for one, after in reversed(list(pairwise(numbers))):
        between = plain[one.end : after.start].lower().strip()
        if not one.unit and after.unit in _UNITS and between in ("x", "*", "-", "\u2013", "to", "or", "by", "and"):
            _measure(one, after.unit) if after.kind != "money" else None


def _bounds(said: Sequence[Token], plain: str) -> None:
    for token in said:
        if token.value is None:
            continue
        before = plain[max(0, token.start - 24) : token.start].lower().rstrip(" $")
        after = plain[token.end : token.end + 24].lower().strip()
        nearby = plain[max(0, token.start - 14) : token.start].lower()
        token.about = bool(re.search(r"about|around|roughly|approx|nearly|almost|some|close to|circa", nearby))
        if before.endswith(_NEITHER):
            continue
        token.bound = _bound(before, after)
        if token.bound:
            for other in said:
                if token.start - 16 < other.start < token.start and (other.text in _BOUNDING or _than(other, said)):
                    other.content = False
        if after.startswith("+") or plain[token.end - 1 : token.end + 1].endswith("+"):
            token.bound = ">"


def _bound(before: str, after: str) -> str:
    """The bound that the words around a number make of it: "<", ">" or none."""
    if than := _THAN.search(f" {before}"):
        return "<" if (than["word"] in _FEWER) != bool(than["denied"]) else ">"
    found = ""
    for sign, listed in (("<", _UPPER), (">", _LOWER)):
        tails = [w for w in listed if w[:3] in ("or ", "and")]
        heads = tuple(f" {w}" for w in listed if w not in tails)
        if f" {before}".endswith(heads) or any(re.match(rf"(?:\S+ )?{w}\b", after) for w in tails):
            found = sign
    return found


def _than(token: Token, said: Sequence[Token]) -> bool:
    """Whether a word is a comparative before "than"."""
    return token.text.endswith("er") and any(t.text == "than" and 0 < t.start - token.end < 3 for t in said)


def _negations(said: Sequence[Token], cuts: dict[int, str], offset: int) -> None:
    """Mark what a negation reaches as negated, and what it may reach (a list after a comma) as unsure."""
    for n, token in enumerate(said):
        if token.text in ("free", "proof") and n and said[n - 1].end + 1 >= token.start:
            said[n - 1].negated ^= True
        elif token.text in ("against", "nobody", "nothing"):  # "a guest nobody expected"
            _reach(said, n + 1, 0, cuts, offset)
        elif (start := _denies(said, n, cuts, offset)) is not None:
            left = 4 if token.text in _NOUN_NEGATORS else 2 if token.text in ("instead", "rather") else 6
            _reach(said, start, left, cuts, offset)
            if n and said[n - 1].text in _AUXILIARY:  # "solvents should not be used" denies solvents too
                _unsure_before(said, n, cuts, offset)


def _denies(said: Sequence[Token], n: int, cuts: dict[int, str], offset: int) -> int | None:
    """Where what the word `n` denies begins; None where it denies nothing."""
    word, lemmas = said[n].text, set(said[n].meaning.lemmas)
    after = [t.text for t in said[n + 1 : n + 3]] + ["", ""]
    apart = word == "instead" or (word == "rather" and after[0] == "than")
    if _KEEPING & lemmas:
        near = range(n + 1, min(n + 6, len(said)))
        return next(
            (m + 1 for m in near if said[m].text == "from" or [t.text for t in said[m - 1 : m + 1]] == ["out", "of"]),
            None,
        )
    if not (word in NEGATORS or _NEGATING & lemmas or apart):
        return None
    if word in ("not", "no") and (
        after[0] in ("only", "matter", "doubt", "problem", "trouble") or after[1] == "than" or after[0] == "than"
    ):
        return None
    if word == "no" and n + offset + 1 in cuts:
        return None
    return n + 1 + (apart and after[0] in ("than", "of"))


def _reach(said: Sequence[Token], start: int, left: int, cuts: dict[int, str], offset: int) -> None:
    """Mark the tokens from `start` on as negated up to `left` words or a sign, and the rest of the clause as unsure.

    A negation reaches all of a list: "not in the oven, microwave or dishwasher", "keep away from acid, oil and salt".
    """
    end = next((m for m in range(start, len(said)) if _stops(said, m, start, cuts, offset)), len(said))
    sure = left > 0
    first = next((m for m in range(start + 1, end) if m + offset in cuts), end)
    whole = sure and _is_list(said[first:end], start > 0 and said[start - 1].text in ("from", "of"))
    for m in range(start, end):
        other = said[m]
        after = said[m + 1].text if m + 1 < len(said) else ""
        cut = m + offset in cuts and m > start
        if (cut or left == 0) and not whole:
            sure = False
        if after == "than" and (other.text in _BOUNDING or other.text.endswith("er")):
            sure = whole = False
        if other.content and sure:
            other.negated ^= True
            left -= 1
        elif other.content:
            other.unsure = True


def _unsure_before(said: Sequence[Token], end: int, cuts: dict[int, str], offset: int) -> None:
    """Mark the words of a clause before its negation as unsure."""
    for m in range(end - 1, -1, -1):
        said[m].unsure = said[m].unsure or (said[m].content and not said[m].negated)
        if m + offset in cuts or said[m].text in _CLAUSE:
            break


def _stops(said: Sequence[Token], m: int, start: int, cuts: dict[int, str], offset: int) -> bool:
    """Whether a negation that begins at `start` ends before the token `m`."""
    word, sign = said[m].text, cuts.get(m + offset, "") if m > start else ""
    after = said[m + 1].text if m + 1 < len(said) else ""
    return (
        word in _CLAUSE
        or word in NEGATORS
        or (word == "to" and m > start > 0 and said[start - 1].text in ("of", "than"))  # "instead of a USM to drive"
        or bool(sign and (sign not in ",:/" or word in _VERBAL))
        or (word == "and" and (after in _VERBAL or after.endswith("ed")))
    )


def _is_list(said: Sequence[Token], of_from: bool) -> bool:
    """Whether these tokens are a list that is denied as a whole."""
    joined = {"or", "nor", "and"} if of_from else {"or", "nor"}
    return any(t.text in joined for t in said) and not any(t.text in _VERBAL - {"the"} for t in said)
