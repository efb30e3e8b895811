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

from deployments.demo import catalogue
from tasks.recipe import loader
from tests.drills.compose import links
from tests.drills.drill import Row, settled, until
from tests.drills.front import Front, serving
from tests.kit.demo import SHORT
from tests.kit.running import ENDED
from tests.kit.stack import POSTGRES, Running, stack

OFF = 20.0  # seconds
LINES, PER, FEW = 60_000, 1_500, 400


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
    """A chain learns its first shard on the worker, and its database goes down and comes back meanwhile."""
    run = begun(running, place, FEW, f"catalogue.lines_per_shard={FEW}")
    until(lambda: links(running, "demo"), "no link is begun")
    control(running, "restart")
    return came(running, run, "PostgreSQL restarted, -m immediate", shards=1, lines=FEW)


def through(running: Running, place: Path, harm: Callable[[], None], told: str) -> Row:
    """A chain learns many shards on the worker, harmed when the first of them are there; what does not hold then."""
    run = begun(running, place, LINES, f"catalogue.lines_per_shard={PER}", "export.train_per_shard=20")
    until(lambda: shards_of(running) >= 2, "no shard is made")
    harm()
    return came(running, run, told, shards=LINES // PER, lines=LINES)


def came(running: Running, run: str, told: str, shards: int, lines: int) -> Row:
    """What became of the retrain, and what does not hold of all that must."""
    until(lambda: state(running, run) in ENDED, f"the retrain has not ended: {settled(lambda: state(running, run))}")
    wrong = ["flow runs are left open"] if left_open(running) else []
    if (last := state(running, run)) != "COMPLETED":
        wrong.append(f"the retrain is {last}: {running.told({'id': run})[-600:]}")
    if (found := [link["info"]["status"] for link in links(running, "demo")]) != ["FINISHED"]:
        wrong.append(f"its MLflow runs are {found}")
    if (made := shards_of(running)) != shards:
        wrong.append(f"{made} of {shards} shards are there")
    return Row(f"{told}; retrains: {last}", [*wrong, *summed(running, lines)])


def begun(running: Running, place: Path, lines: int, *changes: str) -> str:
    """A retrain of a chain that has learned nothing, on a made-up catalogue in the object store; its id."""
    place.mkdir(parents=True)
    made = place / "catalogue.json"
    catalogue.write(str(made), lines)
    running.bucket().upload_file(str(made), "shardtune", "incoming/catalogue.json")
    source = "catalogue.uri=s3://shardtune/incoming/catalogue.json"
    recipe = loader.load("demo", [source, *SHORT, "shards=null", "max_wait_hours=0", *changes])
    found = running.prefect("GET", "/deployments/name/retrain/retrain-demo").raise_for_status().json()
    given = {"parameters": {"recipe": recipe.model_dump(mode="json"), "wait": True}}
    begins = running.prefect("POST", f"/deployments/{found['id']}/create_flow_run", json=given)
    return str(begins.raise_for_status().json()["id"])


def state(running: Running, run: str) -> str:
    return str(running.prefect("GET", f"/flow_runs/{run}").raise_for_status().json()["state_type"])


def left_open(running: Running) -> list[Any]:
    asked = {"flow_runs": {"state": {"type": {"any_": ["RUNNING", "PENDING", "CANCELLING"]}}}}
    return list(running.prefect("POST", "/flow_runs/filter", json=asked).raise_for_status().json())


def shards_of(running: Running) -> int:
    """Clean shards in the object store."""
    return sum(name.endswith(".parquet") for name in running.objects("shardtune", "shards/"))


def summed(running: Running, lines: int) -> list[str]:
    """Whether the summary that the run shows counts every line."""
    asked = {"artifacts": {"key": {"any_": ["prepare-summary"]}}, "limit": 1}
    found = running.prefect("POST", "/artifacts/filter", json=asked).raise_for_status().json()
    return [] if found and f"{lines:,}" in str(found[0]["data"]) else ["its summary does not count every line"]


def control(running: Running, verb: str) -> None:
    """pg_ctl, as the user that owns the database."""
    user: dict[str, Any] = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
    call = [str(POSTGRES / "pg_ctl"), verb, "-D", str(running.folder("postgres")), "-m", "immediate", "-w"]
    with running.log("postgres").open("ab") as log:
        subprocess.run(call, stdout=log, stderr=log, cwd="/", check=verb == "restart", **user)


APART = {"postgres": postgres, "store": store}
