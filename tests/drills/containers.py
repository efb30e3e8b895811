"""Containers: each service of docker-compose.yml x fault, in the middle of a paid chain. `make container-faults`.

A rehearsal of two chained jobs runs on the workers of the stack, against simulators that take some seconds for each. In
the middle of the first one the fault comes. What must hold afterwards is counted outside of our code: two jobs at the
provider, no upload left there, two finished runs in MLflow, and a flow run that has completed. Sweeps are asked for
every few seconds, not every ten minutes. `--only WORD` takes the faults that have the word in their name.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

from tasks.recipe import loader
from tests.drills.compose import ALWAYS, PAID, REHEARSAL, contained, links, upload
from tests.kit.contained import Contained, engine

SOURCE = "s3://rehearsal/incoming/catalogue.json"
SLOW = "--speed=2"  # simulated seconds in a real one: a job lasts a quarter of a minute
LONGEST = 600  # seconds until everything must be well again
AWAY = 60  # seconds without a network
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


FAULTS: dict[str, Callable[[Contained], None]] = {
    "nothing": lambda running: None,
    **{f"{name}: kill -9": killed(name) for name in SERVERS},
    **{f"{name}: no network for a minute": away(name) for name in SERVERS},
    "worker-rehearsal: new container": rolled,
    "all: killed and started": restarted,
}


def main() -> int:
    """A row for each fault; exit status 1 where a promise was broken."""
    word = sys.argv[sys.argv.index("--only") + 1] if "--only" in sys.argv else ""
    words = engine()
    if words is None:
        raise SystemExit("containers: no engine of containers on this machine")
    broken = 0
    with contained(words, simulators=[SLOW]) as running:
        running.up(*REHEARSAL)
        upload(running, "rehearsal", 600)
        print(f"{'service: fault':44}{'jobs':>6}{'uploads left':>14}{'runs':>6}{'seconds':>9}  outcome", flush=True)
        for number, (name, fault) in enumerate(FAULTS.items()):
            if word in name:
                began = time.monotonic()
                jobs, left, ended, told = driven(running, number, fault)
                broken += (wrong := (jobs, left, ended) != (2, 0, 2) or told != "COMPLETED")
                seconds = time.monotonic() - began
                print(f"{name:44}{jobs:>6}{left:>14}{ended:>6}{seconds:>9.0f}  {told}{' BROKEN' * wrong}", flush=True)
    return int(broken > 0)


def driven(running: Contained, number: int, fault: Callable[[Contained], None]) -> tuple[int, int, int, str]:
    """Jobs made at the provider, uploads left there, finished runs of MLflow, and how the last flow run ended."""
    name = f"fault-{number}"
    recipe = loader.load("gpt-4o-mini", [f"catalogue.uri={SOURCE}", f"name={name}", f"seed={number}", *PAID])
    before = provider(running)
    deployment = asked(running, "GET", "/deployments/name/finetune/rehearse-gpt-4o-mini")["id"]
    body = {"parameters": {"recipe": recipe.model_dump(mode="json"), "wait": True}}
    asked(running, "POST", f"/deployments/{deployment}/create_flow_run", json=body)
    until = time.monotonic() + LONGEST
    while len(provider(running)["jobs"]) == len(before["jobs"]):
        assert time.monotonic() < until, f"{name}: no job came about"
        time.sleep(1)
    fault(running)
    sweep = asked(running, "GET", "/deployments/name/sweep/sweep")["id"]
    told, ended = "", 0
    while time.monotonic() < until:
        found = asked(running, "POST", "/flow_runs/filter", json=newest(deployment))
        told = found[0]["state_type"] if found else "nowhere"
        ended = sum(one["info"]["status"] == "FINISHED" for one in links(running, name))
        if told == "COMPLETED" and ended == 2:
            break
        if told in ("CRASHED", "FAILED") or not found:
            asked(running, "POST", f"/deployments/{sweep}/create_flow_run", json={})
        time.sleep(5)
    after = provider(running)
    left = [one for one in after["files"] if one["id"] not in {old["id"] for old in before["files"]}]
    return len(after["jobs"]) - len(before["jobs"]), sum(not one["used_by"] for one in left), ended, told


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
        except Exception:
            if time.monotonic() > until:
                raise
            time.sleep(2)


if __name__ == "__main__":
    sys.exit(main())
