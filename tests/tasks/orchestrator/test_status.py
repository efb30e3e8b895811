"""What `status` advises: each case a person met, and that it looks where the service is."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from datetime import timedelta

import pytest

from tasks.core import processes, settings
from tasks.core.errors import DamagedError
from tasks.orchestrator import api, flow_runs, status
from tasks.orchestrator.flow_runs import Pool, Run

HERE = {"shardtune.machine": processes.place()} | {f"shardtune.{k}": v for k, v in processes.identity().items()}


def run(kind: str, state: str = "", **about: object) -> Run:
    return Run("id", "name", kind, state or kind, "2026-11-26T00:00:00+00:00", "", "deployment", "cpu", {})._replace(
        **about
    )


POLLED = {"cpu": Pool(False, True), "gpu": Pool(False, False)}


@pytest.mark.parametrize(
    ("one", "pools", "up", "told"),
    [
        (run("SCHEDULED", pool="gpu"), POLLED, True, "no worker polls its pool 'gpu': stop `shardtune up`.*--gpu"),
        (run("SCHEDULED", pool="gpu"), {}, False, "`shardtune up --gpu`"),
        (run("SCHEDULED"), {}, False, "`shardtune up` starts one"),
        (run("SCHEDULED", pool="mine"), {"mine": Pool(False, False)}, True, "run `prefect worker start --pool mine`"),
        (run("SCHEDULED", "AwaitingConcurrencySlot"), POLLED, True, "nothing: it starts when the present run"),
        (run("SCHEDULED", "Late"), POLLED, True, "nothing: a worker takes it"),
        (run("SCHEDULED", "Late"), {"cpu": Pool(True, True)}, True, "paused in Prefect: resume it"),
        (run("PAUSED"), POLLED, True, "paused in Prefect: resume or cancel"),
        (run("RUNNING"), POLLED, True, "nothing: it is running"),
        (run("RUNNING", labels=HERE), {}, False, r"nothing: process \d+ works on it"),
        (run("RUNNING", deployment=None), {}, False, "its process is gone: run the same command again"),
        (run("RUNNING"), {}, False, "its process is gone: `shardtune up` starts it again"),
    ],
)
def test_what_is_open(one, pools, up, told):
    assert re.search(told, status.opened(one, pools, up))


RAISED = "Flow run encountered an exception: "


@pytest.mark.parametrize(
    ("one", "told"),
    [
        # the words of the errors themselves: tasks/backends/lifecycle.py, tasks/catalogue/sources.py
        (
            run(
                "FAILED",
                message=f"{RAISED}BackendError: job 'x' ended cancelled: by hand; mend the cause, then add --again",
            ),
            "run its deployment with `again` switched on",
        ),
        (
            run("FAILED", message=f"{RAISED}BackendError: job 'x' ended failed; then add --again", deployment=None),
            "the same command with --again",
        ),
        (
            run("FAILED", message=f"{RAISED}CatalogueError: no catalogue at '/nope'", deployment=None),
            "fix the reported error (repeating it would fail again), then run the same command again",
        ),
        (
            run("FAILED", message=f"{RAISED}TransientError: no answer"),
            "run its deployment again: a server did not answer",
        ),
        (run("FAILED", message=f"{RAISED}KeyError: 'x'"), "read its log, fix the error"),
        (run("CRASHED", deployment=None), "run the same command again to resume"),
        (run("CRASHED"), "nothing: the sweep starts it again"),
        (run("CRASHED", labels={"shardtune.again": "given up"}), "it crashed repeatedly"),
    ],
)
def test_what_failed(one, told):
    assert told in status.repaired(one, up=True)


def test_a_job_that_was_cancelled_by_hand_needs_nothing_or_again():
    assert status.mend("cancelled").startswith("nothing, if that was intended") and "--again" in status.mend(
        "cancelled"
    )


def test_a_service_of_another_root_is_found_and_nothing_is_made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(settings.ROOT_VARIABLE)
    for name in ("PREFECT_API_URL", "PREFECT_HOME", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    script = "import sys; print(flush=True); sys.stdin.read()"
    call = [sys.executable, "-c", script, "-m", "deployments.service.door", "mlflow"]  # as `ps` shows a server of `up`
    other = {**os.environ, settings.ROOT_VARIABLE: str(tmp_path / "elsewhere")}
    with subprocess.Popen(call, env=other, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        server.stdout.readline()
        found = status.status()
        server.stdin.close()
    assert str(tmp_path / ".shardtune") in found.looked and str(tmp_path / "elsewhere") in found.looked
    assert (found.service, found.open, found.failed) == ((), (), ()) and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("data", "told"), [(b"", None), (b"SQLite format 3\0" + b"x" * 900, "cannot be read")])
def test_the_database_of_prefect_that_a_kill_or_a_disk_left(own_root, monkeypatch, data, told):
    monkeypatch.delenv("PREFECT_HOME", raising=False)
    file = own_root / "prefect" / "prefect.db"
    file.parent.mkdir(parents=True)
    file.write_bytes(data)
    if told is None:
        assert flow_runs.seen(timedelta(days=7)).runs == ()
        return
    with pytest.raises(DamagedError, match=re.escape(repr(str(file))) + ".*shardtune restore"):
        flow_runs.seen(timedelta(days=7))


def test_an_address_is_read_as_prefects_client_reads_it(monkeypatch, own_root):
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:4200/api/")
    assert api.address() == "http://127.0.0.1:4200/api" and api.plain()
    monkeypatch.setenv("PREFECT_API_URL", "http://me:word@127.0.0.1:4200/api")
    assert not api.plain()
