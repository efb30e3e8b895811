"""Split: train, holdout or reserved, decided by the row alone, so that no later shard can leak into the holdout.

Title and content are normalised (case folded, letters and digits only; of the content the first 128 characters, as
publishers' blurbs differ at their ends) and hashed. A hash below `holdout_share` hits. Neither hits: train. Both hit:
holdout. One hits: reserved, since the row shares its title or its content with rows of the holdout.
"""

from __future__ import annotations

import re

import xxhash

from tasks.models import Split

VERSION = 1  # bump when a row may fall into another split
HEAD = 128

_SPLITS: tuple[Split, Split, Split] = ("train", "reserved", "holdout")
_UPPER = bytes(range(65, 91))
_LOWER = bytes.maketrans(_UPPER, _UPPER.lower())
_OTHER = bytes(code for code in range(128) if not chr(code).isalnum())
_FOREIGN = re.compile(r"[^\x00-\x7f]+")


def normalised(text: str) -> bytes:
    """Case folded letters and digits of `text` as UTF-8, nothing else."""
    if not text.isascii():
        text = _FOREIGN.sub(_fold, text)
    return text.encode("utf-8", "replace").translate(_LOWER, _OTHER)


def _fold(found: re.Match[str]) -> str:
    return "".join(c for c in found[0].casefold() if c.isalnum())


def threshold(share: float) -> int:
    """The 64-bit number below which a hash hits, for this holdout share."""
    return int(share * 2**64)


def split(title: str, content: str, limit: int) -> Split:
    """The row's split; `limit` is `threshold(share)`."""
    by_title = xxhash.xxh3_64_intdigest(normalised(title)) < limit
    by_content = xxhash.xxh3_64_intdigest(normalised(content[:HEAD])) < limit
    return _SPLITS[by_title + by_content]
