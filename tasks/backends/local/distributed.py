"""Distributed: one training shared by several processes, one on each GPU, which `torchrun` starts and ends together.

Every batch is split between them, so that a step learns from the same examples as one process would. Whichever of them
dies, all end, and the job goes on from its checkpoint.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from typing import Any

from tasks.core.models import Finding
from tasks.recipe.tuning import LocalTune

_SET_PDEATHSIG = 1  # of prctl(2)
MOMENT = 5.0  # seconds; the launcher looks every tenth of one


def command(link: str, processes: int) -> list[str]:
    """The call that starts the trainer on the link of this file, in so many processes."""
    trainer = ["-m", "tasks.backends.local.training.trainer", link]
    if processes == 1:
        return [sys.executable, *trainer]
    launcher = ["-m", "torch.distributed.run", "--standalone", "--local-addr=127.0.0.1"]
    return [sys.executable, *launcher, f"--nproc-per-node={processes}", *trainer]


def count() -> int:
    """How many processes share this training."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """The number of this process among them. The first, 0, is the one that writes."""
    return int(os.environ.get("RANK", "0"))


def device() -> int:
    """The number of the GPU of this process."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def tie() -> None:
    """Take the GPU of this process, and end with the launcher, also where that is killed: a training that went on alone
    would share its folder with the next one."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.set_device(device())
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == 1:  # it was gone before
            os.kill(os.getpid(), signal.SIGKILL)


def linger() -> None:
    """Wait, before the reason of a failure is told: who failed because another one is gone is ended by the launcher
    meanwhile, and it is not for it to say why."""
    if count() > 1:
        time.sleep(MOMENT)


def blanks(examples: int, batch_size: int) -> int:
    """How many examples that teach nothing fill up the last batch of an epoch, so that it can be split too. Left to
    accelerate, it would be filled up with examples of the first batch, which would count twice."""
    return 0 if count() == 1 else -examples % batch_size


def arguments(gpu: bool) -> dict[str, Any]:
    """What of the trainer's settings is about several processes."""
    if count() == 1:
        return {}
    common = {"accelerator_config": {"split_batches": True}, "ddp_find_unused_parameters": False}
    return common | ({} if gpu else {"ddp_backend": "gloo"})


def findings(tune: LocalTune, gpus: int) -> list[Finding]:
    """What speaks against so many processes on this machine; empty where nothing does."""
    many, listed = tune.processes, []
    if many == 1:
        return []
    if tune.batch_size % many:
        listed.append(
            f"tune.batch_size={tune.batch_size!r} cannot be split between {many} processes: make it a multiple"
        )
    if gpus and many > gpus:
        listed.append(f"tune.processes={many!r} is above the {gpus} GPUs of this machine")
    if tune.engine == "unsloth":
        listed.append(f"tune.processes={many!r} works with tune.engine=transformers, not with unsloth")
    return [Finding(rule="processes", level="error", message=message) for message in listed]
