"""Measure: the loss on held-out examples, on the same rows before and after. Imported by the trainer's process only."""

from __future__ import annotations

from typing import Any

import torch

from tasks.backends.local import engines, jobs, memory, rows
from tasks.backends.local.training.batches import Padded
from tasks.backends.local.training.feed import learnt, logits_of, loss_of, summed
from tasks.core.models import Frozen
from tasks.examples.tokens import IGNORED


class Before(Frozen):
    """Held-out loss of the model that training started from, mean nats per answer token."""

    before: float | None


def before(folder: jobs.Folder, model: Any, measured: rows.Rows, pad: int) -> float | None:
    """Held-out loss before training; measured once per job, however often it is resumed."""
    known = folder.read("heldout.json", Before)
    if known is None:
        known = Before(before=heldout_loss(model, measured.examples, pad))
        folder.write("heldout.json", known)
    return known.before


def _chunked(model: Any, inputs: dict[str, Any]) -> torch.Tensor:
    """`loss_of`, with the logits of few positions at a time: a large vocabulary takes more memory than the model.

    The head is given one column, and the others afterwards, part by part. A model that does more to its logits than
    its head, or does not call it, is found out by that column, and its loss is made at once.
    """
    kept: list[torch.Tensor] = []

    def first(module: Any, given: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        kept.append(given[0])
        return (given[0][:, :1], *given[1:])

    columns, wanted = learnt(inputs["labels"])
    head = model.get_output_embeddings()
    hook = head.register_forward_pre_hook(first)
    try:
        column = logits_of(model, inputs, columns)
    finally:
        hook.remove()
    known = len(kept) == 1 and kept[0].shape[1] >= len(columns)
    if not known or not torch.equal(column.float(), head(kept[0][:, :1]).float()):
        return loss_of(model, inputs)
    hidden = kept[0] if kept[0].shape[1] == len(columns) else kept[0][:, columns]
    parts = zip(hidden.flatten(0, 1).split(memory.MEASURED), wanted.flatten().split(memory.MEASURED), strict=True)
    return torch.stack([summed(head(some), labels) for some, labels in parts]).sum()


def heldout_loss(model: Any, examples: list[dict[str, Any]], pad: int) -> float | None:
    """Mean nats per answer token over `examples`; None where there are none."""
    lay, total, count = Padded(pad), 0.0, 0
    device = next(model.parameters()).device
    ordered = sorted(examples, key=lambda e: len(e["input_ids"]))
    for start in range(0, len(ordered), 4):
        batch = lay(ordered[start : start + 4])
        inputs = {name: batch[name].to(device) for name in ("input_ids", "attention_mask", "labels")}
        precise = torch.autocast(device.type, engines.precision(), engines.precision() != torch.float32)
        with engines.evaluating(model), torch.no_grad(), precise:
            total += float(_chunked(model, inputs))
        count += int((batch["labels"][:, 1:] != IGNORED).sum())
    return total / count if count else None
