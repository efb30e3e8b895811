"""Scripts: how many tokens a text has in a vocabulary that nobody published, by the scripts it is written in.

One token is four characters of English, but about one of Chinese. `USUAL` is what large vocabularies of many languages
need (measured with o200k_base). `MOST` is what any vocabulary needs: it falls back on bytes, so a character is never
more tokens than its UTF-8 has bytes, and English letters are at least two and a half to a token.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# First code point, usual and most tokens for each character from there on.
_RANGES: tuple[tuple[int, float, float], ...] = (
    (0x0000, 0.5, 1.0),  # controls
    (0x0020, 0.1, 0.15),  # space
    (0x0021, 0.5, 1.0),  # signs
    (0x0030, 0.5, 1.0),  # digits: some vocabularies have no token for two of them
    (0x003A, 0.5, 1.0),
    (0x0041, 0.35, 0.75),  # capitals: the words of codes and of shouting are in no vocabulary
    (0x005B, 0.5, 1.0),
    (0x0061, 0.27, 0.4),  # small letters
    (0x007B, 0.5, 1.0),
    (0x0080, 0.6, 2.0),  # accents, Greek, Cyrillic, Armenian, Hebrew, Arabic and others of two bytes
    (0x0370, 0.45, 2.0),
    (0x0800, 0.6, 3.0),  # Indic scripts, Thai, Georgian, Ethiopic, Khmer and others of three bytes
    (0x1200, 1.0, 3.0),
    (0x2000, 0.8, 3.0),  # punctuation, signs
    (0x2E80, 0.9, 3.0),  # Chinese, Japanese
    (0xA000, 1.2, 3.0),
    (0xAC00, 0.7, 3.0),  # Korean
    (0xD7B0, 1.5, 3.0),
    (0x10000, 2.5, 4.0),  # emoji, rare characters
)
_STARTS = np.array([start for start, _, _ in _RANGES])
_KINDS = np.searchsorted(_STARTS, np.arange(0x10001), "right") - 1
USUAL = np.array([usual for _, usual, _ in _RANGES])[_KINDS]
MOST = np.array([most for _, _, most in _RANGES])[_KINDS]


def tokens(texts: Sequence[str], each: NDArray[np.float64]) -> list[int]:
    """Tokens of each text, rounded up; `each` is USUAL or MOST."""
    if not texts:
        return []
    joined = "\n".join(texts) + "\n"  # so that none is empty
    codes = np.minimum(np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), "<u4"), 0x10000)
    ends = np.cumsum([len(text) + 1 for text in texts])
    sums = np.add.reduceat(each[codes], np.concatenate([[0], ends[:-1]])) - each[10]
    return [int(n) for n in np.ceil(np.maximum(sums, 0) - 1e-6)]
