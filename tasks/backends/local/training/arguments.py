"""Arguments: trl's SFT settings for a link. Import it after the engine."""

from __future__ import annotations

from typing import Any

import torch
from trl import SFTConfig

from tasks.backends.local import distributed, engines
from tasks.backends.local.jobs import LocalLink


class Arguments(SFTConfig):  # type: ignore[misc]
    """Several processes on a CPU are told to be on cpu:0, cpu:1, …, where torch cannot restore a checkpoint to."""

    @property
    def device(self) -> torch.device:
        usual: torch.device = super().device
        return torch.device("cpu") if usual.type == "cpu" else usual


def optimizer(arguments: Arguments) -> dict[str, Any]:
    """What updates the weights, as a run records it."""
    betas = [arguments.adam_beta1, arguments.adam_beta2]
    return {
        "optimizer": str(getattr(arguments.optim, "value", arguments.optim)),
        "betas": betas,
        "epsilon": arguments.adam_epsilon,
    }


def arguments(link: LocalLink, checkpoints: str, warmup_steps: int) -> Arguments:
    """The settings of this link; `checkpoints` is their folder."""
    tune, kind = link.tune, str(engines.precision())
    return Arguments(
        output_dir=checkpoints,
        seed=link.seed,
        data_seed=link.seed,
        per_device_train_batch_size=tune.batch_size,
        gradient_accumulation_steps=tune.gradient_accumulation,
        num_train_epochs=tune.epochs,
        max_steps=tune.max_steps or -1,
        learning_rate=tune.learning_rate,
        lr_scheduler_type=tune.schedule,
        warmup_steps=warmup_steps,
        weight_decay=tune.weight_decay,
        max_grad_norm=tune.max_grad_norm,
        optim="adamw_torch_fused",
        bf16="bfloat16" in kind,
        fp16="float16" in kind and "bfloat16" not in kind,
        use_cpu=not engines.has_gpu(),
        gradient_checkpointing=tune.gradient_checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False} if tune.gradient_checkpointing else None,
        max_length=None,
        packing=False,
        padding_free=False,
        dataset_kwargs={"skip_prepare_dataset": True},
        remove_unused_columns=False,
        dataloader_pin_memory=engines.has_gpu(),
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="steps",
        save_steps=tune.checkpoint_steps,
        save_total_limit=2,
        report_to="none",
        disable_tqdm=True,
        **distributed.arguments(engines.has_gpu()),
    )
