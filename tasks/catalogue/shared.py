"""Shared contents: rows whose content stands under several different titles, so that it describes none of them.

Publishers write one text about themselves and put it under all their books. A shard is judged by itself and the shards
before it, so a grown catalogue leaves its old shards as they are. Titles are compared by their words, 56 bits each, and
8 bits for the first of them. Two are one title, such as sizes and colours of one product, where they share more than
half of the longer one's words; or have two words each and begin with the same one ("Mug Oak", "Mug Pine", but not
"Contract Law", "Roman Law"). Articles and words of colours and sizes do not count where there are others.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

_WORD = bytes(
    code + 32 if 65 <= code <= 90 else code if code >= 128 or chr(code).isalnum() or not code else 32
    for code in range(256)
)
# Written without spaces: each character of Han, kana, Thai, Lao, Burmese and Khmer is a word of its own.
_SPACELESS = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3041-\u30ff\u3400-\u9fff\uf900-\ufaff]")
# A word is the sum of its letters: anagrams are one word, which is rare and quick.
_LETTERS = np.random.default_rng(0).integers(1, 2**32, 256, np.uint32)
_LETTERS[:33] = 0
_MIX = np.uint32(0x9E3779B1)
_LOW = (1 << 56) - 1  # the bits of the words; above them stands the first word


def _hashes(words: str) -> NDArray[np.uint32]:
    return np.array([_LETTERS[list(word.encode())].sum() for word in words.split()]).astype(np.uint32) * _MIX


_PASSED = _hashes(
    "the a an red blue green black white grey gray silver gold golden yellow orange purple pink brown beige navy ivory "
    "clear xs s m l xl xxl xxxl 2xl 3xl small medium large"
)


def marks(titles: Sequence[str], contents: Sequence[bytes]) -> bytes:
    """16 bytes a row: the hash of its content, and the words of its title as bits; both little-endian uint64."""
    made = np.empty((len(titles), 2), "<u8")
    # What has no content shares none: its own title stands for it.
    telling = (content if content.strip() else title.encode() for title, content in zip(titles, contents, strict=True))
    made[:, 0] = np.fromiter(map(xxhash.xxh3_64_intdigest, telling), "<u8", len(titles))
    made[:, 1] = words(titles)
    return made.tobytes()


def words(titles: Sequence[str]) -> NDArray[np.uint64]:
    """Of each title the bits of 56 that its words hit, in lower case, letters and digits; above them its first word."""
    found = np.zeros(len(titles), np.uint64)
    plain = [title if title.isascii() else _SPACELESS.sub(r" \g<0> ", title.lower()) for title in titles]
    joined = "\0".join(plain)
    if joined.count("\0") >= len(titles):
        joined = "\0".join(title.replace("\0", " ") for title in plain)
    data = np.frombuffer(b"\0" + joined.encode("utf-8", "replace").translate(_WORD), np.uint8)
    inside = data > 32
    starts = np.flatnonzero(inside[1:] & ~inside[:-1]) + 1
    if not len(starts):
        return found
    hashes = np.add.reduceat(_LETTERS[data], starts, dtype=np.uint32) * _MIX
    owner = np.cumsum(data == 0, dtype=np.int32)[starts] - 1
    telling = ~np.isin(hashes, _PASSED)
    some = np.zeros(len(titles), bool)
    some[owner[telling]] = True
    telling |= ~some[owner]
    hashes, owner = hashes[telling], owner[telling]
    bits = np.uint64(1) << ((hashes.astype(np.uint64) * np.uint64(56)) >> np.uint64(32))
    firsts = np.flatnonzero(np.diff(owner, prepend=-1))
    found[owner[firsts]] = np.bitwise_or.reduceat(bits, firsts)
    found[owner[firsts]] |= (hashes[firsts] & np.uint32(255)).astype(np.uint64) << np.uint64(56)
    return found


def places(rows: Any, starts: NDArray[np.int64], bound: int) -> NDArray[np.int64]:
    """Places of the rows to drop, among `rows` (place, high: content, low: title), which hold every row of a content.

    `starts` are the places at which the shards begin.
    """
    order = np.lexsort((rows["place"], rows["high"]))
    place, content, title = rows["place"][order], rows["high"][order], rows["low"][order]
    edges = np.flatnonzero(np.diff(content)) + 1
    found = [np.empty(0, np.int64)]
    for a, b in pairwise([0, *edges.tolist(), len(content)]):
        if b - a >= bound and (at := _reached(title[a:b].tolist(), bound)) is not None:
            shard = starts[np.searchsorted(starts, place[a + at], "right") - 1]
            found.append(place[a:b][place[a:b] >= shard])
    return np.concatenate(found)


def _reached(titles: list[int], bound: int) -> int | None:
    """Number of the title with which there are `bound` different ones; None where there are fewer."""
    different: list[int] = []
    for number, title in enumerate(titles):
        if not any(_same(title, other) for other in different):
            different.append(title)
            if len(different) == bound:
                return number
    return None


def _same(one: int, other: int) -> bool:
    words, longest = one & other & _LOW, max((one & _LOW).bit_count(), (other & _LOW).bit_count())
    if one == other or 2 * words.bit_count() > longest:
        return True
    return longest == 2 and words.bit_count() == 1 and one >> 56 == other >> 56
