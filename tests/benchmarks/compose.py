"""Compose: the demo and a rehearsal through the services of docker-compose.yml, as processes. `make compose-check`.

Finetune runs are made on the server and taken by workers; state is in the object store, runs in MLflow behind its
password. Some minutes; tests/deployments/test_stack.py has what every test run checks of the same services.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tasks import recipes
from tests.benchmarks import catalogue
from tests.deployments.stack import Running, stack
from tests.flows.demo import SHORT

PAID = ("catalogue.lines_per_shard=300", "evaluate={seen: 2, unseen: 1, heldout_rows: 5, max_new_tokens: 20}")
LONGEST = 1_200  # seconds for one run


def main() -> int:
    """Exit status 0 where everything came to its end as it should."""
    with stack() as running:
        for bucket in ("shardtune", "rehearsal"):
            upload(running, bucket)
        demo(running)
        ask(running)
        before = running.objects("shardtune")
        running.up("simulators", "deploy-rehearsal", "worker-rehearsal")
        rehearsal(running, "gpt-4o-mini", wanted=2)
        rehearsal(running, "gemini-describe", wanted=1)
        must(bool(running.objects("rehearsal", "exports/")), "a rehearsal left no exports in its bucket")
        must(running.objects("shardtune") == before, "a rehearsal wrote into the bucket of real runs")
    print("compose: all well")
    return 0


def upload(running: Running, bucket: str) -> None:
    """A made-up catalogue into the object store."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "catalogue.json"
        catalogue.write(str(path), 600)
        running.bucket().upload_file(str(path), bucket, "incoming/catalogue.json")


def demo(running: Running) -> None:
    """The shortened demo on the CPU worker: its adapter in the store, its run in MLflow; then from its record."""
    recipe = recipes.load("demo", ["catalogue.uri=s3://shardtune/incoming/catalogue.json", *SHORT])
    for turn in ("made", "served from its record"):
        began = time.monotonic()
        run = finished(running, "finetune/finetune-demo", {"recipe": recipe.model_dump(mode="json"), "wait": True})
        print(f"demo {turn}: {run['name']} in {time.monotonic() - began:.0f} s", flush=True)
        (link,) = links(running, "demo")
        adapters = running.objects("shardtune", "adapters/")
        must(any(name.endswith("/adapter_model.safetensors") for name in adapters), f"no adapter among {adapters}")
        must(link["info"]["status"] == "FINISHED", f"its MLflow run is {link['info']['status']}")
        must(bool(running.objects("mlflow")), "MLflow kept no artifact in the object store")


def ask(running: Running) -> None:
    """A question to the demo's model, answered from an index that the worker made of the shards in the store."""
    (link,) = links(running, "demo")
    asked = {"questions": ["What is the tent?"], "model": tags(link)["shardtune.key"]}
    finished(running, "ask/ask", asked)
    index = running.folder("local") / "local/index"
    must(any(index.glob("*/shards.json")), f"no index in {str(index)!r}")
    print("asked", flush=True)


def rehearsal(running: Running, name: str, wanted: int) -> None:
    """A paid recipe against simulators: its links are in MLflow, and say that they were simulated."""
    recipe = recipes.load(name, ["catalogue.uri=s3://rehearsal/incoming/catalogue.json", *PAID])
    began = time.monotonic()
    run = finished(running, f"finetune/rehearse-{name}", {"recipe": recipe.model_dump(mode="json"), "wait": True})
    print(f"rehearsal of {name}: {run['name']} in {time.monotonic() - began:.0f} s", flush=True)
    found = [tags(link) for link in links(running, name)]
    must(len(found) == wanted, f"{len(found)} runs of {name!r} in MLflow, not {wanted}")
    must(all(one.get("simulated") for one in found), f"a run of {name!r} is not marked as simulated")


def finished(running: Running, deployment: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """A run that completed; the log of one that did not is shown."""
    run = running.ran(deployment, parameters, LONGEST)
    if run["state_type"] != "COMPLETED":
        print(running.told(run))
        for name in ("worker", "worker-rehearsal"):
            if running.log(name).exists():
                print(running.log(name).read_text(errors="replace")[-6000:])
    must(run["state_type"] == "COMPLETED", f"{deployment} ended as {run['state']['name']}")
    return run


def links(running: Running, recipe: str) -> list[dict[str, Any]]:
    """The MLflow runs of a recipe's links."""
    api = "/api/2.0/mlflow"
    place = running.mlflow("GET", f"{api}/experiments/get-by-name?experiment_name=shardtune").raise_for_status().json()
    asked = {
        "experiment_ids": [place["experiment"]["experiment_id"]],
        "filter": f"tags.`recipe` = '{recipe}' and tags.`shardtune.key` != ''",
    }
    return list(running.mlflow("POST", f"{api}/runs/search", json=asked).raise_for_status().json().get("runs", []))


def tags(run: dict[str, Any]) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in run["data"]["tags"]}


def must(holds: bool, message: str) -> None:
    """SystemExit with the message where something does not hold."""
    if not holds:
        raise SystemExit(f"compose: {message}")


if __name__ == "__main__":
    sys.exit(main())
