"""Lexicon: what English words have to do with each other, from a cut of WordNet 3.0 (`deployments/wordnet/cut.py`).

Read on first use, in about 0.1 s; a word's own line is taken apart when it is asked for.
"""

from __future__ import annotations

import lzma
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

# Spellings that WordNet does not list side by side: British to American.
_SPELT = (("isation", "ization"), ("ise", "ize"), ("ising", "izing"), ("ised", "ized"), ("yse", "yze"),
          ("ysed", "yzed"),
          ("our", "or"), ("oured", "ored"), ("ouring", "oring"), ("ours", "ors"), ("fibre", "fiber"),
          ("fibreglass", "fiberglass"), ("centre", "center"), ("centres", "centers"), ("litre", "liter"),
          ("litres", "liters"), ("metre", "meter"), ("metres", "meters"), ("lled", "led"), ("lling", "ling"),
          ("ller", "ler"), ("logue", "log"), ("ence", "ense"), ("mould", "mold"), ("moulded", "molded"),
          ("grey", "gray"), ("plough", "plow"), ("tyre", "tire"), ("tyres", "tires"))  # fmt: skip
_SUFFIXES = {
    "n": (("s", ""), ("ses", "s"), ("ves", "f"), ("xes", "x"), ("zes", "z"), ("ches", "ch"), ("shes", "sh"),
          ("men", "man"), ("ies", "y")),
    "v": (("s", ""), ("ies", "y"), ("es", "e"), ("es", ""), ("ed", "e"), ("ed", ""), ("ing", "e"), ("ing", "")),
    "a": (("er", ""), ("est", ""), ("er", "e"), ("est", "e"), ("ier", "y"), ("iest", "y")),
    "r": (),
}  # fmt: skip
_DOUBLED = ("ed", "ing", "er", "est")


class Meaning(NamedTuple):
    """What a word may mean: synsets by number. `near` has its own and those of derived forms, `above` their hypernyms
    (of adjectives: what they are similar to), `opposite` those of its opposites. `pos` is its commonest part of speech.
    """

    lemmas: tuple[str, ...]  # base forms; the word itself where nobody knows it
    pos: str  # n, v, a, r; empty for a word that is not there
    own: frozenset[int]
    near: frozenset[int]
    above: frozenset[int]
    opposite: frozenset[int]


class _Data(NamedTuple):
    above: list[str]
    words: dict[str, str]
    forms: dict[str, list[str]]


@cache
def _data() -> _Data:
    text = lzma.decompress((Path(__file__).parent / "wordnet.xz").read_bytes()).decode()
    above, words, forms = text.split("\n%\n")
    known = dict(line.split(" ", 1) for line in words.split("\n"))
    irregular = {form: bases for form, *bases in (line.split(" ") for line in forms.split("\n"))}
    return _Data(above.split("\n"), known, irregular)


def known(word: str) -> bool:
    """Whether `word`, in lower case, is a base form of the lexicon."""
    return word in _data().words


@lru_cache(50_000)
def bases(word: str) -> tuple[str, ...]:
    """Base forms that `word` (lower case) may be of, itself first where it is one; none where nobody knows it."""
    held, forms = _data().words, _data().forms
    found = dict.fromkeys([word] if word in held else [])
    found.update(dict.fromkeys(forms.get(word, ())))
    for pos, rules in _SUFFIXES.items():
        for end, new in rules:
            if word.endswith(end) and len(word) > len(end) + 1:
                base = word[: -len(end)] + new
                doubled = end in _DOUBLED and not new and len(base) > 2 and base[-1] == base[-2]
                for form in (base, base[:-1]) if doubled else (base,):
                    if form in held and f" {pos} " in f" {held[form]} ":
                        found[form] = None
    if not found:
        for end, new in _SPELT:
            if word.endswith(end) and (other := word[: -len(end)] + new) != word and bases(other):
                return bases(other)
    return tuple(found)


@lru_cache(50_000)
def meaning(word: str) -> Meaning:
    """All that the lexicon has about `word`, which is in lower case."""
    data = _data()
    own: list[int] = []
    near: list[int] = []
    opposite: list[int] = []
    lemmas, pos = bases(word), ""
    for lemma in lemmas:
        fields = data.words[lemma].split(" ")
        pos = pos or fields[0]
        for at in range(0, len(fields), 4):
            senses, derived, against = (_numbers(field) for field in fields[at + 1 : at + 4])
            own += senses
            near += senses + derived
            opposite += against
    above = {n for s in own for n in _numbers(data.above[s])}
    return Meaning(lemmas or (word,), pos, frozenset(own), frozenset(near), frozenset(above), frozenset(opposite))


def _numbers(field: str) -> list[int]:
    return [int(n) for n in field.split(",")] if field and field != "-" else []
