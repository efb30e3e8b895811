"""Estimates by script: near what a large vocabulary needs, and never below what any vocabulary at hand counts."""

from __future__ import annotations

import bpe_openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.examples import counting, scripts

# Sentences as people write them: article 1 of the Universal Declaration of Human Rights, and lines of product pages.
TEXTS = {
    "en": "All human beings are born free and equal in dignity and rights.",
    "de": "Alle Menschen sind frei und gleich an W\u00fcrde und Rechten geboren.",
    "zh": "\u4eba\u4eba\u751f\u800c\u81ea\u7531,\u5728\u5c0a\u4e25\u548c\u6743\u5229\u4e0a\u4e00"
    "\u5f8b\u5e73\u7b49\u3002",
    "ja": "\u3059\u3079\u3066\u306e\u4eba\u9593\u306f\u3001\u751f\u307e\u308c\u306a\u304c\u3089"
    "\u306b\u3057\u3066\u81ea\u7531"
    "\u3067\u3042\u308a\u3001\u304b\u3064\u3001\u5c0a\u53b3\u3068\u6a29\u5229\u3068\u306b\u3064"
    "\u3044\u3066\u5e73\u7b49",
    "ko": "\ubaa8\ub4e0 \uc778\uac04\uc740 \ud0dc\uc5b4\ub0a0 \ub54c\ubd80\ud130 \uc790\uc720"
    "\ub85c\uc6b0\uba70 \uadf8 "
    "\uc874\uc5c4\uacfc \uad8c\ub9ac\uc5d0 \uc788\uc5b4 \ub3d9\ub4f1\ud558\ub2e4.",
    "th": "\u0e21\u0e19\u0e38\u0e29\u0e22\u0e4c\u0e17\u0e31\u0e49\u0e07\u0e2b\u0e25\u0e32\u0e22"
    "\u0e40\u0e01\u0e34\u0e14"
    "\u0e21\u0e32\u0e21\u0e35\u0e2d\u0e34\u0e2a\u0e23\u0e30",
    "ar": "\u064a\u0648\u0644\u062f \u062c\u0645\u064a\u0639 \u0627\u0644\u0646\u0627\u0633 \u0623"
    "\u062d\u0631\u0627\u0631"
    "\u064b\u0627 \u0645\u062a\u0633\u0627\u0648\u064a\u0646",
    "hi": "\u0938\u092d\u0940 \u092e\u0928\u0941\u0937\u094d\u092f\u094b\u0902 \u0915\u094b \u0917\u094c\u0930\u0935",
    "ru": "\u0412\u0441\u0435 \u043b\u044e\u0434\u0438 \u0440\u043e\u0436\u0434\u0430\u044e\u0442\u0441\u044f",
    "emoji": "\U0001f381\U0001f525\U0001f469\U0001f3fd\u200d\U0001f52c\U0001f1e9\U0001f1ea\u2764\ufe0f",
    "numbers": "ISBN 9783161484100, 300 x 250 x 19 mm, $1,299.00, 2026-11-26",
    "codes": "B01M7XPQ9L SKU-8842-XJ-0041 GTX1080Ti KZ9QW3 DE-WD-XR4T/77",
}


@pytest.mark.parametrize("script", TEXTS)
@pytest.mark.parametrize("vocabulary", ["o200k_base", "cl100k_base"])
def test_no_vocabulary_needs_more_than_the_most(script, vocabulary):
    text = 20 * (TEXTS[script] + "\n")
    counted = bpe_openai.get_encoding(vocabulary).encode_ordinary(text)
    (most,) = scripts.tokens([text], scripts.MOST)
    assert len(counted) <= most
    if vocabulary == "o200k_base":
        (usual,) = scripts.tokens([text], scripts.USUAL)
        assert 0.6 * len(counted) < usual < 2.2 * len(counted)


@given(st.lists(st.text(max_size=20), max_size=5))
def test_each_text_is_counted_by_itself(texts):
    assert scripts.tokens(texts, scripts.MOST) == [scripts.tokens([text], scripts.MOST)[0] for text in texts]
    room = [len(text.encode("utf-8", "surrogatepass")) for text in texts]
    assert all(n <= most for n, most in zip(scripts.tokens(texts, scripts.MOST), room, strict=True))


def test_an_exact_count_is_its_own_bound():
    turns = [[("user", TEXTS["ja"]), ("assistant", TEXTS["zh"])]]
    exact = counting.of_examples(turns, "openai", "gpt-4o-mini-2024-07-18")
    assert counting.most_of_examples(turns, "openai", "gpt-4o-mini-2024-07-18", exact) == exact
    usual = counting.of_examples(turns, "gemini", "gemini-3.5-flash")
    (most,) = counting.most_of_examples(turns, "gemini", "gemini-3.5-flash", usual)
    assert usual[0] < most
    assert most >= exact[0] - counting.EXAMPLE - 2 * counting.MESSAGE - 2  # without the marks of OpenAI's format
