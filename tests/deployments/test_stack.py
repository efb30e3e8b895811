"""What docker-compose.yml starts, as processes: servers refuse strangers, the worker keeps its state in the store."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from deployments.demo import catalogue
from tasks.recipe import loader
from tests.kit.stack import Running, end, stack


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with stack() as services:
        yield services


@pytest.fixture(scope="module")
def source(running: Running, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A catalogue of two shards in the object store."""
    path = tmp_path_factory.mktemp("catalogue") / "catalogue.json"
    catalogue.write(str(path), 400)
    running.bucket().upload_file(str(path), "shardtune", "incoming/catalogue.json")
    return "s3://shardtune/incoming/catalogue.json"


STRANGERS = (None, ("admin", "wrong"), ("nobody", ""))


@pytest.mark.parametrize("auth", STRANGERS, ids=str)
def test_prefect_refuses_a_stranger_for_reads_and_writes(running, auth):
    asked = [
        ("POST", "/flows/filter"),
        ("POST", "/flow_runs/filter"),
        ("GET", "/admin/settings"),
        ("POST", "/variables/"),
    ]
    asked += [
        ("POST", "/flows/"),
        ("POST", "/work_pools/"),
        ("DELETE", "/work_pools/cpu"),
        ("POST", "/block_documents/"),
    ]
    told = {(method, path): running.prefect(method, path, auth, json=None).status_code for method, path in asked}
    assert told == dict.fromkeys(asked, 401)
    assert running.prefect("GET", "/work_pools/cpu").json()["type"] == "process"


@pytest.mark.parametrize("auth", STRANGERS, ids=str)
def test_mlflow_refuses_a_stranger_for_reads_and_writes(running, auth):
    api, files = "/api/2.0/mlflow", "/api/2.0/mlflow-artifacts/artifacts"
    asked = [
        ("GET", "/"),
        ("POST", f"{api}/experiments/search"),
        ("GET", f"{api}/experiments/get-by-name?experiment_name=shardtune"),
        ("POST", f"{api}/experiments/create"),
        ("POST", f"{api}/runs/create"),
        ("POST", f"{api}/registered-models/create"),
        ("GET", f"{files}?path="),
        ("PUT", f"{files}/0/stranger.txt"),
        ("DELETE", f"{files}/0/stranger.txt"),
        ("POST", f"{api}/users/create"),
        ("GET", "/graphql"),
        ("POST", "/graphql"),
        ("POST", "/v1/traces"),
        ("POST", "/api/3.0/mlflow/traces"),
    ]
    told = {(method, path): running.mlflow(method, path, auth).status_code for method, path in asked}
    assert told == dict.fromkeys(asked, 401)
    assert running.mlflow("POST", f"{api}/experiments/search", json={"max_results": 5}).status_code == 200
    assert not running.objects("mlflow")


def test_the_models_wait_for_a_champion_and_refuse_a_stranger(running):
    running.up("serve")
    for auth in STRANGERS:
        asked = [("POST", "/v1/ask"), ("POST", "/v1/chat/completions"), ("GET", "/v1/models"), ("GET", "/")]
        codes = {way: running.models(*way, auth).status_code for way in asked}
        assert codes == dict.fromkeys(asked, 401)
    assert running.models("GET", "/v1/models").json()["data"] == []
    told = running.models("GET", "/health", None).json()
    assert told["status"] == "ok" and told["models"] != "ready"
    end(running.started["serve"])


def test_the_worker_prepares_a_catalogue_from_and_into_the_object_store(running, source):
    changes = [f"catalogue.uri={source}", "catalogue.lines_per_shard=200", "export.formats=[openai, gemini]"]
    recipe = loader.load("demo", changes).model_dump(mode="json")
    run = running.ran("prepare/prepare", {"recipe": recipe})
    assert run["state_type"] == "COMPLETED", running.told(run)
    made = running.objects("shardtune")
    assert sum(name.startswith("shards/") and name.endswith(".parquet") for name in made) == 2
    assert sum(name.startswith("exports/") and name.endswith(".jsonl") for name in made) >= 4
    again = running.ran("prepare/prepare", {"recipe": recipe})
    assert again["state_type"] == "COMPLETED" and running.objects("shardtune") == made


def test_what_the_worker_keeps_is_on_its_volume_and_is_no_pickle(running, source):
    kept = running.folder("local")
    assert {"prefect"} <= {path.name for path in kept.iterdir()} <= {"local", "prefect", "huggingface"}
    results = [path.read_bytes() for path in (kept / "prefect/storage").iterdir()]
    kinds = {json.loads(result)["metadata"]["serializer"]["type"] for result in results}
    assert kinds and kinds <= {"json", "sealed-json"}


def test_what_runs_once_may_run_again(running):
    for name in ("buckets", "deploy"):
        again = running.native(name).run()
        assert again.returncode == 0 and "nothing" in again.stdout, again.stderr
    pools = {pool["name"]: pool for pool in running.prefect("POST", "/work_pools/filter", json={}).json()}
    assert set(pools) == {"cpu", "gpu"} and pools["gpu"]["concurrency_limit"] == 1
