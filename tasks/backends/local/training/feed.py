"""trl's SFTTrainer, fed in our order. Import it after the engine: Unsloth replaces the class it extends."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
import trl
from torch.nn.functional import cross_entropy
from trl.trainer import utils

from tasks.backends.local import distributed, engines
from tasks.backends.local.training.batches import Order
from tasks.backends.local.training.watch import Watch
from tasks.examples.tokens import IGNORED


class Feed(trl.SFTTrainer):  # type: ignore[misc]
    """Batches come in the order of `Order`; what each holds is counted; no model cards."""

    def __init__(
        self, watch: Watch, lengths: Sequence[int], grouped: bool, course: tuple[int, int] | None, **options: Any
    ) -> None:
        self.watch, self.course = watch, course
        size, blanks = options["args"].per_device_train_batch_size, len(options["train_dataset"]) - len(lengths)
        self.order = Order(lengths, size, options["args"].seed, grouped, blanks)
        # trl's fused head needs Triton, and Triton a GPU: it is often installed where there is none.
        # Nor does it weigh what several processes saw.
        self.plain = utils._ChunkedLogProbFunction is None or not engines.has_gpu() or distributed.count() > 1
        super().__init__(**options)
        self.model_accepts_loss_kwargs = True  # whichever loss is used, it counts labels over all passes of a step

    def _get_train_sampler(self, train_dataset: Any = None) -> Order:
        return self.order

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """The schedule of this training; with a `course`, its part of a schedule over several links."""
        before, whole = self.course or (0, num_training_steps)
        made: Any = super().create_scheduler(whole, optimizer)
        if before:
            made.lr_lambdas = [_later(known, before) for known in made.lr_lambdas]
            for group, peak, share in zip(made.optimizer.param_groups, made.base_lrs, made.lr_lambdas, strict=True):
                group["lr"] = peak * share(0)
            made._last_lr = [group["lr"] for group in made.optimizer.param_groups]
        return made

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


def _later(share: Callable[[int], float], before: int) -> Callable[[int], float]:
    """A schedule as it goes on after so many steps."""
    return lambda step: share(step + before)


def loss_of(model: Any, inputs: dict[str, Any]) -> torch.Tensor:
    """Sum of the loss over all labels, in nats. Logits are made only at columns where some example has a label."""
    columns, wanted = learnt(inputs["labels"])
    logits = logits_of(model, inputs, columns)
    # Unsloth's forward on a GPU takes the columns and makes all logits all the same.
    logits = logits if logits.shape[1] == len(columns) else logits[:, columns]
    return summed(logits.flatten(0, 1), wanted.flatten())


def learnt(labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The columns that foretell a label of some example, and the labels that they foretell."""
    columns = (labels[:, 1:] != IGNORED).any(0).nonzero().flatten()
    return columns, labels[:, 1:][:, columns]


def logits_of(model: Any, inputs: dict[str, Any], columns: torch.Tensor) -> torch.Tensor:
    """The logits at these columns, or at all where the model knows no choice."""
    given = {name: value for name, value in inputs.items() if name != "labels"} | {"use_cache": False}
    inner = getattr(model, "module", model)  # what several processes share is wrapped
    base = inner.get_base_model() if hasattr(inner, "get_base_model") else inner
    chosen = "logits_to_keep" in inspect.signature(base.forward).parameters
    logits: torch.Tensor = model(**given, **({"logits_to_keep": columns} if chosen else {})).logits
    return logits


def summed(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Sum of the loss, in nats, of logits over the vocabulary."""
    return cross_entropy(logits.float(), labels, ignore_index=IGNORED, reduction="sum")
