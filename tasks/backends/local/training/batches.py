"""Batches: in which order examples are fed, how they are laid side by side, and a proof that none sees another."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import torch
from torch.utils.data import Sampler

from tasks.backends.local.engines import evaluating
from tasks.examples.tokens import IGNORED

POOL = 50  # batches of one pool, within which like lengths are put together


class Order(Sampler[int]):
    """The order of examples in one epoch, decided by the seed and the epoch alone; so a resumed run meets it again.

    `grouped` sorts a pool of shuffled examples by length, cuts it into batches and shuffles those: a batch holds like
    lengths, but long and short batches come in random order all through the epoch. The last, short batch stays last,
    and `blanks` examples, which come after those of `lengths`, fill it up.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int, grouped: bool, blanks: int = 0) -> None:
        self.lengths, self.batch_size, self.seed, self.grouped = lengths, batch_size, seed, grouped
        self.blanks, self.epoch = blanks, 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths) + self.blanks

    def __iter__(self) -> Iterator[int]:
        return iter([*self._drawn(), *range(len(self.lengths), len(self))])

    def _drawn(self) -> list[int]:
        draw = random.Random(f"{self.seed}-{self.epoch}")
        order = list(range(len(self.lengths)))
        draw.shuffle(order)
        if not self.grouped:
            return order
        size, pool = self.batch_size, self.batch_size * POOL
        whole = len(order) - len(order) % size
        batches = []
        for start in range(0, whole, pool):
            near = sorted(order[start : min(start + pool, whole)], key=lambda n: (self.lengths[n], n))
            batches += [near[n : n + size] for n in range(0, len(near), size)]
        draw.shuffle(batches)
        return [*(n for batch in batches for n in batch), *order[whole:]]


class Padded:
    """Examples one below the other, filled up at the right; the filling has neither attention nor label."""

    def __init__(self, pad: int, multiple: int = 8) -> None:
        self.pad, self.multiple = pad, multiple

    def __call__(self, examples: Sequence[dict[str, Any]]) -> dict[str, Any]:
        width = max(len(e["input_ids"]) for e in examples)
        width += -width % self.multiple
        shape = (len(examples), width)
        ids, labels = torch.full(shape, self.pad), torch.full(shape, IGNORED)
        mask = torch.zeros(shape, dtype=torch.long)
        for row, example in enumerate(examples):
            length = len(example["input_ids"])
            ids[row, :length] = torch.as_tensor(example["input_ids"], dtype=torch.long)
            labels[row, :length] = torch.as_tensor(example["labels"], dtype=torch.long)
            mask[row, :length] = 1
        counts = {"examples": len(examples), "tokens": int(mask.sum())}
        return {"input_ids": ids, "attention_mask": mask, "labels": labels, "counts": counts}


class Packed:
    """The batch's examples in as few rows of `length` tokens as they fit in, each with positions of its own.

    There is no attention mask: positions that start again at 0 tell the model where an example begins. That the model
    listens is proved by `isolated` before training starts.
    """

    def __init__(self, pad: int, length: int) -> None:
        self.pad, self.length = pad, length

    def __call__(self, examples: Sequence[dict[str, Any]]) -> dict[str, Any]:
        rows: list[list[dict[str, Any]]] = []
        free: list[int] = []
        for example in sorted(examples, key=lambda e: -len(e["input_ids"])):
            size = len(example["input_ids"])
            row = next((n for n, room in enumerate(free) if room >= size), None)
            if row is None:
                row = len(rows)
                rows.append([])
                free.append(max(self.length, size))
            rows[row].append(example)
            free[row] -= size
        width = max(sum(len(e["input_ids"]) for e in row) for row in rows)
        shape = (len(rows), width)
        ids, labels = torch.full(shape, self.pad), torch.full(shape, IGNORED)
        positions = torch.zeros(shape, dtype=torch.long)
        for n, row_examples in enumerate(rows):
            at = 0
            for example in row_examples:
                size = len(example["input_ids"])
                ids[n, at : at + size] = torch.as_tensor(example["input_ids"], dtype=torch.long)
                labels[n, at : at + size] = torch.as_tensor(example["labels"], dtype=torch.long)
                labels[n, at] = IGNORED  # nothing of the example before may foretell it
                positions[n, at : at + size] = torch.arange(size)
                at += size
            positions[n, at:] = torch.arange(width - at)
        tokens = sum(len(e["input_ids"]) for e in examples)
        counts = {"examples": len(examples), "tokens": tokens}
        return {"input_ids": ids, "position_ids": positions, "labels": labels, "counts": counts}


def collator(batching: Literal["grouped", "packed", "plain"], pad: int, length: int) -> Padded | Packed:
    """The collator of a recipe's `batching`."""
    return Packed(pad, length) if batching == "packed" else Padded(pad)


@torch.no_grad()
def isolated(model: Any, vocabulary: int) -> bool:
    """Whether packed examples are blind to each other in this model, with the attention it runs with here.

    One example is asked alone, behind a first and behind a second neighbour. Its logits must be the same each time.
    """
    draw = torch.Generator().manual_seed(0)
    mine, first, second = (torch.randint(0, vocabulary, (1, 12), generator=draw) for _ in range(3))
    device = next(model.parameters()).device
    own = torch.arange(12)[None]
    with evaluating(model):
        alone = model(input_ids=mine.to(device), position_ids=own.to(device), use_cache=False).logits[0]
        seen = []
        for neighbour in (first, second):
            ids, positions = torch.cat([neighbour, mine], 1), torch.cat([own, own], 1)
            seen.append(
                model(input_ids=ids.to(device), position_ids=positions.to(device), use_cache=False).logits[0, 12:]
            )
    scale = alone.float().std()
    near = lambda a, b: bool((a.float() - b.float()).abs().max() < 0.05 * scale)  # noqa: E731
    return near(seen[0], seen[1]) and near(seen[0], alone)
