"""Flow runs that lost their process: marked, driven again once for each death, and given up after three."""

from __future__ import annotations

import importlib
import pkgutil
import socket
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import psutil
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from prefect import Flow, flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.events import Event
from prefect.exceptions import Abort
from prefect.flow_engine import run_flow
from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL, PREFECT_API_URL
from prefect.states import Cancelling, Failed, Pending, Running, Scheduled, State

import flows
from tasks.core import processes
from tasks.core.errors import TransientError
from tasks.orchestrator import flow_runs, runs

pytestmark = pytest.mark.usefixtures("orchestrator")


@flow(name="work", on_running=[runs.sign], on_failure=[runs.lost])
def work(number: int = 1) -> int:
    if number < 0:
        raise FAILURES[-number]
    return number


def broken_off() -> Exception:
    """What MLflow's client raises where the server dies while it sends an answer; made by a server that does."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=half, args=(server,)).start()
        try:
            MlflowClient(f"http://127.0.0.1:{server.getsockname()[1]}").get_run("a")
        except MlflowException as error:
            return error
    raise AssertionError("an answer of half its length was taken")


def half(server: socket.socket) -> None:
    """One answer that ends before its length."""
    link, _ = server.accept()
    with link:
        link.recv(65536)
        link.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 5253\r\n\r\n")


FAILURES: dict[int, Exception] = {
    2: ConnectionRefusedError("111"),
    3: TransientError("provider away for an hour"),
    4: ValueError("a column is missing"),
}


@pytest.fixture
def api():
    with get_client(sync_client=True) as client:
        yield client


@pytest.fixture
def deployment(api) -> UUID:
    return api.create_deployment(api.create_flow(work), f"work-{uuid4()}")


@pytest.fixture
def gone() -> dict[str, object]:
    """What tells a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        known = processes.identity(psutil.Process(process.pid))
        process.kill()
    return known


def begun(api, deployment: UUID | None, state: State, labels: dict[str, object]) -> FlowRun:
    """A flow run in this state, with these labels."""
    if deployment:
        run = api.create_flow_run_from_deployment(deployment, parameters={"number": 7}, tags=["mine"], labels=labels)
    else:
        run = api.create_flow_run(work, parameters={"number": 7})
        api.update_flow_run_labels(run.id, labels)
    api.set_flow_run_state(run.id, state, force=True)
    return api.read_flow_run(run.id)


def signed(known: dict[str, object], machine: str = "") -> dict[str, object]:
    return {runs.MACHINE: machine or processes.place(), runs.PID: known["pid"], runs.STARTED: known["started"]}


def test_a_run_that_another_process_works_on_is_left_to_it(api):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        labels = signed(processes.identity(psutil.Process(other.pid)))
        run = begun(api, None, Running(), labels)
        with pytest.raises(Abort, match=f"process {other.pid} already works on"):
            run_flow(work, flow_run=run, parameters={"number": 7})
        assert state_of(api, run) == "Running" and api.read_flow_run(run.id).labels[runs.PID] == other.pid
        other.kill()
    assert run_flow(work, flow_run=api.read_flow_run(run.id), parameters={"number": 7}) == 7
    assert state_of(api, run) == "Completed" and api.read_flow_run(run.id).labels[runs.PID] != other.pid


def state_of(api, run: FlowRun) -> str:
    return str(api.read_flow_run(run.id).state_name)


def of(api, deployment: UUID) -> list[FlowRun]:
    return list(runs.matching(api, {"deployment_id": {"any_": [deployment]}}))


def test_a_flow_signs_its_run_with_its_process(api):
    state = work(return_state=True)
    labels = api.read_flow_run(state.state_details.flow_run_id).labels
    assert {name: labels[name] for name in signed(processes.identity())} == signed(processes.identity())


def test_what_lives_is_left_alone(api, deployment):
    run = begun(api, deployment, Running(), signed(processes.identity()))
    runs.recover()
    assert state_of(api, run) == "Running"
    assert len(of(api, deployment)) == 1


def test_a_dead_run_is_crashed_and_driven_again_once(api, deployment, gone):
    run = begun(api, deployment, Running(), signed(gone))
    runs.recover()
    runs.recover()
    assert state_of(api, run) == "Crashed"
    (new,) = [other for other in of(api, deployment) if other.id != run.id]
    assert (new.state_name, new.parameters, new.tags) == ("Scheduled", {"number": 7}, ["mine"])
    assert new.labels[runs.ATTEMPT] == 1
    assert api.read_flow_run(run.id).labels[runs.AGAIN] == str(new.id)


def test_after_three_attempts_without_progress_it_is_given_up(api, deployment, gone):
    begun(api, deployment, Running(), signed(gone))
    for _ in range(5):
        runs.recover()
        for run in of(api, deployment):
            if run.state_name == "Scheduled":
                api.update_flow_run_labels(run.id, signed(gone))
                api.set_flow_run_state(run.id, Running(), force=True)
    assert [run.state_name for run in of(api, deployment)] == ["Crashed"] * 4
    assert sum(run.labels[runs.AGAIN] == "given up" for run in of(api, deployment)) == 1


def test_a_process_of_another_container_with_the_same_name_is_not_looked_up(api, deployment, gone, monkeypatch):
    monkeypatch.setattr("os.readlink", lambda path: {"/proc/self/ns/pid": "pid:[4026532301]"}[path])
    there = processes.place()  # of `worker-gpu`, whose hostname is that of `worker`
    monkeypatch.setattr("os.readlink", lambda path: {"/proc/self/ns/pid": "pid:[4026532455]"}[path])
    assert processes.place() != there and processes.place().partition(":")[0] == there.partition(":")[0]
    run = begun(api, deployment, Running(), signed(gone, there))
    runs.recover()
    assert state_of(api, run) == "Running"  # it began a moment ago: heartbeats decide, after some silence


def test_a_dead_run_without_a_deployment_is_crashed_only(api, gone):
    run = begun(api, None, Running(), signed(gone))
    runs.recover()
    assert state_of(api, run) == "Crashed"


def test_what_was_being_cancelled_is_cancelled_and_not_driven_again(api, deployment, gone):
    run = begun(api, deployment, Running(), signed(gone))
    api.set_flow_run_state(run.id, Cancelling(), force=True)
    runs.recover()
    assert state_of(api, run) == "Cancelled"
    assert len(of(api, deployment)) == 1


def test_a_run_that_a_worker_took_and_never_started_is_driven_again(api, deployment):
    run = begun(api, deployment, Pending(), {runs.WORKER: f"cpu@{processes.place()}"})
    runs.recover()
    assert state_of(api, run) == "Crashed"
    assert len(of(api, deployment)) == 2


def test_a_run_of_another_machine_is_dead_after_two_looks_without_a_heartbeat(api, deployment, gone, monkeypatch):
    run = begun(api, deployment, Running(), signed(gone, "elsewhere"))
    begin = datetime.now(UTC)
    for minutes, expected in ((1, "Running"), (6, "Running"), (9, "Running"), (12, "Crashed")):
        monkeypatch.setattr(runs, "_now", lambda minutes=minutes: begin + timedelta(minutes=minutes))
        runs.recover()
        assert (minutes, state_of(api, run)) == (minutes, expected)


def test_a_heartbeat_after_the_first_look_keeps_a_run_of_another_machine(api, deployment, gone, monkeypatch):
    run = begun(api, deployment, Running(), signed(gone, "elsewhere"))
    begin = datetime.now(UTC)
    monkeypatch.setattr(runs, "_now", lambda: begin + timedelta(minutes=6))
    runs.recover()
    beat = Event(event="prefect.flow-run.heartbeat", resource={"prefect.resource.id": f"prefect.flow-run.{run.id}"})
    told = beat.model_dump(mode="json") | {"occurred": (begin + timedelta(minutes=10)).isoformat()}
    api.request("POST", "/events", json=[told]).raise_for_status()
    heard(api, run)
    monkeypatch.setattr(runs, "_now", lambda: begin + timedelta(minutes=12))
    runs.recover()
    assert state_of(api, run) == "Running"


def heard(api, run: FlowRun) -> None:
    """Wait until the server has written the heartbeat down."""
    wanted = {
        "occurred": {"since": datetime.now(UTC).isoformat(), "until": (datetime.now(UTC) + timedelta(1)).isoformat()},
        "resource": {"id": [f"prefect.flow-run.{run.id}"]},
    }
    for _ in range(600):
        if api.request("POST", "/events/filter", json={"filter": wanted}).json()["total"]:
            return
        time.sleep(0.1)
    raise AssertionError("the server never told of the event")


def test_of_the_runs_that_a_schedule_missed_only_the_latest_is_made_up_for(api, deployment):
    past = [datetime.now(UTC) - timedelta(hours=hours) for hours in (3, 1, 2)]
    missed = [
        api.create_flow_run_from_deployment(deployment, state=Scheduled(scheduled_time=moment)) for moment in past
    ]
    asked = api.create_flow_run_from_deployment(deployment, state=Scheduled(scheduled_time=past[0]))
    automatic = {run.id for run in missed}
    real = runs.matching
    with pytest.MonkeyPatch.context() as patch:  # only the server's scheduler can say that it made a run
        patch.setattr(
            runs,
            "matching",
            lambda client, criteria: (
                run.model_copy(update={"auto_scheduled": run.id in automatic}) for run in real(client, criteria)
            ),
        )
        runs.recover()
    assert [state_of(api, run) for run in (*missed, asked)] == ["Cancelled", "Scheduled", "Cancelled", "Scheduled"]


def test_status_reads_runs_from_prefects_file_as_its_server_tells_them(api, deployment, gone, monkeypatch):
    begun(api, deployment, Running(), signed(gone))
    begun(api, None, Failed(message="Flow run encountered an exception: CatalogueError: no catalogue"), {})
    begun(api, deployment, Scheduled(scheduled_time=datetime.now(UTC) - timedelta(minutes=1)), {"mine": 1})
    monkeypatch.setenv("PREFECT_API_URL", PREFECT_API_URL.value())
    asked = flow_runs.seen(timedelta(days=1)).runs
    monkeypatch.delenv("PREFECT_API_URL")
    file = Path(str(PREFECT_API_DATABASE_CONNECTION_URL.value()).partition("///")[2])
    read = list(flow_runs._in_file(file, timedelta(days=1)))
    assert len(read) >= 3 and sorted(read) == sorted(asked)


@pytest.mark.parametrize(
    ("number", "state"),
    [(1, "Crashed"), (2, "Crashed"), (3, "Failed"), (4, "Failed")],
    ids=["half", "no", "ours", "bug"],
)
def test_a_run_that_lost_a_server_is_crashed_and_runs_again(api, deployment, monkeypatch, number, state):
    monkeypatch.setitem(FAILURES, 1, broken_off())
    run = api.create_flow_run_from_deployment(deployment, parameters={"number": -number})
    with pytest.raises(type(FAILURES[number])):
        run_flow(work, flow_run=run, parameters={"number": -number})
    assert state_of(api, run) == state
    recovered = [words for words in runs.recover() if run.name in words]
    assert len(recovered) == (state == "Crashed")


def test_a_run_of_no_deployment_that_lost_a_server_is_failed(api):
    run = api.create_flow_run(work, parameters={"number": -2})
    with pytest.raises(ConnectionRefusedError):
        run_flow(work, flow_run=run, parameters={"number": -2})
    assert state_of(api, run) == "Failed"


def test_every_flow_signs_its_runs_and_tells_of_lost_servers():
    for module in pkgutil.iter_modules(flows.__path__):
        found = vars(importlib.import_module(f"flows.{module.name}")).values()
        for one in (value for value in found if isinstance(value, Flow)):
            assert runs.sign in one.on_running_hooks and runs.lost in one.on_failure_hooks, one.name
