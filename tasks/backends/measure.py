"""Measure: the loss on held-out examples, on the same rows before and after. Imported by the trainer's process only."""

from __future__ import annotations

from typing import Any

import torch

from tasks.backends import engines, jobs, rows
from tasks.backends.batches import Padded
from tasks.backends.feed import loss_of
from tasks.examples.tokens import IGNORED
from tasks.models import Frozen


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
            total += float(loss_of(model, inputs))
        count += int((batch["labels"][:, 1:] != IGNORED).sum())
    return total / count if count else None
