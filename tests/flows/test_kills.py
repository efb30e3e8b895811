"""Killed at any moment, a fine-tune is finished by the next call: one job, one MLflow run, nothing done twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from prefect.settings import PREFECT_API_URL

from flows.finetune import finetune
from flows.sweep import cancel, sweep
from tasks.backends.local.backend import CANCELLED
from tasks.backends.local.jobs import Folder
from tasks.core.errors import AnswerError, BackendError
from tasks.record import ledger
from tests.kit.demo import STEPS, overrides, recipe, runs

pytestmark = pytest.mark.usefixtures("orchestrator", "shared_root")

PIPES = {"text": True, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
PATIENCE = 240.0  # seconds, after which a moment that never came fails the test


def started(place: Path, *more: str) -> subprocess.Popen[str]:
    """`shardtune finetune` in a process of its own, as a person starts it."""
    call = [sys.executable, "-c", "from flows.cli.main import main; main()", "finetune", "--recipe", "demo", "--json"]
    for override in overrides(place, *more):
        call += ["--set", override]
    env = {name: value for name, value in os.environ.items() if name != "PREFECT_LOGGING_LEVEL"}
    env["PREFECT_API_URL"] = PREFECT_API_URL.value()
    return subprocess.Popen(call, env=env, **PIPES)


def cancelled(key: str) -> subprocess.CompletedProcess[str]:
    """`shardtune cancel`, beside the flow that watches the job."""
    call = [sys.executable, "-c", "from flows.cli.main import main; main()", "cancel", key, "--json"]
    return subprocess.run(call, env=os.environ | {"PREFECT_API_URL": PREFECT_API_URL.value()}, **PIPES)


def until(moment: Callable[[], object], process: subprocess.Popen[str] | None = None) -> None:
    """Wait for the moment; the process must still be there when it comes."""
    end = time.monotonic() + PATIENCE
    while not moment():
        assert process is None or process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def jobs(place: Path) -> set[Path]:
    return set((place / "root" / "jobs").glob("*"))


@pytest.mark.long
def test_a_fine_tune_killed_at_every_stage_is_one_job_and_one_run(place):
    before, seed = jobs(place), "seed=71"

    def folder() -> Folder:
        return Folder(next(iter(jobs(place) - before)))

    process = started(place, seed)
    until(lambda: jobs(place) - before, process)  # the intent stands, the trainer is perhaps not started yet
    kill(process)
    process = started(place, seed)
    until(lambda: len(folder().points) >= 3, process)
    trainer = folder().process
    assert trainer is not None
    kill(process)
    trainer.kill()
    until(lambda: not folder().is_locked())
    assert folder().status.state == "running"  # it had no time to say that it ended
    process = started(place, seed)
    until(lambda: folder().is_locked() and len(folder().points) >= 5, process)
    kill(process)  # the trainer goes on alone
    until(lambda: folder().status.state == "succeeded")
    key = folder().path.name
    assert ledger.unfinished() == [key]
    process = started(place, seed)
    until(lambda: asked(process), process)
    kill(process)
    assert [(s.key, s.state, s.concluded) for s in sweep()] == [(key, "succeeded", True)]
    out, _ = started(place, seed).communicate(timeout=PATIENCE)
    told = json.loads(out)
    assert (told["key"], told["trained"], told["steps"]) == (key, False, STEPS)
    assert jobs(place) - before == {folder().path}
    (run,) = runs(key)
    assert run.info.status == "FINISHED"
    losses = [m.step for m in ledger.client().get_metric_history(run.info.run_id, "loss")]
    assert sorted(losses) == list(range(1, STEPS + 1))
    assert sweep() == ()


def asked(process: subprocess.Popen[str]) -> bool:
    """Whether the flow of this process is asking the models."""
    family = psutil.Process(process.pid).children(recursive=True)
    return any("tasks.backends.local.sampler" in " ".join(p.cmdline()) for p in family if p.is_running())


@pytest.mark.long
def test_a_trainer_killed_under_a_living_flow_is_resumed_by_it(place):
    before = jobs(place)
    process = started(place, "seed=72")
    until(lambda: jobs(place) - before, process)
    folder = Folder(next(iter(jobs(place) - before)))
    until(lambda: len(folder.points) >= 3, process)
    folder.process.kill()
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    assert [p.step for p in folder.points] == list(range(1, STEPS + 1))
    (run,) = runs(json.loads(out)["key"])
    assert run.info.status == "FINISHED"


@pytest.mark.long
def test_a_cancelled_job_is_killed_and_starts_anew_only_on_demand(place):
    before = jobs(place)
    process = started(place, "seed=73")
    until(lambda: jobs(place) - before, process)
    folder = Folder(next(iter(jobs(place) - before)))
    until(lambda: folder.points, process)
    key, trainer = folder.path.name, folder.process
    trainer.suspend()  # or it may have succeeded before the command has started
    asked = threading.Thread(target=lambda: (until((folder.path / CANCELLED).exists, process), trainer.resume()))
    asked.start()
    told = cancelled(key)
    asked.join()
    assert (told.returncode, json.loads(told.stdout)) == (0, {"key": key, "state": "cancelled"}), told.stderr
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert err.startswith("shardtune: error: ") and "cancelled" in err and err.count("\n") == 1
    assert [run.info.status for run in runs(key)] == ["KILLED"]
    with pytest.raises(BackendError, match="--again"):
        finetune(recipe(place, "seed=73"))
    assert [run.info.status for run in runs(key)] == ["KILLED"]
    assert finetune(recipe(place, "seed=73"), again=True).state == "succeeded"
    (run,) = runs(key)
    (ended,) = json.loads(run.data.tags["shardtune.attempts"])
    assert (run.info.status, ended["state"]) == ("FINISHED", "cancelled")


def test_a_link_that_fails_ends_its_run_with_the_reason(place):
    with pytest.raises(BackendError, match="no_such_layer"):
        finetune(recipe(place, "tune.lora.target_modules=[no_such_layer]"))
    (key,) = [
        run.data.tags["shardtune.key"]
        for run in ledger.client().search_runs(["1"], "attributes.status = 'FAILED'")
        if "no_such_layer" in run.data.tags["reason"]
    ]
    assert len(runs(key)) == 1


def test_an_unknown_key_cannot_be_cancelled(place):
    with pytest.raises(AnswerError, match=r"no MLflow run has a key that starts with .*shardtune status"):
        cancel("0" * 32)
