"""Arrival: one shard more in a catalogue of 70, told to a running service. `python -m tests.benchmarks.arrival`

Under one `shardtune up`, a local chain (a tiny model) and a paid one (at the simulators) have learned 70 shards in
one link each. A shard is appended and `shardtune arrived` sent: each chain must get one link, on that shard alone, and
exactly one shard is prepared. Prints what was seen; exit status 1 where anything is otherwise.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from deployments.demo import catalogue
from deployments.simulators import serve
from tasks.catalogue import arrival
from tasks.recipe import loader
from tests.kit import models
from tests.kit.running import ENDED, Service, until

SHARDS = 70
SMALL = (
    "split.holdout_share=0.3",
    "clean.duplicates=keep",
    "shards=null",
    "forgetting=null",
    "export.train_per_shard=20",
)
LOCAL = (
    "tune.engine=transformers",
    "tune.max_length=320",
    "tune.max_steps=4",
    "tune.warmup_steps=1",
    "tune.batch_size=4",
)
CHAINS = {
    "demo": (*LOCAL, "evaluate={seen: 1, unseen: 1, heldout_rows: 5, max_new_tokens: 12}"),
    "gpt-4o-mini": (
        "chain=false",
        "budget_usd=50",
        "evaluate={seen: 1, unseen: 1, heldout_rows: 5, max_new_tokens: 20}",
    ),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=3_000, help="of one shard (default 3,000)")
    per = parser.parse_args().lines
    with tempfile.TemporaryDirectory(prefix="shardtune-arrival-") as folder, serve.running(speed=600.0) as simulators:
        place = Path(folder)
        service = Service(
            place / "root",
            0,
            SHARDTUNE_ALLOWED=str(place),
            SHARDTUNE_BUCKET=simulators.bucket,
            **simulators.environment,
        )
        service.start()
        try:
            return work(service, simulators, place, per)
        finally:
            service.kill()


def work(service: Service, simulators: serve.Simulators, place: Path, per: int) -> int:
    """Learn 70 shards, append one, tell it, and look at what came of it."""
    whole, source = place / "whole.json", place / "catalogue.json"
    catalogue.write(str(whole), per * (SHARDS + 1))
    lines = whole.read_bytes().splitlines(keepends=True)
    source.write_bytes(b"".join(lines[: per * SHARDS]))
    tiny = models.build(place / "tiny", "llama")
    for name, changes in CHAINS.items():
        local = (f"tune.base_model={tiny}",) if name == "demo" else ()
        overrides = [f"catalogue.uri={source}", f"catalogue.lines_per_shard={per}", *SMALL, *changes, *local]
        told(service, name, loader.load(name, overrides).model_dump(mode="json"))
    before, jobs = shards(service), created(simulators)
    with source.open("ab") as stream:
        stream.write(b"".join(lines[per * SHARDS :]))
    began = time.monotonic()
    sent = service.run("arrived", str(source))
    print(sent.stdout.strip() or sent.stderr.strip(), flush=True)
    seen = [arrived(service, name) for name in CHAINS]
    print(f"all done {time.monotonic() - began:.0f} s after it was told")
    made, paid = shards(service) - before, created(simulators) - jobs
    print(f"shards prepared: {made}; jobs at the simulator: {paid}")
    return int(not all(seen) or made != 1 or paid != 1)


def told(service: Service, name: str, recipe: dict[str, Any]) -> None:
    """Learn what is there now, and give the retrain deployment this recipe, as its page in Prefect would."""
    wanted = {"recipe": recipe, "wait": True}
    run = service.deployment(f"finetune/finetune-{name}")["id"]
    made = service.api(
        "POST", f"/deployments/{run}/create_flow_run", {"parameters": wanted, "state": {"type": "SCHEDULED"}}
    )
    ended(service, str(made.raise_for_status().json()["id"]))
    deployment = service.deployment(f"retrain/retrain-{name}")["id"]
    service.api("PATCH", f"/deployments/{deployment}", {"parameters": wanted}).raise_for_status()
    for automation in service.api("POST", "/automations/filter", {}).json():
        if automation["name"].startswith(f"retrain-{name} "):
            waits = automation["trigger"] | {"match_related": arrival.related(recipe["catalogue"]["uri"])[0]}
            kept = {name: automation[name] for name in ("name", "description", "tags", "actions")}
            body = kept | {"enabled": True, "trigger": waits}
            service.api("PUT", f"/automations/{automation['id']}", body).raise_for_status()


def arrived(service: Service, name: str) -> bool:
    """Wait for the run that the event started; whether it learned the new shard in one link."""
    asked = {"deployments": {"name": {"any_": [f"retrain-{name}"]}}}
    until(lambda: service.api("POST", "/flow_runs/filter", asked).json(), service)
    (run,) = service.api("POST", "/flow_runs/filter", asked).json()
    ended(service, run["id"])
    page = {"artifacts": {"key": {"any_": ["retrain"]}, "flow_run_id": {"any_": [run["id"]]}}}
    (artifact,) = service.api("POST", "/artifacts/filter", page).json()
    outside = re.search(r"(\d+) s outside training", artifact["data"])
    found = service.flow_run(run["id"])
    print(
        f"{found['name']}; {found['total_run_time']:.0f} s, {outside and outside[1]} s of them outside training",
        flush=True,
    )
    return f"has learned shard {SHARDS} in 1 link" in artifact["data"]


def ended(service: Service, run: str) -> None:
    until(lambda: service.flow_run(run)["state_type"] in ENDED, service)
    found = service.flow_run(run)
    assert found["state_type"] == "COMPLETED", found["state"]


def shards(service: Service) -> int:
    """Clean shards that are there."""
    return sum(1 for _ in (service.root / "shards").rglob("*.parquet"))


def created(simulators: serve.Simulators) -> int:
    return int(serve.seen(simulators.state)["creates"].get("openai", 0))


if __name__ == "__main__":
    sys.exit(main())
