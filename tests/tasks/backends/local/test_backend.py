"""The local backend: the contract, with the real detached trainer; and what only a process on this machine can do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import fsspec
import psutil
import pytest

from tasks.backends.contract import Decoding, Job, Link
from tasks.backends.local import backend
from tasks.backends.local.backend import Local
from tasks.backends.local.jobs import Folder
from tasks.core.errors import BackendError, RecipeError
from tasks.core.models import CleanShard, Message
from tasks.examples import export
from tasks.examples.templates import load_tokenizer
from tests.kit import rows as shards
from tests.kit.contract import BackendContract, ended, until
from tests.kit.models import ROWS, build, linked, tune


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    return build(tmp_path_factory.mktemp("tiny") / "llama", "llama")


@pytest.fixture
def quick(tiny: str, tmp_path: Path) -> Link:
    return linked(tmp_path, tune(tiny, learning_rate=5e-2, max_steps=6))


@pytest.fixture
def lasting(tiny: str, tmp_path: Path) -> Link:
    return linked(tmp_path, tune(tiny, max_steps=100_000, checkpoint_steps=100_000))


@pytest.fixture
def shard(tmp_path: Path) -> CleanShard:
    return shards.shard(tmp_path / "train", ROWS, "train")


class TestLocal(BackendContract):
    """The contract suite on this machine."""

    @pytest.fixture
    def backend(self) -> Local:
        return Local()


@pytest.mark.whole
def test_a_trainer_outlives_the_process_that_submitted_it(lasting, tmp_path):
    link = tmp_path / "link.json"
    link.write_text(lasting.model_dump_json())
    script = (
        "import sys; from pathlib import Path; from tasks.backends.contract import Link\n"
        "from tasks.backends.local.backend import Local\n"
        "Local().submit(Link.model_validate_json(Path(sys.argv[1]).read_text()))"
    )
    subprocess.run([sys.executable, "-c", script, str(link)], check=True)
    local = Local()
    job = local.find(lasting.key)
    trainer = Folder.of(lasting.key).process
    assert trainer.pid not in {p.pid for p in psutil.Process().children(recursive=True)}
    assert local.submit(lasting) == job and Folder.of(lasting.key).process.pid == trainer.pid
    until(local, job, lambda s: s.points)
    local.cancel(job)
    assert not psutil.pid_exists(trainer.pid) or trainer.status() == psutil.STATUS_ZOMBIE


@pytest.mark.whole
def test_a_killed_trainer_is_interrupted_and_goes_on(tiny, tmp_path):
    local, link = Local(), linked(tmp_path, tune(tiny, max_steps=400, checkpoint_steps=1))
    job = local.submit(link)
    until(local, job, lambda s: s.step >= 3)
    Folder.of(link.key).process.kill()
    died = until(local, job, ended)
    assert (died.state, died.interrupted) == ("failed", True) and "same command" in died.error
    assert local.submit(link) == job
    until(local, job, lambda s: s.step > died.step)
    local.cancel(job)
    steps = [p.step for p in local.status(job).points]
    assert steps == list(range(1, len(steps) + 1)) and len(steps) > died.step


def test_a_job_whose_submitter_died_before_the_trainer_started_is_interrupted(quick, monkeypatch):
    def killed(*given):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("tasks.backends.local.backend._spawned", killed)
        Local().submit(quick)
    job = Local().find(quick.key)
    assert job is not None
    status = Local().status(job)
    assert (status.state, status.interrupted) == ("failed", True)


@pytest.mark.whole
def test_a_trainer_ended_with_its_machine_is_interrupted_and_not_cancelled(lasting):
    local = Local()
    job = local.submit(lasting)
    until(local, job, lambda s: s.points)
    Folder.of(lasting.key).process.terminate()
    died = until(local, job, ended)
    assert (died.state, died.interrupted) == ("failed", True)


def test_a_look_between_a_cancelled_trainers_death_and_the_end_of_cancel_sees_a_cancelled_job(quick):
    folder = Folder.of(quick.key)
    folder.path.mkdir(parents=True)
    job = Job(key=quick.key, backend="local", id=quick.key, submitted_at="2026-01-01T00:00:00")
    folder.write("job.json", job.model_dump(mode="json"))
    folder.write("status.json", {"state": "running"})
    assert Local().status(job).interrupted
    folder.write("cancelled.json", {})
    assert (Local().status(job).state, Local().status(job).interrupted) == ("cancelled", False)


def test_a_failure_is_told_with_its_reason_and_the_log_is_kept(tiny, tmp_path):
    local = Local()
    link = linked(tmp_path, tune(tiny, lora={"r": 4, "target_modules": ["nope"]}))
    status = until(local, local.submit(link), ended)
    assert (status.state, status.interrupted) == ("failed", False) and "'nope'" in status.error
    assert "Traceback" in Folder.of(link.key).log.read_text()


def test_a_succeeded_job_whose_adapter_is_gone_is_interrupted(quick):
    folder = Folder.of(quick.key)
    folder.path.mkdir(parents=True)
    job = Job(key=quick.key, backend="local", id=quick.key, submitted_at="2026-01-01T00:00:00")
    folder.write("job.json", job.model_dump(mode="json"))
    folder.adapter.mkdir()
    folder.write("status.json", {"state": "succeeded", "model": str(folder.adapter)})
    assert Local().status(job).state == "succeeded"
    folder.adapter.rmdir()
    status = Local().status(job)
    assert (status.state, status.interrupted) == ("failed", True) and "gone" in status.error


def test_a_trainer_that_ignores_the_signal_is_stopped(quick, monkeypatch):
    monkeypatch.setattr("tasks.backends.local.backend.GRACE", 0.5)
    folder = Folder.of(quick.key)
    folder.path.mkdir(parents=True)
    job = Job(key=quick.key, backend="local", id=quick.key, submitted_at="2026-01-01T00:00:00")
    folder.write("job.json", job.model_dump(mode="json"))
    script = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(99)"
    with folder.lock() as lock:
        os.set_inheritable(lock, True)
        call = [sys.executable, "-c", script]
        deaf = subprocess.Popen(call, pass_fds=(lock,), start_new_session=True, stdout=subprocess.PIPE)
    assert deaf.stdout.readline()
    folder.write("process.json", {"pid": deaf.pid, "started": psutil.Process(deaf.pid).create_time()})
    assert Local().status(job).state == "queued"
    Local().cancel(job)
    assert not psutil.pid_exists(deaf.pid)
    assert Local().status(job).state == "cancelled"


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"base_model": "/nowhere"}, "base model"),
        ({"max_length": 4_096}, "length"),
        ({"batch_size": 4_096, "max_length": 512, "max_steps": 9}, "memory"),
    ],
)
def test_what_cannot_work_is_found_before_the_start(quick, changes, rule):
    link = quick.model_copy(update={"tune": quick.tune.model_copy(update=changes)})
    found = [f for f in Local().check(link) if f.level == "error"]
    if rule == "memory":
        found = Local().check(link)
    assert [f.rule for f in found] == [rule]


def test_examples_that_are_too_long_and_a_template_without_an_end_are_told(quick, tiny, tmp_path, monkeypatch):
    long = quick.train[0].model_copy(update={"truncated": 3})
    (told,) = Local().check(quick.model_copy(update={"train": (long,), "too_long": "split"}))
    assert (told.rule, told.level) == ("too long", "warning") and "3 of " in told.message and "split" in told.message
    every = long.model_copy(update={"truncated": long.examples})
    (told,) = Local().check(quick.model_copy(update={"train": (every,), "too_long": "drop"}))
    assert (told.rule, told.level) == ("too long", "error")
    monkeypatch.setattr("tasks.backends.local.backend.load_tokenizer", lambda drawn: no_end)
    no_end = load_tokenizer(Local().rendering(quick.tune))
    no_end.chat_template, no_end.eos_token = "{% for m in messages %}{{ m['content'] }}\n{% endfor %}", None
    assert [f.rule for f in Local().check(quick)] == ["end token"]


def test_a_quote_counts_what_will_be_trained_on(quick):
    (whole,) = quick.train
    lengths = sorted(export.read_rows(whole, ["tokens"])["tokens"].to_pylist())
    assert whole.tokens == sum(lengths) and lengths[0] < lengths[-1]
    longest = lengths[-1] - 1
    fits = [n for n in lengths if n <= longest]
    train = whole.model_copy(update={"truncated": len(lengths) - len(fits)})
    once = quick.tune.model_copy(update={"max_length": longest, "max_steps": None, "epochs": 2})

    def told(then: str | None) -> tuple[int, int | None]:
        cost = Local().quote(quick.model_copy(update={"train": (train,), "tune": once, "too_long": then}))
        return cost.examples, cost.tokens

    assert told("drop") == (2 * len(fits), 2 * sum(fits))
    assert told("cut") == told(None) == (2 * len(lengths), 2 * sum(min(n, longest) for n in lengths))
    assert told("split") == (2 * len(lengths), 2 * sum(lengths))  # in more pieces, which nobody counts before


def test_an_adapter_elsewhere_is_opened_only_where_the_list_allows_it(tmp_path, monkeypatch):
    monkeypatch.setenv("SHARDTUNE_ALLOWED", str(tmp_path))
    with pytest.raises(RecipeError, match=r"'http://127\.0\.0\.1:9/adapter'"):
        backend.fetched("http://127.0.0.1:9/adapter", tmp_path)


def test_a_model_that_is_no_adapter_is_named(tiny, tmp_path, quick):
    with pytest.raises(BackendError, match=str(tmp_path)):
        Local().answer(str(tmp_path), quick.tune, [()], Decoding())


@pytest.mark.whole
def test_an_adapter_on_a_remote_root_is_fetched_to_be_asked(quick, monkeypatch):
    monkeypatch.chdir(Path(quick.train[0].uri).parent)
    monkeypatch.setenv("SHARDTUNE_ROOT", "file://" + str(Path(quick.train[0].uri).parent / "bucket"))
    local = Local()
    status = until(local, local.submit(quick), ended)
    assert status.state == "succeeded", status.error
    assert status.model.startswith("file://") and fsspec.core.url_to_fs(status.model)[0].exists(status.model)
    asked = Message(role="user", content="What is the Drum 1 product?")
    ((told,),) = local.answer(status.model, quick.tune, [[asked]], Decoding(max_new_tokens=4))
    assert told.model_version != quick.tune.base_model
