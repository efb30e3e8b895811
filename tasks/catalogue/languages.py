"""Languages: a guess of the language of a text by its script and its small words, good enough to count by."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

_SMALL = {
    "English": "the and of to in is with for this your from are it that you on",
    "German": "der die das und ist mit für nicht von den ein eine zu auf sich",
    "French": "le la les et est avec pour dans une des du qui sur au ce",
    "Spanish": "el la los las y es con para una que del por su en más",
    "Italian": "il la di e è con per una che del della gli le nel sono",
    "Portuguese": "o a os as e é com para uma que do da não em mais",
    "Dutch": "de het een en is met voor van niet op deze zijn te uw aan",
    "Swedish": "och att det som en ett med för är av på den till inte från",
    "Polish": "i w na z do jest nie się dla oraz od ze przez jak to",
    "Turkish": "ve bir bu için ile de da çok olan en gibi olarak ürün daha",
}
SMALL: dict[str, frozenset[str]] = {name: frozenset(words.split()) for name, words in _SMALL.items()}
_WORD = re.compile(r"[^\W\d_]+")
_SCRIPTS = {"CJK": "Chinese or Japanese", "HIRAGANA": "Japanese", "KATAKANA": "Japanese", "HANGUL": "Korean"}
READ = 600  # characters


def guess(text: str) -> str:
    """The language of the text, or the name of a script that is not Latin; "too little to say" where it is short."""
    letters = Counter(_script(char) for char in text[:READ] if char.isalpha())
    if not letters:
        return "no letters"
    if "Japanese" in letters:
        return "Japanese"
    script = letters.most_common(1)[0][0]
    if script != "Latin":
        return script
    words = _WORD.findall(text[:READ].lower())
    hits = Counter({name: sum(word in small for word in words) for name, small in SMALL.items()})
    (best, most), (_, second) = hits.most_common(2)
    return best if most >= 2 and most > second else "too little to say"


def _script(char: str) -> str:
    if char.isascii():
        return "Latin"
    first = unicodedata.name(char, "OTHER").split()[0]
    return _SCRIPTS.get(first, first.capitalize())
