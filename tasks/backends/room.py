"""Room: an empty or cut answer is asked for once more, with more tokens. If that does not help, a warning says so."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence

from tasks.backends.contract import Answer, Decoding

log = logging.getLogger(__name__)

MORE = 4  # factor for the tokens of the second request
MOST = 8_192  # the most tokens that a second request asks for
CUT = frozenset({"length", "max_tokens"})


def given(ask: Callable[[Decoding], Answer], decoding: Decoding) -> Answer:
    """The answer; if it is empty or cut, the answer to a second request with more tokens, as its `decoding` says."""
    first = ask(decoding)
    tokens = max(decoding.max_new_tokens, min(MOST, MORE * decoding.max_new_tokens))
    if not wanting(first) or tokens == decoding.max_new_tokens:
        return first
    second = ask(first.decoding.model_copy(update={"max_new_tokens": tokens}))
    return second if second.text.strip() else first


def wanting(answer: Answer) -> bool:
    """Whether more tokens may help: the answer was cut, or it is empty and nothing says that it was blocked."""
    empty = not answer.text.strip()
    return answer.finish in CUT or (empty and answer.finish in (None, "stop", "no choice"))


def tell(model: str, answers: Sequence[Answer]) -> None:
    """Warn about answers that are still empty, cut or blocked, with the provider's reasons."""
    bad = Counter(a.finish or "no reason" for a in answers if not a.text.strip() or a.finish in CUT)
    if bad:
        reasons = ", ".join(f"{reason} {many}" for reason, many in bad.most_common())
        log.warning(
            "%d of %d answers of %r are empty or cut (%s): raise evaluate.max_new_tokens, or look at the questions",
            bad.total(), len(answers), model, reasons,
        )  # fmt: skip
