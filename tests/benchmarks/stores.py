"""Stores: what the services of docker-compose.yml come to when PostgreSQL or the object store fails under a run."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tasks import recipes
from tests.benchmarks import catalogue
from tests.benchmarks.compose import links
from tests.benchmarks.drill import Row, settled, until
from tests.benchmarks.front import Front, serving
from tests.deployments.running import ENDED
from tests.deployments.stack import POSTGRES, Running, stack
from tests.flows.demo import SHORT

OFF = 20.0  # seconds
LINES, PER = 60_000, 1_500


def postgres(place: Path) -> Row:
    """PostgreSQL is restarted at once, as after a power cut, under Prefect, MLflow and a run."""
    with stack() as running:
        try:
            return tuned(running, place)
        finally:
            control(running, "stop")


def store(place: Path) -> Row:
    """The object store answers 503 for a while."""
    fronts: list[Front] = []

    @contextmanager
    def before(running: Running) -> Iterator[None]:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            running.behind = probe.getsockname()[1]
        with serving(running.port("7070"), running.behind) as front:
            fronts.append(front)
            yield

    def harm() -> None:
        fronts[0].off = True
        time.sleep(OFF)
        fronts[0].off = False

    with stack(before) as running:
        row = through(running, place, harm, f"object store answered 503 for {OFF:.0f} s")
        return row._replace(happened=f"{row.happened}; {fronts[0].refused} requests refused")


def tuned(running: Running, place: Path) -> Row:
    """A small model is tuned on the worker, and its database goes down and comes back meanwhile."""
    run = begun(running, place, 400, "finetune/finetune-demo", *SHORT)
    until(lambda: links(running, "demo"), "no link is begun")
    control(running, "restart")
    until(lambda: state(running, run) in ENDED, "the run has not ended")
    wrong = ["flow runs are left open"] if left_open(running) else []
    if (last := state(running, run)) != "COMPLETED":
        wrong.append(f"finetune is {last}: {running.told({'id': run})[-600:]}")
    if (found := [link["info"]["status"] for link in links(running, "demo")]) != ["FINISHED"]:
        wrong.append(f"its MLflow runs are {found}")
    return Row(f"PostgreSQL restarted, -m immediate, in the middle of `finetune-demo`: {last}", wrong)


def through(running: Running, place: Path, harm: Callable[[], None], told: str) -> Row:
    """A run of `prepare` on the worker, harmed when its first shards are there; what does not hold at its end."""
    changes = (f"catalogue.lines_per_shard={PER}", "export.formats=[openai]")
    run = begun(running, place, LINES, "prepare/prepare", *changes)
    until(lambda: shards(running) >= 2, "no shard is made")
    harm()
    until(lambda: state(running, run) in ENDED, f"the run has not ended: {settled(lambda: state(running, run))}")
    wrong = ["flow runs are left open"] if left_open(running) else []
    if (last := state(running, run)) != "COMPLETED":
        wrong.append(f"prepare is {last}: {running.told({'id': run})[-600:]}")
    if shards(running) != LINES // PER:
        wrong.append(f"{shards(running)} of {LINES // PER} shards are there")
    counted = summed(running)
    return Row(f"{told} in the middle of `prepare`: {last}", wrong + counted)


def begun(running: Running, place: Path, lines: int, deployment: str, *changes: str) -> str:
    """A run on the server, on a made-up catalogue in the object store; its id."""
    place.mkdir(parents=True)
    source = place / "catalogue.json"
    catalogue.write(str(source), lines)
    running.bucket().upload_file(str(source), "shardtune", "incoming/catalogue.json")
    recipe = recipes.load("demo", ["catalogue.uri=s3://shardtune/incoming/catalogue.json", *changes])
    found = running.prefect("GET", f"/deployments/name/{deployment}").raise_for_status().json()
    given = {"parameters": {"recipe": recipe.model_dump(mode="json")}}
    made = running.prefect("POST", f"/deployments/{found['id']}/create_flow_run", json=given)
    return str(made.raise_for_status().json()["id"])


def state(running: Running, run: str) -> str:
    return str(running.prefect("GET", f"/flow_runs/{run}").raise_for_status().json()["state_type"])


def left_open(running: Running) -> list[Any]:
    asked = {"flow_runs": {"state": {"type": {"any_": ["RUNNING", "PENDING", "CANCELLING"]}}}}
    return list(running.prefect("POST", "/flow_runs/filter", json=asked).raise_for_status().json())


def shards(running: Running) -> int:
    """Clean shards in the object store."""
    return sum(name.endswith(".parquet") for name in running.objects("shardtune", "shards/"))


def summed(running: Running) -> list[str]:
    """Whether the summary that the run shows counts every line."""
    asked = {"artifacts": {"key": {"any_": ["prepare-summary"]}}, "limit": 1}
    found = running.prefect("POST", "/artifacts/filter", json=asked).raise_for_status().json()
    return [] if found and f"{LINES:,}" in str(found[0]["data"]) else ["its summary does not count every line"]


def control(running: Running, verb: str) -> None:
    """pg_ctl, as the user that owns the database."""
    user: dict[str, Any] = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
    call = [str(POSTGRES / "pg_ctl"), verb, "-D", str(running.folder("postgres")), "-m", "immediate", "-w"]
    with running.log("postgres").open("ab") as log:
        subprocess.run(call, stdout=log, stderr=log, cwd="/", check=verb == "restart", **user)


APART = {"postgres": postgres, "store": store}
