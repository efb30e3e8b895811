"""Status: running services, open jobs and runs, recent failures, and what a person can do about each."""

from __future__ import annotations

import os
import re
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

from tasks.core import processes, settings
from tasks.orchestrator import api, flow_runs, server
from tasks.orchestrator.flow_runs import Run
from tasks.record import overview

DAYS = 7
AGAIN = "shardtune.again"
WAITS = "AwaitingConcurrencySlot"
# Errors in what a person wrote: repeating it would fail the same way.
WRITTEN = (
    "CatalogueError RecipeError ExportError AnswerError MissingExtraError RunnerError ServiceError ValidationError "
    "FileNotFoundError NotADirectoryError PermissionError"
).split()
AWAY = ("TransientError", "LimitError", "ConnectError", "ReadTimeout")
ERROR = re.compile(r"encountered an exception: (\w+)")


class Process(NamedTuple):
    """One part of the service."""

    name: str
    alive: bool
    pid: int
    url: str
    log: str


class Matter(NamedTuple):
    """An open or failed job or flow run, and what to do about it (mostly nothing)."""

    kind: str  # job or flow run
    id: str  # the key of a job, the id of a flow run
    name: str
    state: str
    since: str
    detail: str
    do: str
    url: str | None


class MachineStatus(NamedTuple):
    """All of it at one moment. `people` are settings that people changed in Prefect, away from the files."""

    root: str
    looked: str  # where the service was looked for, in words; empty where it runs
    service: tuple[Process, ...]
    open: tuple[Matter, ...]
    failed: tuple[Matter, ...]
    people: dict[str, str]


def status() -> MachineStatus:
    """Read the record of the service, MLflow and Prefect. Their servers need not run."""
    parts = tuple(_process(name, known) for name, known in settings.service().items())
    if background := server.running():
        parts += (_process("background", background._asdict() | {"log": str(server.log())}),)
    up = any(part.alive and part.name == "prefect" for part in parts) or api.address() is not None
    seen = flow_runs.seen(timedelta(days=DAYS))
    look = (
        "nothing: the sweep checks it every ten minutes"
        if up
        else "run `shardtune sweep`, which checks it; `shardtune up` does so every ten minutes"
    )
    failed = [run for run in seen.runs if run.kind in flow_runs.BAD and len(str(run.labels.get(AGAIN, ""))) != 36]
    return MachineStatus(
        root=settings.root(),
        looked="" if up else elsewhere(),
        service=parts,
        open=(
            *[_job(job, look) for job in overview.open_runs()],
            *[_flow(run, opened(run, seen.pools, up)) for run in seen.runs if run.kind not in flow_runs.BAD],
        ),
        failed=(
            *[_job(job, mend(job.state)) for job in overview.failed_runs(DAYS)],
            *[_flow(run, repaired(run, up)) for run in failed],
        ),
        people=seen.people,
    )


# Modules by which the command line of a server of `up` is recognised; versions before 2026-11-26 used the second.
DOORS = {"deployments.service.door", "deployments.door"}


def elsewhere() -> str:
    """Say that no service runs with this root, and where this account runs one instead."""
    here = f"no service runs with the root {str(settings.local_root())!r}"
    roots = sorted({root for root in running() if root != str(settings.local_root())})
    if roots:
        return f"{here}; one runs with {', '.join(map(repr, roots))}: set {settings.ROOT_VARIABLE} to it, or go there"
    return f"{here} ({settings.ROOT_VARIABLE} names another): `shardtune up` starts one"


def running() -> list[str]:
    """The roots of the services that this account runs on this machine."""
    import psutil

    roots = []
    for process in psutil.process_iter():
        try:
            words = {*process.cmdline()}
            if process.uids().real == os.getuid() and words & DOORS and "mlflow" in words:
                named = process.environ().get(settings.ROOT_VARIABLE) or ".shardtune"
                roots.append(str((Path(process.cwd()) / named).resolve()))
        except (psutil.NoSuchProcess, psutil.AccessDenied, OSError):
            continue
    return roots


def opened(run: Run, pools: dict[str, flow_runs.Pool], up: bool) -> str:
    """What to do about a run that is open or due."""
    if run.kind == "PAUSED":
        return "it is paused in Prefect: resume or cancel it there"
    if run.kind != "SCHEDULED":
        if up:
            return "nothing: it is running, and the sweep restarts it if its process dies"
        here = run.labels.get("shardtune.machine") == processes.place()
        if here and processes.alive({"pid": run.labels["shardtune.pid"], "started": run.labels["shardtune.started"]}):
            return f"nothing: process {run.labels['shardtune.pid']} works on it"
        if run.deployment:
            return "its process is gone: `shardtune up` starts it again"
        return "its process is gone: run the same command again to resume"
    if run.state == WAITS:
        return "nothing: it starts when the present run of its deployment has ended"
    pool = pools.get(run.pool or "")
    flag = " --gpu" if run.pool == "gpu" else ""
    if not up and not pool:
        return f"it waits for a worker of the pool {run.pool!r}: `shardtune up{flag}` starts one"
    if pool and pool.paused:
        return f"its pool {run.pool!r} is paused in Prefect: resume it there"
    if pool and pool.polled:
        return "nothing: a worker takes it as soon as its pool has room"
    own = f"`prefect worker start --pool {run.pool}` where a worker of it may run"
    restart = f"stop `shardtune up` and start `shardtune up{flag}`, or run "
    return f"no worker polls its pool {run.pool!r}: {restart if run.pool in ('gpu', 'cpu') else 'run '}{own}"


def repaired(run: Run, up: bool) -> str:
    """What to do about a flow run that failed or crashed and was not started again."""
    by_hand = run.deployment is None
    error = match[1] if (match := ERROR.search(run.message)) else ""
    if "--again" in run.message:
        return "fix the reported error, then " + (
            "the same command with --again" if by_hand else "run its deployment with `again` switched on"
        )
    same = "run the same command again" if by_hand else "run its deployment again"
    if error in WRITTEN:
        return f"fix the reported error (repeating it would fail again), then {same}"
    if error in AWAY:
        return f"{same}: a server did not answer, and nothing is lost"
    if run.kind == "CRASHED":
        if run.labels.get(AGAIN):
            return f"it crashed repeatedly: read its log, fix the error, then {same}"
        if by_hand:
            return f"{same} to resume"
        return "nothing: the sweep starts it again" if up else "`shardtune up` starts it again"
    return f"read its log, fix the error, then {same} to resume"


def mend(state: str) -> str:
    """What to do about a job that did not succeed."""
    again = "start it again: the same command with --again, or `again` in the run form"
    if state == "cancelled":
        return f"nothing, if that was intended; else {again}"
    return f"fix the reported error, then {again}"


def _process(name: str, known: dict[str, object]) -> Process:
    there = processes.alive(known) is not None
    pid, url, log = known["pid"], known.get("url", ""), known.get("log", "")
    return Process(name=name, alive=there, pid=int(str(pid)), url=str(url).removesuffix("/api"), log=str(log))


def _job(job: overview.OpenRun, do: str) -> Matter:
    return Matter("job", job.key, job.name, job.state, job.since, job.reason, do, job.url)


def _flow(run: Run, do: str) -> Matter:
    base = settings.served().get("PREFECT_API_URL", "").removesuffix("/api")
    url = f"{base}/runs/flow-run/{run.id}" if base else None
    return Matter("flow run", run.id, run.name, run.state.lower(), run.since, run.message, do, url)
