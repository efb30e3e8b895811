"""trl's SFTTrainer, fed in our order. Import it after the engine: Unsloth replaces the class it extends."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
import trl
from torch.nn.functional import cross_entropy
from trl.trainer import utils

from tasks.backends import engines, ranks
from tasks.backends.batches import Order
from tasks.backends.watch import Watch
from tasks.examples.tokens import IGNORED


class Feed(trl.SFTTrainer):  # type: ignore[misc]
    """Batches come in the order of `Order`; what each holds is counted; no model cards."""

    def __init__(self, watch: Watch, lengths: Sequence[int], grouped: bool, **options: Any) -> None:
        self.watch = watch
        size, blanks = options["args"].per_device_train_batch_size, len(options["train_dataset"]) - len(lengths)
        self.order = Order(lengths, size, options["args"].seed, grouped, blanks)
        # trl's fused head needs Triton, and Triton a GPU: it is often installed where there is none.
        # Nor does it weigh what several processes saw.
        self.plain = utils._ChunkedLogProbFunction is None or not engines.has_gpu() or ranks.count() > 1
        super().__init__(**options)
        self.model_accepts_loss_kwargs = True  # whichever loss is used, it counts labels over all passes of a step

    def _get_train_sampler(self, train_dataset: Any = None) -> Order:
        return self.order

    def training_step(self, model: Any, inputs: dict[str, Any], *args: Any, **options: Any) -> Any:
        self.watch.count(self._together(inputs.pop("counts")))
        return super().training_step(model, inputs, *args, **options)

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **options: Any) -> Any:
        if not self.plain:
            return super().compute_loss(model, inputs, *args, **options)
        # All labels of the step are counted, of every process; torch takes the mean of the processes' gradients.
        share = torch.as_tensor(options["num_items_in_batch"]).clamp(min=1) / self.accelerator.num_processes
        return loss_of(model, inputs) / share

    def _together(self, counts: dict[str, int]) -> dict[str, int]:
        """What all processes were fed with."""
        if self.accelerator.num_processes == 1:
            return counts
        own = torch.tensor(list(counts.values()), device=self.accelerator.device)
        return dict(zip(counts, self.accelerator.reduce(own).tolist(), strict=True))

    def create_model_card(self, *args: Any, **options: Any) -> None:
        """No card: it would describe a model that is only a checkpoint."""


def loss_of(model: Any, inputs: dict[str, Any]) -> torch.Tensor:
    """Sum of the loss over all labels, in nats. Logits are made only at columns where some example has a label."""
    labels = inputs["labels"]
    columns = (labels[:, 1:] != IGNORED).any(0).nonzero().flatten()
    given = {name: value for name, value in inputs.items() if name != "labels"} | {"use_cache": False}
    inner = getattr(model, "module", model)  # what several processes share is wrapped
    base = inner.get_base_model() if hasattr(inner, "get_base_model") else inner
    chosen = "logits_to_keep" in inspect.signature(base.forward).parameters
    logits = model(**given, **({"logits_to_keep": columns} if chosen else {})).logits
    # Unsloth's forward on a GPU takes the columns and makes all logits all the same.
    logits = logits if logits.shape[1] == len(columns) else logits[:, columns]
    wanted = labels[:, 1:][:, columns]
    return cross_entropy(logits.float().flatten(0, 1), wanted.flatten(), ignore_index=IGNORED, reduction="sum")
