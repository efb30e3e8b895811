"""E-values: how strongly paired scores speak against "on average no better", and one error rate spent over years.

A gap is what the new model scored more than the old one on a question. Whoever bets the share b of what they have on
the new model has, after all questions, the product of (1 + b * gap) times as much. Where the new model is no better,
that is 1 or less on average, so it is E or more in at most 1 of E cases (Markov), whenever they look (Ville). It
holds for any kind of scores, few and many questions, in any order, for groups of questions in fixed shares (the
product is concave in the means of groups), and, of each look, for questions drawn without replacement (negative
association).

I. Waudby-Smith and A. Ramdas, "Estimating means of bounded random variables by betting", JRSS B 86(1), 2024;
D. P. Foster and R. A. Stine, "Alpha-investing", JRSS B 70(2), 2008, for error rates spent one after another.
"""

from __future__ import annotations

import math

import numpy as np

BETS = (0.2, 0.4)  # best for gains of ten points where a fifth to a half of the questions are answered otherwise
GAIN = 0.1  # the gain that questions are counted for: ten points of a hundred
MOST = 1e300  # an e-value is told as a number that JSON can hold
DECAY, ZETA = 1.2, 5.5916  # of `share`; the zeta function at 1.2 is 5.59158


def evalue(gaps: np.ndarray) -> np.ndarray:
    """The mean of what the bets have become, over the last axis of `gaps`, each -1 to 1; 1 where there is no gap."""
    told = np.stack([np.log1p(bet * gaps).sum(axis=-1, dtype=float) for bet in BETS])
    return np.minimum(np.exp(np.minimum(told, math.log(MOST))).mean(axis=0), MOST)


def share(number: int) -> float:
    """The part of an error rate for the test of this number, counted from 1; all of them together are 1 at most.

    It falls slowly, so that after a year a test asks for little more than after a month.
    """
    return float(number**-DECAY) / ZETA


def clear(gaps: np.ndarray, needed: float | np.ndarray) -> np.ndarray:
    """Whether nothing more need be asked: the e-value is what is needed, or a real gain is left out."""
    return (evalue(gaps) >= needed) | hopeless(gaps)


def hopeless(gaps: np.ndarray) -> np.ndarray:
    """Whether a gain of `GAIN` is left out by the gaps along the last axis: asking on would hardly change anything.

    A model that has that gain is given up by mistake in about 1 of 100 looks; nothing wrong becomes champion by it.
    """
    many = gaps.shape[-1]
    reach = 2.33 * gaps.std(axis=-1, ddof=1) / math.sqrt(many) if many > 1 else np.inf
    return gaps.mean(axis=-1) + reach < GAIN
