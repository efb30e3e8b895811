"""Status: what runs on this machine, what is open, what failed lately, and what a person can do about each."""

from __future__ import annotations

from datetime import UTC, datetime

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.settings import PREFECT_UI_URL

from tasks import processes, runs, settings
from tasks.models import Frozen
from tasks.record import overview

DAYS = 7


class Process(Frozen):
    """One part of the service."""

    name: str
    alive: bool
    pid: int
    url: str
    log: str


class Matter(Frozen):
    """Something that is open or has failed, and what to do: nothing, mostly."""

    kind: str  # job or flow run
    id: str  # the key of a job, the id of a flow run
    name: str
    state: str
    since: str
    detail: str
    do: str
    url: str | None


class Status(Frozen):
    """All of it, at one moment."""

    root: str
    service: tuple[Process, ...]
    open: tuple[Matter, ...]
    failed: tuple[Matter, ...]


def status() -> Status:
    """Look at the record of the service, at MLflow, and at Prefect; their servers need not run."""
    with get_client(sync_client=True) as client:
        flows = [_flow(run) for run in runs.found(client, {"state": {"type": {"any_": runs.OPEN}}})]
        late = {"state": {"type": {"any_": [StateType.SCHEDULED]}}, "expected_start_time": {"before_": _now()}}
        flows += [_flow(run) for run in runs.found(client, late)]
        failed = [_flow(run) for run in _failed(client)]
    return Status(
        root=settings.root(),
        service=tuple(_process(name, known) for name, known in settings.service().items()),
        open=(*[_job(held, "nothing: `shardtune sweep` looks at it") for held in overview.open_runs()], *flows),
        failed=(*[_job(held, _mend(held)) for held in overview.failed_runs(DAYS)], *failed),
    )


def _process(name: str, known: dict[str, object]) -> Process:
    there = processes.alive(known) is not None
    pid, url, log = known["pid"], known.get("url", ""), known.get("log", "")
    return Process(name=name, alive=there, pid=int(str(pid)), url=str(url).removesuffix("/api"), log=str(log))


def _job(held: overview.Held, do: str) -> Matter:
    told = {"id": held.key, "name": held.name, "state": held.state, "since": held.since, "detail": held.reason}
    return Matter(kind="job", do=do, url=held.url, **told)


def _mend(held: overview.Held) -> str:
    return f"mend what is told, then start it anew: --again, or `again` in the run form (run {held.run_id})"


def _failed(client: SyncPrefectClient) -> list[FlowRun]:
    """Top-level flow runs that failed, or crashed and were not started again."""
    bad = {"state": {"type": {"any_": [StateType.FAILED, StateType.CRASHED]}}}
    since = {"end_time": {"after_": _now() - runs.LATELY}}
    found = runs.found(client, bad | since | {"parent_task_run_id": {"is_null_": True}})
    return [run for run in found if not _seen_to(run)]


def _seen_to(run: FlowRun) -> bool:
    return len(str(run.labels.get(runs.AGAIN, ""))) == 36  # the id of the run that took its place


def _flow(run: FlowRun) -> Matter:
    state = run.state
    named = str(run.state_name)
    base = PREFECT_UI_URL.value()
    return Matter(
        kind="flow run",
        id=str(run.id),
        name=run.name,
        state=named.lower(),
        since=(state.timestamp if state else _now()).isoformat(timespec="seconds"),
        detail=(state.message if state else None) or "",
        do=_advice(run),
        url=f"{base}/runs/flow-run/{run.id}" if base and settings.served() else None,
    )


def _advice(run: FlowRun) -> str:
    kind = run.state_type
    if kind == StateType.SCHEDULED:
        return f"it waits for a worker of the pool {run.work_pool_name!r}: `shardtune up` starts them"
    if kind in runs.OPEN:
        return "nothing: it is at work, and the sweep sees to it if its process dies"
    if run.deployment_id is None:
        return "run the same command again: it goes on where it was"
    if run.labels.get(runs.AGAIN):
        return "it crashed again and again: read its log, mend what is told, run its deployment"
    return (
        "mend what its log tells, then run its deployment again" if kind == StateType.FAILED else "wait for the sweep"
    )


def _now() -> datetime:
    return datetime.now(UTC)
