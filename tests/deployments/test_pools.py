"""The base job templates of work pools, read by Prefect's own workers: what a process, a container, a pod would get."""

from __future__ import annotations

import asyncio
import json
import os
import re
from typing import Any

import docker
import pytest
from docker.models.containers import _create_container_args
from prefect.client.orchestration import PrefectClient
from prefect.utilities.schema_tools.validation import ValidationError, validate
from prefect.workers.process import ProcessJobConfiguration, ProcessWorker
from prefect_docker.worker import DockerWorker, DockerWorkerJobConfiguration
from prefect_kubernetes.worker import KubernetesWorker, KubernetesWorkerJobConfiguration

from deployments import register, steps
from tests.kit import compose

FOLDER = compose.TOP / "deployments/pools"
WORKERS = {"process": ProcessWorker, "docker": DockerWorker, "kubernetes": KubernetesWorker}
# What a deployment may choose: how large, never what runs or with which rights.
OPEN = {
    "process": set(),
    "docker": {"mem_limit"},
    "kubernetes": {"cpu_request", "cpu_limit", "memory_request", "memory_limit", "gpus"},
}
STACK = compose.declared()
SECRET = re.compile(r"\{\{ prefect\.blocks\.secret\.([a-z-]+) \}\}")


def template(kind: str) -> dict[str, Any]:
    return dict(json.loads((FOLDER / f"{kind}.json").read_text()))


def configured(configuration: Any, kind: str, **values: Any) -> Any:
    """What a worker of this kind makes of the template and these job variables; a secret is known by its name."""
    told = json.loads(SECRET.sub(r"the \1", json.dumps(template(kind))))
    nobody = PrefectClient("http://127.0.0.1:1/api")  # without blocks there is nothing to ask a server
    return asyncio.run(configuration.from_template_and_values(told, values, client=nobody))


@pytest.mark.parametrize("kind", WORKERS)
def test_a_template_has_what_its_worker_knows_and_uses_all_it_asks_for(kind):
    ours, theirs = template(kind), WORKERS[kind].get_default_base_job_template()
    assert set(ours["job_configuration"]) <= set(theirs["job_configuration"])
    used = set(re.findall(r"\{\{ (\w+) \}\}", json.dumps(ours["job_configuration"])))
    assert used == set(ours["variables"]["properties"]) == OPEN[kind]


@pytest.mark.parametrize("kind", WORKERS)
def test_no_form_and_no_deployment_changes_what_a_process_may_do(kind):
    ours, theirs = template(kind), WORKERS[kind].get_default_base_job_template()
    validate({}, ours["variables"], raise_on_error=True)
    closed = set(theirs["variables"]["properties"]) - OPEN[kind]  # by Prefect's own template: all that it would take
    assert {"command", "env"} <= closed and (kind != "docker" or {"privileged", "volumes", "image"} <= closed)
    for name in (*closed, "env.LD_PRELOAD", "job_manifest"):
        with pytest.raises(ValidationError, match="Additional properties are not allowed"):
            validate({name: "anything"}, ours["variables"], raise_on_error=True)


@pytest.mark.parametrize("kind", WORKERS)
def test_a_template_holds_no_secret_and_sets_what_every_flow_needs(kind):
    environment = template(kind)["job_configuration"]["env"]
    assert steps.ENVIRONMENT.items() <= environment.items(), "deployments/pools: settings.EVERYWHERE has changed"
    secret = {k: v for k, v in environment.items() if re.search("PASSWORD|SECRET|KEY", k)}
    assert all(SECRET.fullmatch(value) for value in secret.values())
    assert len(secret) == (3 if kind == "docker" else 0)


def test_a_process_of_up_runs_flows_in_the_folder_of_up():
    ours = register.template()
    nobody = PrefectClient("http://127.0.0.1:1/api")
    made = asyncio.run(ProcessJobConfiguration.from_template_and_values(ours, {"command": "id"}, client=nobody))
    assert made.command == "python -m prefect.engine" and str(made.working_dir) == os.getcwd()
    assert made.env["PREFECT_RESULTS_DEFAULT_SERIALIZER"] == "json"


def test_a_container_has_a_gpu_the_state_of_the_stack_and_no_rights():
    made = configured(DockerWorkerJobConfiguration, "docker")
    worker = STACK["services"]["worker-gpu"]
    state = ("SHARDTUNE_", "MLFLOW_TRACKING_", "AWS_", "HF_HOME", "PREFECT_API_URL")
    given = {name: value for name, value in worker["environment"].items() if name.startswith(state) and value}
    assert set(given) <= set(made.env)
    assert all(made.env[name] == value for name, value in given.items() if "${" not in value)
    assert made.env["AWS_SECRET_ACCESS_KEY"].startswith("the ")
    assert made.image == worker["image"]
    assert {f"{STACK['name']}_{n}" for n in worker["networks"]} == set(made.networks)
    assert made.volumes == [f"{STACK['name']}_{mount}" for mount in worker["volumes"]]
    # docker-py takes it all: a word that it does not know would be a TypeError.
    nowhere = docker.DockerClient(base_url="tcp://127.0.0.1:1", version="1.43")
    settings = DockerWorker._build_container_settings(object.__new__(DockerWorker), nowhere, made)
    container = _create_container_args(settings | {"version": "1.43"})
    host_config = container["host_config"]
    assert (container["user"], host_config["ReadonlyRootfs"], host_config["CapDrop"]) == ("10001:10001", True, ["ALL"])
    assert host_config["DeviceRequests"][0]["Capabilities"] == [["gpu"]]
    assert host_config["SecurityOpt"] == ["no-new-privileges:true"] and not host_config.get("Privileged")


def test_a_pod_has_a_gpu_a_claim_and_no_rights():
    made = configured(KubernetesWorkerJobConfiguration, "kubernetes", gpus=2)
    pod = made.job_manifest["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 2
    assert container["image"] == STACK["services"]["worker-gpu"]["image"]
    assert pod["securityContext"]["runAsNonRoot"] and container["securityContext"]["readOnlyRootFilesystem"]
    assert {m["name"] for m in container["volumeMounts"]} == {v["name"] for v in pod["volumes"]}
