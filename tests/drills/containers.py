"""Containers: each service of docker-compose.yml x fault, in the middle of a paid chain. `make container-faults`.

A rehearsal of two chained jobs runs on the workers of the stack, against simulators that take some seconds for each. In
the middle of the first one the fault comes. What must hold afterwards is counted outside of our code: two jobs at the
provider, no upload left there, two finished runs in MLflow, and a flow run that has completed. Sweeps are asked for
every 20 seconds, not every ten minutes. A run whose container has died is told by its silence of five minutes.

Then a second worker judges the runs of the first, and a backup of the volumes is restored into a new stack. Its volumes
are small, so that they can be filled. `--only WORD` takes the faults that have the word in their name.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx

from tasks.recipe import loader
from tests.drills.compose import ALWAYS, PAID, REHEARSAL, contained, links, must, upload
from tests.kit.contained import Contained, engine
from tests.kit.demo import SHORT

SOURCE = "s3://rehearsal/incoming/catalogue.json"
SLOW = "--speed=2"  # simulated seconds in a real one: a job lasts a quarter of a minute
LONGEST = 900  # seconds until everything must be well again
SWEEPS = 20  # seconds between two sweeps
AWAY = 60  # seconds without a network, or without space
KEPT = ("postgres", "store", "local", "rehearsal")  # volumes of a backup
SMALL = {"postgres": "400m", "store": "300m", "rehearsal": "300m"}
SERVERS = ("postgres", "store", "prefect", "mlflow", "worker-rehearsal")
PROVIDER = """
import json, urllib.request
print(urllib.request.urlopen("http://127.0.0.1:8700/simulator/state").read().decode())
"""


def killed(name: str) -> Callable[[Contained], None]:
    """SIGKILL to the container's first process, as the kernel does it; the engine starts it again."""

    def fault(running: Contained) -> None:
        os.kill(running.state(name)["Pid"], signal.SIGKILL)
        running.revive(name)

    return fault


def away(name: str) -> Callable[[Contained], None]:
    """Without any network for a minute."""

    def fault(running: Contained) -> None:
        networks = running.networks(name)
        for network in networks:
            running.engine("network", "disconnect", network, running.container(name))
        time.sleep(AWAY)
        for network in networks:
            running.engine("network", "connect", "--alias", name, network, running.container(name))

    return fault


def restarted(running: Contained) -> None:
    """Every container killed and started, as when the machine loses power. The provider stays: it is no part of it."""
    everything = [name for name in (*ALWAYS, *REHEARSAL) if running.services[name]["restart"] != "no"]
    everything.remove("simulators")
    for name in everything:
        running.engine("kill", running.container(name))
    for name in everything:
        running.engine("start", running.container(name))
        running.wait(name)


def rolled(running: Contained) -> None:
    """The worker's container made anew from its image, while a job is at the provider."""
    running.compose("up", "--detach", "--no-deps", "--no-build", "--force-recreate", "worker-rehearsal")
    running.wait("worker-rehearsal")


def full(volume: str) -> Callable[[Contained], None]:
    """No space left on a volume for a minute."""

    def fault(running: Contained) -> None:
        filler = running.folder(volume) / "filler"
        with suppress(OSError), filler.open("wb") as file:
            while True:
                file.write(bytes(1 << 20))
        time.sleep(AWAY)
        filler.unlink()

    return fault


FAULTS: dict[str, Callable[[Contained], None]] = {
    "nothing": lambda running: None,
    **{f"{name}: kill -9": killed(name) for name in SERVERS},
    **{f"{name}: no network for a minute": away(name) for name in SERVERS},
    "worker-rehearsal: new container": rolled,
    "all: killed and started": restarted,
}


FILLED = {f"{name}: volume full for a minute": full(name) for name in SMALL}


def main() -> int:
    """A row for each fault; exit status 1 where a promise was broken."""
    word = sys.argv[sys.argv.index("--only") + 1] if "--only" in sys.argv else ""
    words = engine()
    if words is None:
        raise SystemExit("containers: no engine of containers on this machine")
    with tempfile.TemporaryDirectory(prefix="shardtune-backup-") as folder:
        with contained(words, simulators=[SLOW]) as running:
            running.up(*REHEARSAL)
            upload(running, "rehearsal", 600)
            broken = table(running, {name: fault for name, fault in FAULTS.items() if word in name})
            if word in TWO:
                two_workers(running)
            if word in RESTORED or any(word in name for name in FILLED):
                driven(running, "kept", lambda running: None)
                running.compose("stop")
                running.copy_out(Path(folder), KEPT)
                passwords = running.values
        if any(Path(folder).iterdir()):
            with contained(words, [SLOW], passwords, lambda new: new.copy_in(Path(folder), KEPT, SMALL)) as running:
                running.up(*REHEARSAL)
                restored(running)
                broken += table(running, {name: fault for name, fault in FILLED.items() if word in name})
    return int(broken > 0)


def table(running: Contained, faults: dict[str, Callable[[Contained], None]]) -> int:
    """A row for each fault; how many broke a promise."""
    broken = 0
    print(f"{'service: fault':44}{'jobs':>6}{'uploads left':>14}{'runs':>6}{'seconds':>9}  outcome", flush=True)
    for name, fault in faults.items():
        began = time.monotonic()
        jobs, left, ended, state = driven(running, f"fault-{name.split(':')[0]}-{time.time():.0f}", fault)
        broken += (wrong := (jobs, left, ended) != (2, 0, 2) or state != "COMPLETED")
        seconds = time.monotonic() - began
        print(f"{name:44}{jobs:>6}{left:>14}{ended:>6}{seconds:>9.0f}  {state}{' BROKEN' * wrong}", flush=True)
    return broken


TWO = "a second worker of one machine"
RESTORED = "backup and restore"


def two_workers(running: Contained) -> None:
    """A second worker with the same name and volume, and processes of its own, sweeps while the first one trains.

    It runs on the CPU image, since no GPU is needed to misjudge a process.
    """
    began = time.monotonic()
    upload(running, "shardtune", 600)
    recipe = loader.load("demo", ["catalogue.uri=s3://shardtune/incoming/catalogue.json", *SHORT])
    deployment = asked(running, "GET", "/deployments/name/finetune/finetune-demo")["id"]
    body = {"parameters": {"recipe": recipe.model_dump(mode="json"), "wait": True}}
    run = asked(running, "POST", f"/deployments/{deployment}/create_flow_run", json=body)["id"]
    running.compose("--profile", "gpu", "up", "--detach", "--no-deps", "--no-build", "worker-gpu")
    running.wait("worker-gpu")
    state, sweeps = "", 0
    while state not in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED"):
        must(time.monotonic() - began < LONGEST, f"the run is {state} after {LONGEST} s")
        running.inside("worker-gpu", "shardtune", "sweep")
        sweeps += 1
        state = asked(running, "GET", f"/flow_runs/{run}")["state_type"]
    runs = asked(running, "POST", "/flow_runs/filter", json={"deployments": {"id": {"any_": [deployment]}}})
    must(state == "COMPLETED" and len(runs) == 1, f"{len(runs)} runs, the first {state}, after {sweeps} sweeps")
    must(len(links(running, "demo")) == 1, f"{len(links(running, 'demo'))} links of one recipe")
    print(f"{TWO}: {sweeps} sweeps by the second, one run, {state}, {time.monotonic() - began:.0f} s", flush=True)


def restored(running: Contained) -> None:
    """What was made before the backup is there, and is not made, or paid for, again."""
    began = time.monotonic()
    must(len(links(running, "kept")) == 2, f"{len(links(running, 'kept'))} links of two were restored")
    jobs = len(provider(running)["jobs"])
    deployment = asked(running, "GET", "/deployments/name/finetune/rehearse-gpt-4o-mini")["id"]
    body = {"parameters": {"recipe": paid("kept"), "wait": True}}
    run = asked(running, "POST", f"/deployments/{deployment}/create_flow_run", json=body)["id"]
    state = ""
    while state not in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED"):
        must(time.monotonic() - began < LONGEST, f"the run is {state} after {LONGEST} s")
        time.sleep(1)
        state = asked(running, "GET", f"/flow_runs/{run}")["state_type"]
    made = len(provider(running)["jobs"]) - jobs
    must((state, made, len(links(running, "kept"))) == ("COMPLETED", 0, 2), f"{state}, and {made} jobs more")
    print(f"{RESTORED}: 2 runs there, the same command made 0 jobs, {time.monotonic() - began:.0f} s", flush=True)


def paid(name: str) -> dict[str, Any]:
    """A recipe of two chained jobs, of its own kind by its seed."""
    seed = sum(map(ord, name))
    chosen = [f"catalogue.uri={SOURCE}", f"name={name}", f"seed={seed}", *PAID]
    return loader.load("gpt-4o-mini", chosen).model_dump(mode="json")


def driven(running: Contained, name: str, fault: Callable[[Contained], None]) -> tuple[int, int, int, str]:
    """Jobs made at the provider, uploads left there, finished runs of MLflow, and how the last flow run ended."""
    before = provider(running)
    deployment = asked(running, "GET", "/deployments/name/finetune/rehearse-gpt-4o-mini")["id"]
    body = {"parameters": {"recipe": paid(name), "wait": True}}
    asked(running, "POST", f"/deployments/{deployment}/create_flow_run", json=body)
    until = time.monotonic() + LONGEST
    while len(provider(running)["jobs"]) == len(before["jobs"]):
        assert time.monotonic() < until, f"{name}: no job came about"
        time.sleep(1)
    fault(running)
    sweep = asked(running, "GET", "/deployments/name/sweep/rehearse-sweep")["id"]
    state, ended, swept = "", 0, 0.0
    while time.monotonic() < until:
        found = asked(running, "POST", "/flow_runs/filter", json=newest(deployment))
        state = found[0]["state_type"] if found else "nowhere"
        ended = finished(running, name)
        if state == "COMPLETED" and ended == 2:
            break
        if time.monotonic() > swept + SWEEPS:
            asked(running, "POST", f"/deployments/{sweep}/create_flow_run", json={})
            swept = time.monotonic()
        time.sleep(5)
    after = provider(running)
    left = [one for one in after["files"] if one["id"] not in {old["id"] for old in before["files"]}]
    return len(after["jobs"]) - len(before["jobs"]), sum(not one["used_by"] for one in left), ended, state


def finished(running: Contained, name: str) -> int:
    """How many links of a recipe have ended well, as MLflow tells; 0 while it is away."""
    try:
        return sum(one["info"]["status"] == "FINISHED" for one in links(running, name))
    except httpx.HTTPError:
        return 0


def newest(deployment: str) -> dict[str, Any]:
    """A filter: the newest run of a deployment, or of what a sweep started anew in its place."""
    return {"deployments": {"id": {"any_": [deployment]}}, "sort": "EXPECTED_START_TIME_DESC", "limit": 1}


def provider(running: Contained) -> dict[str, Any]:
    """What a person at the provider sees."""
    return dict(json.loads(running.inside("simulators", "python", "-c", PROVIDER)))


def asked(running: Contained, method: str, path: str, **more: Any) -> Any:
    """Prefect's answer, waited for where it is away."""
    until = time.monotonic() + LONGEST
    while True:
        try:
            return running.prefect(method, path, **more).raise_for_status().json()
        except httpx.HTTPError as error:
            refused = isinstance(error, httpx.HTTPStatusError) and error.response.status_code < 500
            if refused or time.monotonic() > until:
                raise
            time.sleep(2)


if __name__ == "__main__":
    sys.exit(main())
