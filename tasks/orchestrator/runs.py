"""Prefect policy for flow runs whose process died or whose server broke off: mark them and run them again.

Every flow signs its run with the process that works on it. In the same place (a machine, or one container of it) a run
is dead when that process is; anywhere else when it has sent no heartbeat, twice in a row. All flows may be run again at
any moment, so wrongly marking a live run as dead costs some seconds, but no second job.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psutil
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.events.filters import EventFilter
from prefect.exceptions import Abort, ObjectNotFound, PrefectHTTPStatusError
from prefect.states import Cancelled, Crashed, get_state_exception

from tasks.core import processes, settings
from tasks.core.errors import ShardtuneError
from tasks.core.redaction import redacted

log = logging.getLogger(__name__)

MACHINE, PID, STARTED = "shardtune.machine", "shardtune.pid", "shardtune.started"
SILENT, AGAIN, ATTEMPT = "shardtune.silent", "shardtune.again", "shardtune.attempt"
WORKER = "prefect.worker.name"
OPEN = (StateType.RUNNING, StateType.PENDING, StateType.CANCELLING)
ATTEMPTS = 3  # of the same work, none of which lived for PROGRESS
PROGRESS = timedelta(hours=1)
SILENCE = timedelta(minutes=5)  # without a heartbeat, of which one comes a minute
LATELY = timedelta(days=7)
REFUSED = (409, 422)  # the form of a deployment has changed since
BY_ITSELF = "sweep"  # not started again: its next run comes by schedule
# Classes of a connection that was refused, timed out or broke off, by module; no library is imported for them.
BROKEN = {
    "builtins": ("ConnectionError", "TimeoutError"),
    "httpx": ("TransportError",),
    "requests.exceptions": ("ConnectionError", "Timeout", "ChunkedEncodingError", "RetryError"),
    "botocore.exceptions": ("HTTPClientError", "ConnectionError"),
    "aiohttp.client_exceptions": ("ClientConnectionError", "ClientPayloadError"),
}


def sign(flow: Any, flow_run: FlowRun, state: Any) -> None:
    """Hook of every flow: record the process of this run. Abort where another live process already works on it.

    Prefect lets a run that is RUNNING be started once more; the second process would end it under the first.
    """
    known = processes.identity()
    with get_client(sync_client=True) as client:
        labels = client.read_flow_run(flow_run.id).labels
        elsewhere = labels.get(MACHINE) == processes.place() and labels[PID] != known["pid"]
        if elsewhere and (other := processes.alive({"pid": labels[PID], "started": labels[STARTED]})):
            raise Abort(f"process {other.pid} already works on flow run {flow_run.name!r}")
        client.update_flow_run_labels(
            flow_run.id, {MACHINE: processes.place(), PID: known["pid"], STARTED: known["started"]}
        )


def lost(flow: Any, flow_run: FlowRun, state: State[Any]) -> None:
    """Hook of every flow: a run of a deployment that lost MLflow, Prefect or the store ends CRASHED, so it runs again.

    FAILED is for errors that would repeat. Errors of our own code already explain themselves and stay FAILED.
    """
    error = get_state_exception(state)
    if flow_run.deployment_id and isinstance(error, BaseException) and broken(error):
        message = f"a server was away or broke off: {type(error).__name__}: {redacted(str(error))}"
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(flow_run.id, Crashed(message=message), force=True)


def broken(error: BaseException | None) -> bool:
    """Whether a broken connection to a server caused this error."""
    if isinstance(error, ShardtuneError):
        return False
    while error is not None:
        if any(one.__name__ in BROKEN.get(one.__module__, ()) for one in type(error).__mro__):
            return True
        error = error.__cause__ or error.__context__
    return False


def recover() -> list[str]:
    """Mark every dead run; start it again if it came from a deployment. Returns sentences about what was done."""
    actions = []
    with get_client(sync_client=True) as client:
        for run in matching(client, {"state": {"type": {"any_": OPEN}}}):
            if dead(run, client):
                actions.append(ended(run, client))
        since = {"end_time": {"after_": _now() - LATELY}}
        for run in matching(client, {"state": {"type": {"any_": [StateType.CRASHED]}}} | since):
            if run.deployment_id and AGAIN not in run.labels and client.read_flow(run.flow_id).name != BY_ITSELF:
                actions.append(again(run, client))
        actions += superseded(client)
    for words in actions:
        log.warning("%s", words)
    return actions


def matching(client: SyncPrefectClient, criteria: dict[str, Any]) -> Iterator[FlowRun]:
    """All flow runs that meet the criteria."""
    kept, order, size = FlowRunFilter.model_validate(criteria), FlowRunSort.ID_DESC, 200
    runs: list[FlowRun] = []
    while page := client.read_flow_runs(flow_run_filter=kept, sort=order, limit=size, offset=len(runs)):
        runs += page
    return iter(runs)


def dead(run: FlowRun, client: SyncPrefectClient) -> bool:
    """Whether the process of an open run is gone."""
    labels, here = run.labels, processes.place()
    if labels.get(MACHINE) == here:
        return processes.alive({"pid": labels[PID], "started": labels[STARTED]}) is None
    pool, _, machine = str(labels.get(WORKER, "")).rpartition("@")
    if (
        MACHINE not in labels and machine == here
    ):  # a worker of this machine took it, but its process has not called `sign` yet
        if run.infrastructure_pid:
            return not _is_of(run, run.infrastructure_pid)
        known = settings.service().get(f"worker {pool}")
        return processes.alive(known) is None or bool(known and _since(run).timestamp() < known["started"])
    return silent(run, client)


def _is_of(run: FlowRun, pid: str) -> bool:
    """Whether the process `pid` was started for this run."""
    try:
        process = psutil.Process(int(pid))
        return process.is_running() and process.environ().get("PREFECT__FLOW_RUN_ID") == str(run.id)
    except (psutil.NoSuchProcess, psutil.AccessDenied, ValueError):
        return False


def silent(run: FlowRun, client: SyncPrefectClient) -> bool:
    """Whether a run on another machine sent no heartbeat, at this check and at an earlier one.

    One check is not enough: a server that was down for minutes received no heartbeat of any run.
    """
    since = _now() - SILENCE
    if _since(run) > since:
        return False
    heartbeat = {
        "occurred": {"since": since, "until": _now()},
        "event": {"name": ["prefect.flow-run.heartbeat"]},
        "resource": {"id": [f"prefect.flow-run.{run.id}"]},
    }
    heard = client.read_events(EventFilter.model_validate(heartbeat), limit=1).events
    before = run.labels.get(SILENT)
    client.update_flow_run_labels(run.id, {SILENT: "" if heard else before or _now().isoformat()})
    return not heard and bool(before) and datetime.fromisoformat(str(before)) < since


def ended(run: FlowRun, client: SyncPrefectClient) -> str:
    """Mark a dead run: Cancelled where that was asked for, else Crashed."""
    where = run.labels.get(MACHINE) or run.labels.get(WORKER) or "an unknown machine"
    if run.state and run.state.is_cancelling():
        client.set_flow_run_state(run.id, Cancelled(message="its process is gone"), force=True)
        return f"flow run {run.name!r} is cancelled: its process is gone"
    message = f"its process on {where} is gone"
    client.set_flow_run_state(run.id, Crashed(message=message), force=True)
    return f"flow run {run.name!r} has crashed: {message}"


def again(run: FlowRun, client: SyncPrefectClient) -> str:
    """One new run with the same parameters, however often this is called; none after ATTEMPTS without progress."""
    attempt = 1 if run.total_run_time > PROGRESS else int(str(run.labels.get(ATTEMPT, 0))) + 1
    if attempt > ATTEMPTS:
        client.update_flow_run_labels(run.id, {AGAIN: "given up"})
        return f"flow run {run.name!r} crashed {attempt} times in a row and is not started again: see its log"
    assert run.deployment_id is not None
    try:
        new = client.create_flow_run_from_deployment(
            run.deployment_id,
            parameters=run.parameters,
            tags=run.tags,
            idempotency_key=f"again-{run.id}",
            labels={ATTEMPT: attempt},
        )
    except ObjectNotFound:
        client.update_flow_run_labels(run.id, {AGAIN: "its deployment is gone"})
        return f"flow run {run.name!r} crashed and its deployment is gone: nothing is started again"
    except PrefectHTTPStatusError as error:  # refused parameters must not keep us from the other runs
        if error.response.status_code not in REFUSED:
            raise
        client.update_flow_run_labels(run.id, {AGAIN: "refused"})
        return f"flow run {run.name!r} crashed and its deployment no longer accepts its parameters: {error}"
    client.update_flow_run_labels(run.id, {AGAIN: str(new.id)})
    return f"flow run {run.name!r} crashed and is started again as {new.name!r}, attempt {attempt} of {ATTEMPTS}"


def superseded(client: SyncPrefectClient) -> list[str]:
    """Cancel scheduled runs that became due without a worker, except the latest of each deployment."""
    late = {"state": {"type": {"any_": [StateType.SCHEDULED]}}, "expected_start_time": {"before_": _now()}}
    newest: dict[Any, FlowRun] = {}
    actions = []
    for run in sorted(matching(client, late), key=lambda run: run.expected_start_time or _now(), reverse=True):
        if run.auto_scheduled and newest.setdefault(run.deployment_id, run) is not run:
            client.set_flow_run_state(run.id, Cancelled(message="a later run of the same schedule is due"), force=True)
            actions.append(f"flow run {run.name!r} was due and is cancelled: a later one is due too")
    return actions


def _since(run: FlowRun) -> datetime:
    """Time of the run's last change of state."""
    return run.state.timestamp if run.state else _now()


def _now() -> datetime:
    return datetime.now(UTC)


def begin() -> None:
    """After the service started: recover dead runs, and let a worker sweep now."""
    recover()
    with get_client(sync_client=True) as client:
        client.create_flow_run_from_deployment(client.read_deployment_by_name("sweep/sweep").id)


if __name__ == "__main__":
    begin()
