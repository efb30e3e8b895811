"""Read back: files that were written are opened anew and asked what the adapter was asked, token for token."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from tasks.backends.local import engines, parity
from tasks.backends.local.parity import RecordedAnswers
from tasks.core import store
from tasks.core.errors import ExportError, ShardtuneError
from tasks.core.models import Export, Frozen
from tasks.examples import lines
from tasks.examples.tokens import encode_prompt

PROMPTS = 4
# Mean nats of probability that may move: by rounding to 16 bits, and to blocks of 8 bits.
BOUNDS = {"adapter": 0.001, "merged": 0.05, "f16": 0.02, "q8_0": 0.1}


class ReadBack(Frozen):
    """What files that were read back answered: `same` of `asked` answers as the adapter on its base gave them.

    `moved` is the mean distance (Kullback-Leibler, nats a token) of their predictions from the adapter's; above `bound`
    nothing is passed on. An answer is the likeliest 24 tokens to a prompt of the held-out examples.
    """

    form: str  # adapter, merged, f16, q8_0
    asked: int
    same: int
    moved: float
    bound: float
    bytes: int


class Reference:
    """What the adapter on its base answers, in float32, and how likely it finds each token."""

    def __init__(self, model: Any, prompts: Sequence[tuple[int, ...]]) -> None:
        with engines.evaluating(model):
            answers = tuple(parity.likeliest(model, prompt) for prompt in prompts)
            self.recorded = RecordedAnswers(prompts=tuple(prompts), answers=answers)
            self.predicted = parity.predicted(model, self.recorded)

    def compared(self, form: str, model: Any, size: int) -> ReadBack:
        """What another model answers to the same. ExportError where it is not the same model within the bound."""
        with engines.evaluating(model):
            answers = [parity.likeliest(model, prompt) for prompt in self.recorded.prompts]
            moved = parity.distance(self.predicted, parity.predicted(model, self.recorded))
        same = sum(mine == theirs for mine, theirs in zip(answers, self.recorded.answers, strict=True))
        bound = BOUNDS[form]
        if not moved <= bound:
            raise ExportError(
                f"{form}: what was written is not the model that was tuned (its predictions move by {moved!r} nats a "
                f"token, {bound!r} is allowed; {same} of {len(answers)} answers are the same); nothing was exported"
            )
        return ReadBack(
            form=form, asked=len(answers), same=same, moved=round(max(moved, 0.0), 9), bound=bound, bytes=size
        )


def prompts(exports: Sequence[Export], tokenizer: Any, longest: int) -> list[tuple[int, ...]]:
    """The first prompts of the exports as token ids. ExportError where none of them can be read."""
    found: list[tuple[int, ...]] = []
    for prompt, _ in _examples(exports):
        ids = encode_prompt(prompt, tokenizer)
        if len(ids) + parity.TOKENS <= longest:
            found.append(tuple(ids))
        if len(found) == PROMPTS:
            break
    if not found:
        raise ExportError(
            "no example that the model was tuned or measured on can be read, so nothing that is written could be "
            "proved: run `shardtune finetune` of its recipe again, which makes them anew"
        )
    return found


def _examples(exports: Sequence[Export]) -> Iterator[tuple[str, str]]:
    for export in exports:
        try:
            with store.reading(store.check(export.uri, export.digest)) as stream:
                for line in stream:
                    yield lines.read(json.loads(line))
        except (OSError, ShardtuneError):
            continue  # of another machine, or tidied away: others may be there
