"""Rows: the lines of a link's exports as token ids and labels, and the fixed rows whose loss is measured."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import xxhash

from tasks.backends.local.jobs import LocalLink
from tasks.core import store
from tasks.core.errors import TrainingError
from tasks.core.models import Export
from tasks.examples.fitting import TooLong, fitted
from tasks.examples.lines import read
from tasks.examples.templates import Kind, ending
from tasks.examples.tokens import IGNORED, Text, encode


class Rows(NamedTuple):
    """Examples ready for a model. `truncated` counts lines longer than the model reads; in a link from before
    `tune.too_long` they lost the end of their answer. `left_out` counts those of which nothing remains, `empty` those
    without an answer."""

    examples: list[dict[str, Any]]  # input_ids and labels, int32 arrays
    truncated: int
    empty: int
    left_out: int = 0

    @property
    def lengths(self) -> list[int]:
        return [len(e["input_ids"]) for e in self.examples]


def lines(exports: Sequence[Export]) -> Iterator[tuple[Text, Text]]:
    """Prompt and completion of every line of local exports, in order; DamagedError where one is not as written."""
    for export in exports:
        with store.reading(store.check(export.uri, export.digest)) as stream:
            for line in stream:
                yield read(json.loads(line))


def train(link: LocalLink, tokenizer: Any) -> Rows:
    """The training rows. Raises TrainingError where nothing of any answer would be learnt."""
    rows = _encoded(lines(link.train), link, tokenizer, link.tune.loss_on, link.too_long)
    if not rows.examples:
        raise TrainingError(
            f"all labels are masked: of {rows.empty + rows.left_out} examples none has an answer within "
            f"max_length={link.tune.max_length!r} tokens; raise tune.max_length or look at the export"
        )
    return rows


def heldout(link: LocalLink, tokenizer: Any) -> Rows:
    """`link.heldout_rows` rows drawn over all holdout exports by hash: the same rows for the same exports, always."""
    pairs = list(lines(link.holdout))
    ranked = sorted(
        range(len(pairs)), key=lambda n: xxhash.xxh3_64_intdigest("\x1f".join(pairs[n]).encode(), seed=link.seed)
    )
    # A held-out row that is too long is measured up to max_length, whatever `too_long` says.
    then: TooLong | None = "cut" if link.too_long else None
    return _encoded((pairs[n] for n in sorted(ranked[: link.heldout_rows])), link, tokenizer, "answer", then)


def _encoded(
    pairs: Iterator[tuple[Text, Text]], link: LocalLink, tokenizer: Any, loss_on: Any, then: TooLong | None
) -> Rows:
    examples, truncated, empty, left_out = [], 0, 0, 0
    longest, closing = link.tune.max_length, ""
    for prompt, completion in pairs:
        one = encode(prompt, completion, tokenizer, longest, loss_on)
        made = [one]
        if one.truncated:
            truncated += 1
            if then is not None:
                closing = closing or ending(_template(link), tokenizer)
                made = fitted(prompt, completion, closing, tokenizer, longest, loss_on, then)
                left_out += not made
        # Nothing precedes the first token, so no prediction is made for its label.
        learnt = [one for one in made if any(label != IGNORED for label in one.labels[1:])]
        empty += bool(made) and not learnt
        for one in learnt:
            examples.append({"input_ids": np.array(one.input_ids, np.int32), "labels": np.array(one.labels, np.int32)})
    return Rows(examples, truncated, empty, left_out)


def _template(link: LocalLink) -> Kind:
    return "alpaca" if link.train[0].format == "alpaca" else "chat"
