"""Split: train, holdout or reserved, decided by the row alone, so that no later shard can leak into the holdout.

Title and content are normalised (case folded, letters and digits only; of the content the first 128 characters, as
publishers' blurbs differ at their ends) and hashed. A hash below `holdout_share` hits. Neither hits: train. Both hit:
holdout. One hits: reserved, since the row shares its title or its content with rows of the holdout.
"""

from __future__ import annotations

import re

import xxhash

from tasks.core.models import Split

VERSION = 1  # bump when a row may fall into another split
HEAD = 128

_SPLITS: tuple[Split, Split, Split] = ("train", "reserved", "holdout")
_UPPER = bytes(range(65, 91))
_LOWER = bytes.maketrans(_UPPER, _UPPER.lower())
_OTHER = bytes(code for code in range(1, 128) if not chr(code).isalnum())
_FOREIGN = re.compile(r"[^\x00-\x7f]+")


def normalised(texts: list[str]) -> list[bytes]:
    """Case folded letters and digits of each text as UTF-8, nothing else."""
    if not texts:
        return []
    texts = [text if text.isascii() else _FOREIGN.sub(_fold, text) for text in texts]
    # All of them in one go, with NUL between them, which is no letter.
    joined = "\0".join(texts)
    if joined.count("\0") >= len(texts):
        joined = "\0".join(text.replace("\0", "") for text in texts)
    return joined.encode("utf-8", "replace").translate(_LOWER, _OTHER).split(b"\0")


def _fold(found: re.Match[str]) -> str:
    return "".join(c for c in found[0].casefold() if c.isalnum())


def threshold(share: float) -> int:
    """The 64-bit number below which a hash hits, for this holdout share."""
    return int(share * 2**64)


def split(titles: list[str], contents: list[str], limit: int) -> list[Split]:
    """The split of each row; `limit` is `threshold(share)`."""
    if not limit:
        return ["train"] * len(titles)
    heads = [content[:HEAD] for content in contents]
    return [_SPLITS[a + b] for a, b in zip(_hits(titles, limit), _hits(heads, limit), strict=True)]


def _hits(texts: list[str], limit: int) -> list[bool]:
    return [xxhash.xxh3_64_intdigest(each) < limit for each in normalised(texts)]
