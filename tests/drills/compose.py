"""Compose: demo, retrain by event and rehearsal through the services of docker-compose.yml. `make compose-check`.

As containers where this machine has an engine (Docker with its Compose, or podman with podman-compose), else as
processes; `--processes` asks for those. Runs are made on the server and taken by workers; state is in the object store,
runs in MLflow behind its password. tests/deployments/test_stack.py has what every test run checks of these services.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from deployments.demo import catalogue
from tasks.catalogue import arrival
from tasks.recipe import loader
from tasks.record import names
from tests.kit import compose
from tests.kit.contained import Contained, engine
from tests.kit.demo import SHORT
from tests.kit.stack import Running, stack

PAID = (
    "catalogue.lines_per_shard=300",
    "budget_usd=null",  # as deployments/rehearsal.yaml has it
    "evaluate={seen: 2, unseen: 1, heldout_rows: 5, max_new_tokens: 20}",
)
LONGEST = 1_200  # seconds for one run
KEY = "incoming/catalogue.json"
SOURCE = f"s3://shardtune/{KEY}"
FIRST, GROWN = 600, 800  # lines of the catalogue; a shard has 200
ALWAYS = ("postgres", "store", "buckets", "prefect", "mlflow", "deploy", "worker", "serve")
REHEARSAL = ("simulators", "deploy-rehearsal", "worker-rehearsal")
Stack = Running | Contained


def main() -> int:
    """Exit status 0 where everything came to its end as it should."""
    began, words = time.monotonic(), None if "--processes" in sys.argv else engine()
    print(f"as containers, by {' '.join(words)}" if words else "as processes")
    with contained(words) if words else stack() as running:
        if isinstance(running, Contained):
            walls(running)
        else:
            running.up("serve")
        strangers(running)
        for bucket in ("shardtune", "rehearsal"):
            upload(running, bucket, FIRST)
        demo(running)
        ask(running)
        served(running)
        retrain(running)
        before = running.objects("shardtune")
        running.up(*REHEARSAL)
        rehearsal(running, "gpt-4o-mini", wanted=2)
        rehearsal(running, "gemini-describe", wanted=1)
        must(bool(running.objects("rehearsal", "exports/")), "a rehearsal left no exports in its bucket")
        must(running.objects("shardtune") == before, "a rehearsal wrote into the bucket of real runs")
    print(f"compose: all well in {time.monotonic() - began:.0f} s")
    return 0


@contextmanager
def contained(
    words: list[str],
    simulators: Sequence[str] = (),
    passwords: Mapping[str, str] | None = None,
    first: Callable[[Contained], None] = lambda running: None,
) -> Iterator[Contained]:
    """The stack as containers of a project of its own, which goes with everything it made.

    `simulators` are further options of the simulated providers, `passwords` those of an earlier stack; `first` is done
    before anything starts.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # nothing is left behind
    with tempfile.TemporaryDirectory(prefix="shardtune-compose-") as folder:
        running = Contained(words, Path(folder), simulators, passwords or {})
        for name, size, stands_for in running.images():
            print(f"image {name:28} {size:>9}  {f'stand-in: {stands_for}' if stands_for else ''}")
        try:
            first(running)
            for name in ALWAYS:
                began = time.monotonic()
                running.up(name)
                print(f"container {name:17} {time.monotonic() - began:5.1f} s", flush=True)
            yield running
        finally:
            running.down()


def walls(running: Contained) -> None:
    """What the file says of every container, seen by the engine and from inside."""
    for name in ALWAYS:
        service = compose.declared()["services"][name]
        told = running.inspected(name)
        host, limits = told["HostConfig"], running.services[name]["deploy"]["resources"]["limits"]
        must(host["ReadonlyRootfs"] is True, f"{name} may write to its image")
        must(told["Config"]["User"] == service["user"], f"{name} runs as {told['Config']['User']!r}")
        must(any("no-new-privileges" in one for one in host["SecurityOpt"]), f"{name} may gain privileges")
        must(host["PidsLimit"] == limits["pids"], f"{name}: {host['PidsLimit']} processes")
        must(host["Memory"] == bytes_of(limits["memory"]), f"{name}: {host['Memory']} bytes of memory")
        if service["restart"] == "no":
            continue
        state = dict(line.split(":", 1) for line in running.inside(name, "cat", "/proc/self/status").splitlines())
        must(int(state["CapEff"], 16) == int(state["CapBnd"], 16) == 0, f"{name} has capabilities")
        must(state["NoNewPrivs"].strip() == "1", f"{name} may gain privileges")
        routes = [line.split()[1] for line in running.inside(name, "cat", "/proc/net/route").splitlines()[1:]]
        must(("00000000" in routes) == ("outside" in service["networks"]), f"{name} has routes {routes}")
        written = subprocess.run(
            [running.tool, "exec", running.container(name), "touch", "/written"], capture_output=True
        )
        must(written.returncode != 0, f"{name} may write to its image")
    for path in ("/", "/v2/"):
        page = running.prefect("GET", path, prefix="")
        must(page.status_code == 200 and "<script" in page.text, f"Prefect's page {path!r}: {page.status_code}")
    print(
        f"{len(ALWAYS)} containers are as the file says: user, limits, read-only, no capabilities, ways out", flush=True
    )


def bytes_of(text: str) -> int:
    return int(text[:-1]) * {"m": 1 << 20, "g": 1 << 30}[text[-1]]


def strangers(running: Stack) -> None:
    """Every published port refuses whoever has no password."""
    told = {
        "prefect": running.prefect("POST", "/flows/filter", None, json={}).status_code,
        "mlflow": running.mlflow("POST", "/api/2.0/mlflow/experiments/search", None, json={}).status_code,
        "serve": running.models("POST", "/v1/ask", None, json={"question": "What is the tent?"}).status_code,
    }
    wanted = {"prefect": 401, "mlflow": 401, "serve": 401}
    if isinstance(running, Contained):  # as processes moto stands for the store, and lets everybody in
        told["store"] = httpx.get(f"http://127.0.0.1:{running.port('7070')}/shardtune").status_code
        wanted["store"] = 403
    must(told == wanted, f"strangers get {told}")
    print(f"strangers get {told}", flush=True)


def retrain(running: Stack) -> None:
    """The catalogue grows, its arrival is told from outside, and the retrain that starts trains on the new shard."""
    recipe = loader.load("demo", [f"catalogue.uri={SOURCE}", "chain=true", "name=grown", *SHORT])
    found = running.prefect("GET", "/deployments/name/retrain/retrain-demo").raise_for_status().json()
    changes = {"parameters": {"recipe": recipe.model_dump(mode="json"), "wait": True}}
    running.prefect("PATCH", f"/deployments/{found['id']}", json=changes).raise_for_status()
    (trigger,) = [
        one
        for one in running.prefect("POST", "/automations/filter", json={}).raise_for_status().json()
        if found["id"] in str(one)
    ]
    trigger["trigger"]["match_related"] = {"prefect.resource.id": arrival.resource(SOURCE)}
    body = {name: trigger[name] for name in ("name", "description", "enabled", "trigger", "actions")}
    running.prefect("PUT", f"/automations/{trigger['id']}", json=body).raise_for_status()
    for lines in (FIRST, GROWN):
        began, before = time.monotonic(), len(links(running, "grown"))
        upload(running, "shardtune", lines)
        known = {run["id"] for run in runs(running, found["id"])}
        arrived(running)
        until = time.monotonic() + LONGEST
        while not (new := [run for run in runs(running, found["id"]) if run["id"] not in known]):
            must(time.monotonic() < until, "the arrival started no retrain")
            time.sleep(1)
        while new[0]["state_type"] not in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED"):
            must(time.monotonic() < until, f"the retrain is {new[0]['state_type']}")
            time.sleep(1)
            new = [running.prefect("GET", f"/flow_runs/{new[0]['id']}").raise_for_status().json()]
        if new[0]["state_type"] != "COMPLETED":
            print(running.told(new[0]))
        must(new[0]["state_type"] == "COMPLETED", f"the retrain ended {new[0]['state_type']}")
        made = len(links(running, "grown")) - before
        must(made == (3 if lines == FIRST else 1), f"the retrain made {made} links")
        print(f"retrain by event: {made} links in {time.monotonic() - began:.0f} s", flush=True)


def runs(running: Stack, deployment: str) -> list[dict[str, Any]]:
    asked = {"deployments": {"id": {"any_": [deployment]}}, "sort": "START_TIME_DESC", "limit": 50}
    return list(running.prefect("POST", "/flow_runs/filter", json=asked).raise_for_status().json())


def arrived(running: Stack) -> None:
    """`shardtune arrived` as a person runs it beside the stack."""
    own = {
        "PREFECT_API_URL": f"http://127.0.0.1:{running.port('4200')}/api",
        "PREFECT_API_AUTH_STRING": f"admin:{running.values['PREFECT_PASSWORD']}",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{running.port('7070')}",
        "AWS_ACCESS_KEY_ID": running.values["STORE_ACCESS_KEY"],
        "AWS_SECRET_ACCESS_KEY": running.values["STORE_SECRET_KEY"],
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    command = [str(Path(sys.executable).parent / "shardtune"), "arrived", SOURCE]
    done = subprocess.run(command, env={**os.environ, **own}, cwd=compose.TOP, capture_output=True, text=True)
    must(done.returncode == 0, f"arrived: {done.stdout}{done.stderr}")


def upload(running: Stack, bucket: str, lines: int) -> None:
    """A made-up catalogue into the object store."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "catalogue.json"
        catalogue.write(str(path), GROWN)
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:lines]))  # it grows at its end
        running.bucket().upload_file(str(path), bucket, KEY)


def demo(running: Stack) -> None:
    """The shortened demo on the CPU worker: its adapter in the store, its run in MLflow; then from its record."""
    recipe = loader.load("demo", [f"catalogue.uri={SOURCE}", *SHORT])
    for turn in ("made", "served from its record"):
        began = time.monotonic()
        run = finished(running, "finetune/finetune-demo", {"recipe": recipe.model_dump(mode="json"), "wait": True})
        print(f"demo {turn}: {run['name']} in {time.monotonic() - began:.0f} s", flush=True)
        (link,) = links(running, "demo")
        adapters = running.objects("shardtune", "adapters/")
        must(any(name.endswith("/adapter_model.safetensors") for name in adapters), f"no adapter among {adapters}")
        must(link["info"]["status"] == "FINISHED", f"its MLflow run is {link['info']['status']}")
        must(bool(running.objects("mlflow")), "MLflow kept no artifact in the object store")


def ask(running: Stack) -> None:
    """A question to the demo's model, answered from an index that the worker made of the shards in the store."""
    (link,) = links(running, "demo")
    asked = {"questions": ["What is the tent?"], "model": tags(link)["shardtune.key"]}
    finished(running, "ask/ask", asked)
    must(running.has("worker", "/var/lib/shardtune/local/index/*/shards.json"), "the worker has no index")
    print("asked", flush=True)


def served(running: Stack) -> None:
    """The demo's model is made champion, as a person does it in MLflow, and answers over HTTP with its source."""
    began, (link,), api = time.monotonic(), links(running, "demo"), "/api/2.0/mlflow"
    model = tags(link)[names.KEPT]  # models:/ID
    version = {"name": "demo", "source": model, "model_id": model.rpartition("/")[2], "run_id": link["info"]["run_id"]}
    for path, body in (
        ("registered-models/create", {"name": "demo"}),
        ("model-versions/create", version),
        ("registered-models/alias", {"name": "demo", "alias": "champion", "version": "1"}),
    ):
        running.mlflow("POST", f"{api}/{path}", json=body).raise_for_status()
    while running.models("GET", "/health", None).json()["models"] != "ready":
        must(time.monotonic() - began < LONGEST, f"no champion is served: {running.output('serve')[-4000:]}")
        time.sleep(1)
    ready = time.monotonic() - began
    row = json.loads(running.bucket().get_object(Bucket="shardtune", Key=KEY)["Body"].readline())
    reply = (
        running.models("POST", "/v1/ask", json={"question": f"What is the {row['title']}?"}).raise_for_status().json()
    )
    source = (reply["source"] or {}).get("uid")
    must(reply["model"] == "champion" and source == row["uid"], f"asked about {row}, the champion said {reply}")
    print(
        f"served: champion after {ready:.0f} s; asked about {row['title']!r}: {reply['state']} from {source}",
        flush=True,
    )


def rehearsal(running: Stack, name: str, wanted: int) -> None:
    """A paid recipe against simulators: its links are in MLflow, and say that they were simulated."""
    recipe = loader.load(name, ["catalogue.uri=s3://rehearsal/incoming/catalogue.json", *PAID])
    began = time.monotonic()
    run = finished(running, f"finetune/rehearse-{name}", {"recipe": recipe.model_dump(mode="json"), "wait": True})
    print(f"rehearsal of {name}: {run['name']} in {time.monotonic() - began:.0f} s", flush=True)
    found = [tags(link) for link in links(running, name)]
    must(len(found) == wanted, f"{len(found)} runs of {name!r} in MLflow, not {wanted}")
    must(all(one.get("simulated") for one in found), f"a run of {name!r} is not marked as simulated")


def finished(running: Stack, deployment: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """A run that completed; the log of one that did not is shown."""
    run = running.ran(deployment, parameters, LONGEST)
    if run["state_type"] != "COMPLETED":
        print(running.told(run))
        for name in ("worker", *(["worker-rehearsal"] if "rehearse" in deployment else [])):
            print(running.output(name)[-6000:])
    must(run["state_type"] == "COMPLETED", f"{deployment} ended as {run['state']['name']}")
    return run


def links(running: Stack, recipe: str) -> list[dict[str, Any]]:
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
