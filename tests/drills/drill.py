"""Drill: one `shardtune up` beside simulated providers, retrains begun on it, and what must hold after any fault.

What must hold: the chain has learned its shard by one job of one key, every line of its catalogue is accounted for, no
flow run is left open, and the last retrain COMPLETED. Sweeps are asked for every few seconds, not every ten minutes.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import httpx

from deployments.demo import catalogue
from deployments.simulators import serve
from tasks.core import settings
from tasks.recipe import loader
from tasks.recipe.model import Recipe
from tests.kit.running import ENDED, Service

SPEED = 1.3  # simulated seconds in a real one: a job of these few rows lasts some 16 s
PATIENCE, EVERY = 420.0, 10.0  # seconds until a fault counts as not survived; between two sweeps
OPEN = ("RUNNING", "PENDING", "CANCELLING")
SMALL = (
    "clean.duplicates=drop",
    "split.holdout_share=0.3",
    "shards=null",
    "forgetting=null",
    "max_wait_hours=0",
    "evaluate={seen: 1, unseen: 1, heldout_rows: 5, max_new_tokens: 20}",
)


class Row(NamedTuple):
    """One line of the table; `wrong` is what does not hold."""

    happened: str
    wrong: Sequence[str]


class Drill:
    """The service, the providers, and a folder."""

    def __init__(self, service: Service, simulators: serve.Simulators, place: Path) -> None:
        self.service, self.simulators, self.place, self._seed = service, simulators, place, 100

    def start(self) -> None:
        """Start the service, and lead this process to its stores."""
        self.service.start()
        os.environ |= {"SHARDTUNE_ROOT": str(self.service.root), "MLFLOW_TRACKING_URI": self.service.url("mlflow")}
        settings.log_in()
        os.environ |= {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}

    def source(self, name: str) -> tuple[Path, int]:
        """A made-up catalogue of its own, bad lines among the good, and how many lines it has."""
        self._seed += 1
        path = self.place / f"{name}.json"
        catalogue.write(str(path), 300, seed=self._seed, faults=True)
        # The line that breaks off would wait to be whole, and the check refuses one too long for the provider.
        kept = [line for line in path.read_bytes().splitlines(keepends=True)[:-1] if len(line) < 50_000]
        path.write_bytes(b"".join(kept))
        return path, len(kept)

    def chain(self, name: str, *more: str, recipe: str = "gpt-4o-mini") -> Chain:
        """A chain that has learned nothing, and a catalogue of one shard for it."""
        path, lines = self.source(name)
        chosen = (f"catalogue.uri={path}", f"catalogue.lines_per_shard={lines}", *SMALL, f"name={name}", *more)
        return Chain(self, loader.load(recipe, chosen), f"retrain-{recipe}", lines)

    def midway(self, name: str) -> Chain:
        """A chain whose retrain waits for its job at the provider."""
        chain = self.chain(name)
        chain.begin()
        until(lambda: (chain.jobs() and chain.engine()) or chain.failed(), f"no job of {name!r} at the provider")
        assert not chain.failed(), f"the retrain of {name!r} failed before anything was done to it"
        return chain

    def sweep(self) -> None:
        """One sweep, as the UI starts it."""
        found = self.service.deployment("sweep/sweep")
        self.service.api("POST", f"/deployments/{found['id']}/create_flow_run", {}).raise_for_status()

    def asked(self, **criteria: Any) -> list[dict[str, Any]]:
        """Flow runs that meet the criteria, newest first."""
        body = criteria | {"sort": "EXPECTED_START_TIME_DESC", "limit": 200}
        return list(self.service.api("POST", "/flow_runs/filter", body).raise_for_status().json())

    def left_open(self) -> list[str]:
        """Every flow run that has not ended and is not to come."""
        return [run["name"] for run in self.asked(flow_runs={"state": {"type": {"any_": OPEN}}})]

    def well(self) -> bool:
        """Whether both servers answer."""
        addresses = (self.service.url("prefect") + "/health", self.service.url("mlflow") + "/health")
        return all(httpx.get(address, timeout=5).is_success for address in addresses)


class Chain:
    """One chain: its recipe, its flow runs, its jobs, and what of it went wrong."""

    def __init__(self, drill: Drill, recipe: Recipe, deployment: str, lines: int) -> None:
        self.drill, self.recipe, self.deployment, self.lines = drill, recipe, deployment, lines
        self._before = set(drill.simulators.state.jobs)

    def begin(self) -> str:
        """A run of the deployment, as its form starts it; its id."""
        service = self.drill.service
        found = service.deployment(f"retrain/{self.deployment}")
        given = {"recipe": self.recipe.model_dump(mode="json"), "wait": True}
        body = {"parameters": given, "idempotency_key": str(uuid4())}
        for _ in range(5):  # a server whose database is busy answers 503
            reply = service.api("POST", f"/deployments/{found['id']}/create_flow_run", body)
            if reply.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                break
            time.sleep(2)
        return str(reply.raise_for_status().json()["id"])

    def jobs(self) -> list[dict[str, Any]]:
        """The jobs that providers made since the chain began."""
        return [job for name, job in self.drill.simulators.state.jobs.items() if name not in self._before]

    def runs(self) -> list[dict[str, Any]]:
        """Its retrains, newest first."""
        found = self.drill.asked(deployments={"name": {"any_": [self.deployment]}})
        return [run for run in found if run["parameters"].get("recipe", {}).get("name") == self.recipe.name]

    def engine(self) -> int:
        """The process that works on the newest retrain; 0 where none has signed it."""
        runs = self.runs()
        return int(runs[0]["labels"].get("shardtune.pid", 0)) if runs and runs[0]["state_type"] == "RUNNING" else 0

    def failed(self) -> bool:
        """Whether the newest retrain has ended badly; its log goes to standard error."""
        run = next(iter(self.runs()), None)
        if run is None or run["state_type"] not in ENDED[1:]:
            return False
        asked = {"logs": {"flow_run_id": {"any_": [run["id"]]}}, "sort": "TIMESTAMP_ASC", "limit": 200}
        lines = self.drill.service.api("POST", "/logs/filter", asked).raise_for_status().json()
        told = [line["message"][-400:] for line in lines if line["level"] >= logging.WARNING]
        print(run["name"], run["state_type"], *told, sep="\n", file=sys.stderr, flush=True)
        return True

    def links(self) -> list[Any]:
        """The MLflow runs of the chain's links."""
        from tasks.record import ledger

        api = ledger.client()
        place = ledger.experiment(api)
        asked = f"tags.`recipe` = '{self.recipe.name}' and tags.`shardtune.key` != ''"
        return list(api.search_runs([place], asked)) if place else []

    def over(self) -> bool:
        """Whether nothing is at work on it any more, and nothing will be by itself."""
        runs = self.runs()
        ended = all(run["state_type"] in ENDED for run in runs)
        dropped = any(run["state_type"] == "CRASHED" and "shardtune.again" not in run["labels"] for run in runs)
        return ended and not dropped and all(link.info.status != "RUNNING" for link in self.links())

    def driven(self) -> list[str]:
        """Sweep until it is over; what is wrong then."""
        end, due = time.monotonic() + PATIENCE, time.monotonic()
        while time.monotonic() < end and not settled(self.over):
            if time.monotonic() >= due:
                settled(self.drill.sweep)
                due = time.monotonic() + EVERY
            time.sleep(0.5)
        with suppress(AssertionError):
            until(lambda: not self.drill.left_open(), "flow runs are left open", 60)
        return self.wrong()

    def wrong(self) -> list[str]:
        """What does not hold of all that must."""
        links, runs, jobs = self.links(), self.runs(), self.jobs()
        told = [f"flow run {name!r} is left open" for name in self.drill.left_open()]
        if [link.info.status for link in links] != ["FINISHED"]:
            told.append(f"its MLflow runs are {[link.info.status for link in links]}")
        if self.recipe.tune and self.recipe.tune.kind == "openai" and len(jobs) != 1:
            told.append(f"{len(jobs)} jobs at the provider")
        keys = {link.data.tags["shardtune.key"] for link in links}
        told += [f"job {job['id']} has another key" for job in jobs if not keys & set(job["metadata"].values())]
        if not runs or runs[0]["state_type"] != "COMPLETED":
            told.append(f"its last retrain is {runs[0]['state_type'] if runs else 'nowhere'}: {_message(runs)}")
        return told + (self._uncounted() if len(links) == 1 else [])

    def _uncounted(self) -> list[str]:
        from tasks.record import chain, ledger

        past = chain.past(self.recipe.name)
        if [shard.index for shard in past.shards] != [0] or past.underway:
            return [f"it has learned {[shard.index for shard in past.shards]} of its one shard"]
        told = ledger.read(self.links()[0].info.run_id, "prepared.json") or {"shards": [], "lines": 0}
        counts = [s["kept"] + sum(s["dropped"].values()) + s["quarantined"] for s in told["shards"]]
        return (
            [] if sum(counts) == told["lines"] == self.lines else [f"{sum(counts)} of {self.lines} lines are counted"]
        )


def ended(chain: Chain, happened: str) -> Row:
    """Drive the chain to its end; what happened is followed by how its retrains ended."""
    if wrong := chain.driven():
        chain.failed()  # its log
    states = ", ".join(run["state_type"] for run in reversed(chain.runs()))
    return Row(f"{happened}; retrains: {states}", wrong)


def _message(runs: list[dict[str, Any]]) -> str:
    return str(runs[0]["state"]["message"] if runs and runs[0]["state"] else "")[:300]


def settled(moment: Callable[[], Any]) -> Any:
    """What the moment says; nothing where a server is away."""
    try:
        return moment()
    except (httpx.HTTPError, OSError, KeyError, ValueError):
        return None
    except Exception as error:
        if type(error).__name__ == "MlflowException":
            return None
        raise


def until(moment: Callable[[], object], missed: str, patience: float = PATIENCE) -> None:
    """Wait for the moment; AssertionError with what was missed where it does not come."""
    end = time.monotonic() + patience
    while not settled(moment):
        assert time.monotonic() < end, missed
        time.sleep(0.2)


@contextmanager
def running(place: Path, root: Path | None = None, speed: float = SPEED) -> Iterator[Drill]:
    """The service on a root of its own, beside providers, and this process led to its stores."""
    with serve.running(speed=speed) as simulators, socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        door.listen()  # so that both servers take a free port
        allowed = {"SHARDTUNE_ALLOWED": f"{place},{simulators.address}", "SHARDTUNE_BUCKET": simulators.bucket}
        service = Service(root or place / "root", door.getsockname()[1], **allowed, **simulators.environment)
        before, drill = dict(os.environ), Drill(service, simulators, place)
        service.log = place / "up.log"
        try:
            drill.start()
            yield drill
        finally:
            left = service.processes() if service.process.poll() is None else []
            service.kill()
            for process in left:
                with suppress(Exception):
                    process.kill()
            os.environ.clear()
            os.environ.update(before)
