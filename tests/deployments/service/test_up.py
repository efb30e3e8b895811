"""`shardtune up`, for real: servers, a worker and deployments in processes of their own, and what kills do to them.

The tests share one service and go from its start to its end.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator

import httpx
import pytest

from deployments import register
from deployments.demo import catalogue
from tasks.core import processes
from tasks.orchestrator import switches
from tests.kit.running import ENDED, PATIENCE, TOP, Service, until


def healthy(url: str) -> bool:
    try:
        return bool(urllib.request.urlopen(url, timeout=5).status == 200)
    except OSError:
        return False


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        door.listen()
        place = tmp_path_factory.mktemp("service")
        made = Service(place / "root", door.getsockname()[1], SHARDTUNE_ALLOWED=str(place.parent))
        made.start()
        yield made
        made.kill()


@pytest.fixture(scope="module")
def products(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], str]:
    def made(rows: int) -> str:
        path = tmp_path_factory.mktemp("products") / "catalogue.json"
        catalogue.write(str(path), rows)
        return str(path)

    return made


def test_a_port_that_is_taken_is_told_and_another_one_is_found(service):
    told = service.log.read_text()
    assert f"port {service.taken} is taken: prefect takes" in told
    assert f"port {service.taken} is taken: mlflow takes" in told
    assert service.url("prefect").removesuffix("/api") in told and service.url("mlflow") in told


def test_all_is_well_and_status_says_so(service):
    assert healthy(service.url("prefect") + "/health") and healthy(service.url("mlflow") + "/health")
    told = json.loads(service.run("status", "--json").stdout)
    assert {part["name"]: part["alive"] for part in told["service"]} == dict.fromkeys(
        ("up", "prefect", "mlflow", "worker cpu", "serve"), True
    )
    assert told["failed"] == []


def test_the_models_wait_for_a_champion_behind_the_password(service):
    url = service.url("serve")
    until(lambda: healthy(f"{url}/health"), service)
    assert httpx.get(f"{url}/v1/models").status_code == 401
    key = {"Authorization": f"Bearer {service.login()['password']}"}
    assert httpx.get(f"{url}/v1/models", headers=key, timeout=60).json()["data"] == []
    told = httpx.post(f"{url}/v1/ask", headers=key, json={"question": "What is the kettle?"}, timeout=60)
    assert (told.status_code, told.json()["error"]["code"]) == (503, "not_ready")


def test_a_second_up_is_told_of_the_first(service):
    told = service.run("up")
    assert told.returncode == 0
    assert told.stdout.startswith("already up") and service.url("mlflow") in told.stdout


def test_every_deployment_is_there_as_it_is_written(service):
    declared = {one["name"]: one for one in register.declared()["deployments"]}
    there = {one["name"]: one for one in service.api("POST", "/deployments/filter", {}).json()}
    assert set(there) == set(declared)
    for name, one in declared.items():
        assert there[name]["work_pool_name"] == one["work_pool"]["name"]
        assert there[name]["description"] and set(there[name]["tags"]) == set(one["tags"])
        limit = (there[name]["global_concurrency_limit"] or {}).get("limit")
        assert limit == one.get("concurrency_limit", {}).get("limit")
        # The demo's schedule is on where its catalogue has been made in this checkout.
        on = {"{{ there }}": (TOP / ".shardtune" / "demo" / "catalogue.json").exists()}
        wanted = [on.get(s["active"], s["active"]) for s in one.get("schedules", [])]
        assert [s["active"] for s in there[name]["schedules"]] == wanted
    assert service.api("GET", "/work_pools/gpu").json()["concurrency_limit"] == 1
    automations = service.api("POST", "/automations/filter", {}).json()
    waits = {a["name"].split()[0]: a["trigger"]["match_related"]["prefect.resource.id"] for a in automations}
    assert waits == {
        "retrain-demo": f"shardtune.catalogue:{TOP / '.shardtune' / 'demo' / 'catalogue.json'}",
        "retrain-gpt-4o-mini": "shardtune.catalogue:(none)",
    }


@pytest.mark.parametrize("changes", [{"job_variables": {"command": "id"}}, {"job_variables": {"env": {"A": "1"}}}])
def test_no_form_changes_what_a_process_is(service, changes):
    found = service.deployment("prepare/prepare")
    body = {"parameters": found["parameters"], "state": {"type": "SCHEDULED"}} | changes
    refused = service.api("POST", f"/deployments/{found['id']}/create_flow_run", body)
    assert refused.status_code == 422 and "Additional properties are not allowed" in refused.text
    assert set(found["parameter_openapi_schema"]["properties"]) == {"recipe", "rendering", "shards"}


def test_what_a_person_switched_stays_when_the_files_change(service):
    def there() -> tuple[object, ...]:
        sweep, paid = service.deployment("sweep/sweep"), service.deployment("retrain/retrain-gpt-4o-mini")
        automations = {a["name"].split()[0]: a for a in service.api("POST", "/automations/filter", {}).json()}
        pool = service.api("GET", "/work_pools/gpu").json()
        return sweep, paid, automations, pool

    def told() -> tuple[object, ...]:
        sweep, paid, automations, pool = there()
        limit, on = paid["global_concurrency_limit"]["limit"], {n: a["enabled"] for n, a in automations.items()}
        return sweep["paused"], sweep["schedules"][0]["active"], limit, on, pool["concurrency_limit"], pool["is_paused"]

    before = told()
    sweep, paid, automations, _ = there()
    changes = [
        (f"/deployments/{sweep['id']}", {"paused": True}),
        (f"/deployments/{sweep['id']}/schedules/{sweep['schedules'][0]['id']}", {"active": False}),
        (f"/deployments/{paid['id']}", {"concurrency_limit": 3}),
        (f"/automations/{automations['retrain-gpt-4o-mini']['id']}", {"enabled": True}),
        ("/work_pools/gpu", {"concurrency_limit": 2, "is_paused": True}),
    ]
    (record,) = service.api("POST", "/variables/filter", {"variables": {"name": {"any_": [switches.RECORD]}}}).json()
    changes.append((f"/variables/{record['id']}", {"value": record["value"] | {"state": "of other files"}}))
    for path, body in changes:
        service.api("PATCH", path, body).raise_for_status()
    wanted = (True, False, 3, {"retrain-demo": True, "retrain-gpt-4o-mini": True}, 2, True)
    assert told() == wanted != before
    env = service.env | {"PREFECT_API_URL": service.url("prefect")}
    call = [sys.executable, "-m", "deployments.register"]
    done = subprocess.run(call, env=env, cwd=TOP, capture_output=True, text=True, check=True)
    assert told() == wanted
    assert "kept as a person left it: sweep: schedule every-10-minutes: off, every 600 s" in done.stdout
    people = json.loads(service.run("status", "--json").stdout)["people"]
    assert set(people) == {
        "pool gpu: limit",
        "pool gpu: paused",
        "retrain-gpt-4o-mini: limit",
        "sweep: paused",
        "sweep: schedule every-10-minutes",
        "trigger retrain-gpt-4o-mini when the catalogue grew",
    }
    for path, body in changes[:2]:
        undo = {"paused": False} if "paused" in body else {"active": True}
        service.api("PATCH", path, undo).raise_for_status()


def test_on_a_server_of_the_first_version_what_nobody_touched_since_follows_the_files(service):
    """That version kept no switches, but the moment at which it had set them all."""

    def switch(name: str, active: bool) -> None:
        sweep = service.deployment("sweep/sweep")
        path = f"/deployments/{sweep['id']}/schedules/{sweep['schedules'][0]['id']}"
        automation = next(a for a in service.api("POST", "/automations/filter", {}).json() if name in a["name"])
        service.api("PATCH", path, {"active": active}).raise_for_status()
        service.api("PATCH", f"/automations/{automation['id']}", {"enabled": active}).raise_for_status()

    def register_anew() -> tuple[bool, bool]:
        env = service.env | {"PREFECT_API_URL": service.url("prefect")}
        subprocess.run([sys.executable, "-m", "deployments.register"], env=env, cwd=TOP, check=True)
        enabled = {a["name"].split()[0]: a["enabled"] for a in service.api("POST", "/automations/filter", {}).json()}
        return service.deployment("sweep/sweep")["schedules"][0]["active"], enabled["retrain-demo"]

    def of_the_first_version() -> None:
        (record,) = service.api(
            "POST", "/variables/filter", {"variables": {"name": {"any_": [switches.RECORD]}}}
        ).json()
        service.api("PATCH", f"/variables/{record['id']}", {"value": "0" * 32}).raise_for_status()

    switch("retrain-demo", False)  # as an older file had it
    of_the_first_version()
    assert register_anew() == (True, True)
    of_the_first_version()
    switch("retrain-demo", False)  # by a person, since then
    assert register_anew() == (False, False)
    switch("retrain-demo", True)


def test_the_schedule_makes_runs(service):
    scheduled = {
        "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}},
        "deployments": {"name": {"any_": ["sweep"]}},
    }
    until(lambda: service.api("POST", "/flow_runs/filter", scheduled).json(), service)


@pytest.mark.parametrize(
    "key, value, named",
    [
        ("clean__min_title", 0, "recipe.clean.min_title"),
        ("tune__batch_size", 0, "recipe.tune.batch_size"),
        ("name", "Upper Case", "recipe.name"),
        ("nope", 1, "nope"),
        ("tune", {"kind": "openai", "base_model": "gpt-4o-mini", "epochs": 99}, "recipe.tune"),
    ],
)
def test_a_bad_value_is_refused_with_the_name_of_its_field(service, key, value, named):
    refused = service.begin("finetune/finetune-demo", **{key: value})
    assert refused.status_code == 409
    assert named in refused.json()["detail"]


def test_a_worker_runs_what_the_form_starts(service, products):
    run = service.begun("prepare/prepare", catalogue__uri=products(200), catalogue__lines_per_shard=100)
    until(lambda: service.flow_run(run)["state_type"] in ENDED, service)
    ended = service.flow_run(run)
    assert ended["state_type"] == "COMPLETED", ended["state"]["message"]
    assert ended["name"] == "prepare recipe" and ended["labels"]["shardtune.machine"] == processes.place()
    assert list((service.root / "shards").rglob("*.parquet"))


def test_a_killed_server_is_back_at_the_same_address(service):
    before = service.known()
    for name in ("prefect", "mlflow"):
        os.kill(before[name]["pid"], signal.SIGKILL)
    for name in ("prefect", "mlflow"):
        until(lambda name=name: service.known()[name]["pid"] != before[name]["pid"], service)
        assert service.url(name) == before[name]["url"]
        until(lambda name=name: healthy(service.url(name) + "/health"), service)


@pytest.mark.long
def test_after_everything_was_killed_a_next_up_drives_the_run_again(service, products):
    run = service.begun("prepare/prepare", catalogue__uri=products(100_000))
    until(lambda: service.flow_run(run)["state_type"] == "RUNNING", service)
    for process in service.processes():
        process.kill()
    service.process.wait()
    service.start()
    until(lambda: "shardtune.again" in service.flow_run(run)["labels"], service)
    died = service.flow_run(run)
    assert died["state_type"] == "CRASHED"
    new = died["labels"]["shardtune.again"]
    until(lambda: service.flow_run(new)["state_type"] in ENDED, service)
    assert service.flow_run(new)["state_type"] == "COMPLETED"
    assert service.flow_run(new)["parameters"] == died["parameters"]


def test_down_ends_it_and_leaves_no_process(service):
    running = service.processes()
    assert len(running) >= 5
    told = service.run("down", "--json")
    assert told.returncode == 0 and json.loads(told.stdout), told.stderr
    assert service.process.wait(PATIENCE) == 0
    assert [process for process in running[1:] if process.is_running()] == []
    told = json.loads(service.run("status", "--json").stdout)
    assert {part["alive"] for part in told["service"]} == {False}
    assert service.run("down").returncode == 0  # there is nothing left to end
