"""Ranks: two processes learn what one learns, are killed and go on together, and are refused where they cannot."""

from __future__ import annotations

import signal
from pathlib import Path

import psutil
import pytest
from safetensors.torch import load_file

from tasks.backends.contract import JobStatus, Link
from tasks.backends.local import distributed
from tasks.backends.local.backend import Local
from tasks.backends.local.jobs import Folder
from tasks.recipe.tuning import Lora
from tests.kit.contract import ended, until
from tests.kit.models import build, linked, tune

pytestmark = pytest.mark.whole  # it trains, again and again

STEPS = 6


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    return build(tmp_path_factory.mktemp("ranks") / "llama", "llama")


def asked(tiny: str, place: Path, **changes: object) -> Link:
    """A link of 14 examples: of the last batch of an epoch, the second process gets nothing but blanks."""
    rows = [(f"Drum {n}", "A drum" + " of the sea" * n + " 0123456789"[: n + 2] * (n % 5)) for n in range(14)]
    return linked(place, tune(tiny, **({"max_steps": STEPS} | changes)), rows)


def done(link: Link) -> tuple[JobStatus, Folder]:
    local = Local()
    status = until(local, local.submit(link), ended)
    assert status.state == "succeeded", status.error
    return status, Folder.of(link.key)


def test_two_processes_learn_what_one_learns(tiny, tmp_path):
    two, shared = done(asked(tiny, tmp_path, processes=2))
    apart = load_file(shared.adapter / "adapter_model.safetensors")
    shared.path.rename(tmp_path / "two")
    one, alone = done(asked(tiny, tmp_path))
    assert (two.facts["processes"], one.facts["processes"]) == (2, 1)
    assert [p.step for p in two.points] == [p.step for p in one.points] == list(range(1, STEPS + 1))
    assert [p.loss for p in two.points] == pytest.approx([p.loss for p in one.points], rel=2e-3)
    assert two.heldout_after == pytest.approx(one.heldout_after, rel=2e-3)
    own = load_file(alone.adapter / "adapter_model.safetensors")
    assert own.keys() == apart.keys()
    size = sum(float((own[name] ** 2).sum()) for name in own)
    assert sum(float(((own[name] - apart[name]) ** 2).sum()) for name in own) < 1e-3 * size


@pytest.mark.parametrize("who", ["launcher", "one of them"])
def test_whoever_is_killed_all_end_and_the_job_goes_on(tiny, tmp_path, who):
    link, local = asked(tiny, tmp_path, processes=2, checkpoint_steps=2, max_steps=60), Local()
    job = local.submit(link)
    until(local, job, lambda status: status.step >= 5)
    launcher = Folder.of(link.key).process
    both = launcher.children(recursive=True)
    assert len(both) >= 2
    (launcher if who == "launcher" else both[0]).send_signal(signal.SIGKILL)
    _, left = psutil.wait_procs([launcher, *both], timeout=60)
    assert not left
    assert local.status(job).interrupted
    local.submit(link)
    status = until(local, job, ended)
    assert status.state == "succeeded", status.error
    assert [p.step for p in status.points] == list(range(1, 61))


def test_what_fails_in_all_of_them_is_told(tiny, tmp_path):
    link, local = asked(tiny, tmp_path, processes=2, lora=Lora(target_modules=("no_such_layer",))), Local()
    status = until(local, local.submit(link), ended)
    assert (status.state, status.interrupted) == ("failed", False)
    assert "no_such_layer" in status.error


def test_cancel_ends_all_of_them(tiny, tmp_path):
    link, local = asked(tiny, tmp_path, processes=2, max_steps=100_000), Local()
    job = local.submit(link)
    until(local, job, lambda status: status.step >= 1)
    both = Folder.of(link.key).process.children(recursive=True)
    local.cancel(job)
    assert until(local, job, ended).state == "cancelled"
    _, left = psutil.wait_procs(both, timeout=60)
    assert not left


def test_the_number_of_processes_changes_no_key(tiny, tmp_path):
    assert asked(tiny, tmp_path, processes=2).key == asked(tiny, tmp_path).key


@pytest.mark.parametrize(
    ("changes", "gpus", "told"),
    [
        ({"processes": 3}, 0, ["batch_size=4 cannot be split between 3 processes"]),
        ({"processes": 2}, 1, ["above the 1 GPUs"]),
        ({"processes": 2, "engine": "unsloth"}, 2, ["not with unsloth"]),
        ({"processes": 2}, 0, []),
        ({"processes": 1, "engine": "unsloth"}, 8, []),
    ],
)
def test_what_cannot_be_shared_is_told_before(changes, gpus, told):
    found = distributed.findings(tune("b", **changes), gpus)
    assert len(found) == len(told)
    assert all(words in finding.message for words, finding in zip(told, found, strict=True))
