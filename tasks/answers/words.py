"""Words: how a text falls into words, as the index has them, and what of a question names the product."""

from __future__ import annotations

import re
from functools import cache
from math import log
from pathlib import Path
from typing import Any, NamedTuple

import tantivy
import yaml

from tasks.examples.styles import STYLES

_WORD = re.compile(r"[^\W_]+")
_STOP = """
a an and any are as at be been but by can could did do does for from had has have he her his i if in into is
it its me my no not of on or our out please she so some than that the their them then there these they this to
up us was we were what when where which who whom whose why will with would you your
""".split()
STOP = frozenset(_STOP)
_FRAMES = (
    r"what(?:'s| is| are)(?: product)?(?: the| a| an)?",
    r"(?:can|could) you (?:please )?(?:describe|tell me(?: more)? about|explain)(?: the)?",
    r"(?:please )?(?:describe|explain|summari[sz]e)(?: the)?",
    r"(?:please )?tell me(?: more)?(?: about)?(?: the)?",
    r"what (?:can|do) you (?:tell me|know) about(?: the)?",
    r"(?:i want to know|i would like to know|information) (?:about|on)(?: the)?",
    r"how (?:much|big|long|heavy|old|wide|tall) (?:is|are)(?: the)?",
    r"do you (?:have|know|sell)(?: the| a| an)?",
    r"who (?:wrote|made|makes|is the author of)(?: the)?",
)
_BEFORE = re.compile(rf"^\s*(?:{'|'.join(_FRAMES)})\s+", re.IGNORECASE)
_OPEN = re.compile(r"(?:how|who|when|where|which|why|what|does|do|did|is|are|can|could|will|has|have)\b", re.IGNORECASE)
_AFTER = re.compile(r"\s*(?:\bproduct\b|\babout\b|\bon Amazon\b|\bmade of\b|\bfor sale\b)?\s*[?.!]*\s*$", re.IGNORECASE)
_QUOTED = re.compile(r"[\"“](.+)[\"”]")


def words(text: str) -> list[str]:
    """Lower-case words of letters and digits, in order: what tantivy's default tokenizer makes of `text`."""
    return _WORD.findall(text.lower())


def telling(text: str) -> list[str]:
    """The words of `text` without those that every text has; all of them where nothing else is there."""
    found = words(text)
    return [w for w in found if w not in STOP] or found


STEMS = "stems"  # the analyzer's name in the index


@cache
def analyzer() -> Any:
    """What makes the stems of an index: lower-case English stems of letters and digits without accents, by tantivy."""
    made = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple()).filter(tantivy.Filter.remove_long(40))
    for step in (tantivy.Filter.lowercase(), tantivy.Filter.ascii_fold(), tantivy.Filter.stemmer("english")):
        made = made.filter(step)
    return made.build()


_STRANGE = re.compile(r"[^\x00-\u02ff\u2000-\u206f]")  # letters whose words Python and tantivy may cut differently
_KNOWN: dict[str, tuple[str, ...]] = {}  # stems of single words
_MOST_KNOWN = 200_000


def stems(text: str) -> list[str]:
    """The stems of `text`, in order, as the index has them: `Running the KX-TG4500B` is run, the, kx, tg4500b.

    Words repeat, so the analyzer is asked once for each: eight times as fast as asking it for whole texts.
    """
    if _STRANGE.search(text):
        return list(analyzer().analyze(text))
    if len(_KNOWN) > _MOST_KNOWN:
        _KNOWN.clear()
    found: list[str] = []
    for word in _WORD.findall(text):
        known = _KNOWN.get(word)
        if known is None:
            known = _KNOWN[word] = tuple(analyzer().analyze(word))
        found += known
    return found


def weight(rows: int, of: int) -> float:
    """What a word tells that stands in `rows` of `of` rows: the inverse document frequency of BM25."""
    return log(1 + (max(of, rows) - rows + 0.5) / (rows + 0.5))


class Language(NamedTuple):
    """Stems of words that every question has (`stop`), that ask for something (`asks`), of `kinds` of things."""

    stop: frozenset[str]
    asks: frozenset[str]
    kinds: frozenset[str]


@cache
def _languages() -> dict[str, Any]:
    return dict(yaml.safe_load((Path(__file__).parent / "languages.yaml").read_text(encoding="utf-8")))


@cache
def languages() -> dict[str, Language]:
    """The languages that questions come in, English first."""
    held = {name: lists for name, lists in _languages().items() if isinstance(lists, dict)}
    return {
        name: Language(*(frozenset(stems(lists[part])) for part in Language._fields)) for name, lists in held.items()
    }


@cache
def standing_for() -> frozenset[str]:
    """Words that stand for what was talked about before: it, ele, ella, sie."""
    return frozenset(words(_languages()["before"]))


@cache
def counts() -> dict[str, str]:
    """Stems of numbers in words, by digits, and the other way round: 2 is two, and two is 2."""
    told = {str(number): stem for number, stem in enumerate(stems(_languages()["counts"]), 1)}
    return told | {stem: number for number, stem in told.items()}


def subject(question: str) -> str:
    """What a question asks about: the title in the frame of a style, a quoted name, or the question without its frame.

    `What is the 5 Ft Turbo Tube Slide Yellow product?` asks about `5 Ft Turbo Tube Slide Yellow`.
    """
    text = " ".join(question.split())
    for before, after in (style.question for style in STYLES.values() if style.question[0]):
        if text.startswith(before) and text.endswith(after) and len(text) > len(before) + len(after):
            return text[len(before) : len(text) - len(after)]
    if (quoted := _QUOTED.search(text)) and len(words(quoted[1])) > 1:
        return quoted[1].strip()
    bare = _BEFORE.sub("", text)
    if bare == text and _OPEN.match(text):
        bare = _product_of(text)
    if bare != text or text.endswith("?"):
        bare = _AFTER.sub("", bare)
    return bare.strip(" \"'“”") or text


def _product_of(question: str) -> str:
    """An open question without what it asks for: `How much does the Kettle hold?` is about `Kettle`."""
    kept = [word for word in question.rstrip("?!. ").split()[1:] if word not in listed("aspects")]
    while kept and kept[0].lower() in STOP:
        kept.pop(0)
    while kept and kept[-1].lower() in STOP:
        kept.pop()
    return " ".join(kept) or question


@cache
def listed(name: str) -> frozenset[str]:
    """The words of one list in words.yaml (`colours`, `materials`)."""
    held = yaml.safe_load((Path(__file__).parent / "words.yaml").read_text(encoding="utf-8"))
    return frozenset(str(held[name]).split())
