"""Watching a training: every step is judged, written down and timed; every checkpoint is marked whole."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from tasks.backends.contract import JobStatus, LossPoint
from tasks.backends.local import distributed, memory
from tasks.backends.local.jobs import Folder
from tasks.core.errors import TrainingError

PATIENCE = 20  # float16 steps in a row whose gradient may overflow: the loss scale starts at 2**16 and halves each time


class Watch(TrainerCallback):
    """Writes losses.jsonl and status.json as training goes; raises TrainingError on a loss that means nothing."""

    def __init__(self, folder: Folder, status: JobStatus) -> None:
        self.folder, self.status = folder, status
        self.began = 0.0
        self.seconds: list[float] = []
        self.counts: list[dict[str, int]] = []  # of every step of this process: examples, tokens
        self.step_counts = {"examples": 0, "tokens": 0}
        self.overflows = 0  # in a row

    def count(self, counts: dict[str, int]) -> None:
        """Add what one forward pass was fed with."""
        for name, number in counts.items():
            self.step_counts[name] += number

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.began = time.monotonic()
        self.step_counts = {"examples": 0, "tokens": 0}

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        if not logs or "loss" not in logs:
            return
        norm = logs.get("grad_norm", 0.0)
        self.overflows = 0 if math.isfinite(norm) else self.overflows + 1
        spared = args.fp16 and self.overflows <= PATIENCE  # the scaler leaves such a step out
        judge(logs["loss"], 0.0 if spared else norm, state.global_step)
        took = time.monotonic() - self.began
        self.seconds.append(took)
        self.counts.append(dict(self.step_counts))
        if distributed.rank():
            return
        self.folder.add_point(
            LossPoint(
                step=state.global_step,
                epoch=round(state.epoch or 0.0, 6),
                loss=logs["loss"],
                learning_rate=logs.get("learning_rate"),
                gradient_norm=norm if "grad_norm" in logs and math.isfinite(norm) else None,
                seconds=round(took, 4),
            )
        )
        done = {"step": state.global_step, "steps": state.max_steps, "detail": "training"}
        facts = self.status.facts | self.speed(state.max_steps - state.global_step)
        self.status = self.status.model_copy(update=done | {"facts": facts})
        self.folder.write("status.json", self.status, passing=True)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if distributed.rank():
            return
        # The mark comes last: a checkpoint without it was cut by a kill.
        self.folder.mark_whole(Path(str(args.output_dir)) / f"checkpoint-{state.global_step}", state.global_step)

    def speed(self, left: int) -> dict[str, Any]:
        """What this process measured so far. The first step warms up and is left out where there are others."""
        seconds, counts = self.seconds[1:] or self.seconds, self.counts[1:] or self.counts
        total = sum(seconds)
        if not total:
            return {}
        each = total / len(seconds)
        return {
            "seconds_per_step": round(each, 4),
            "eta_seconds": round(each * left, 1),
            "examples_per_second": round(sum(c["examples"] for c in counts) / total, 3),
            "tokens_per_second": round(sum(c["tokens"] for c in counts) / total, 1),
            "peak_memory_bytes": memory.peak(),
        }


def judge(loss: float, norm: float, step: int) -> None:
    """Raise TrainingError where the numbers say that nothing is learnt."""
    if not math.isfinite(loss):
        raise TrainingError(f"loss is {loss!r} at step {step}: lower tune.learning_rate, or look at the export")
    if loss == 0.0:
        raise TrainingError(f"loss is exactly 0 at step {step}: nothing is being learnt; look at the labels")
    if not math.isfinite(norm):
        raise TrainingError(f"gradient norm is {norm!r} at step {step}: lower tune.learning_rate")
