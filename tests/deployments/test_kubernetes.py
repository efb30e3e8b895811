"""deployments/kubernetes and the kubernetes pool: what Kubernetes' schemas ask, and what docker-compose.yml says."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import subprocess
import uuid
from collections.abc import Iterator
from typing import Any

import kubernetes_validate
import pytest
import yaml
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import Flow, FlowRun
from prefect.client.schemas.responses import DeploymentResponse
from prefect_kubernetes.worker import KubernetesWorkerJobConfiguration

from tests.kit import compose

FOLDER = compose.TOP / "deployments/kubernetes"
KUSTOMIZATION = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
OPERATE = (compose.TOP / "docs/operate.md").read_text()
VERSIONS = ("1.31", "1.37")
COMPONENT = "app.kubernetes.io/component"

# Services of docker-compose.yml: the workload and the container that do their work.
WHERE = {
    "postgres": ("postgres", "postgres"),
    "store": ("store", "store"),
    "buckets": ("mlflow", "buckets"),  # before MLflow; a Job could not be applied again with another image
    "prefect": ("prefect", "prefect"),
    "mlflow": ("mlflow", "mlflow"),
    "deploy": ("worker", "deploy"),  # before the worker, from the code that it runs
    "worker": ("worker", "worker"),
    "serve": ("serve", "serve"),
}
ELSEWHERE = {
    "worker-gpu": "runs are Jobs of pools/kubernetes.json; worker-kubernetes makes them",
    "simulators": "rehearsals stay on a machine with compose",
    "deploy-rehearsal": "as above",
    "worker-rehearsal": "as above",
}
# What a container is given beside what docker-compose.yml gives it.
ADDED = {
    "postgres": {"PGDATA": "a claim has a folder lost+found, and initdb wants an empty one"},
    "deploy": {"AWS_ENDPOINT_URL": "client.env is one file", "AWS_DEFAULT_REGION": "as above"},
}
# Not of a manifest: pids (podPidsLimit of the kubelet), logging, restart (always), init (see the test of process 1).
SECRETS = {
    "shardtune": {
        "PREFECT_API_AUTH_STRING": "admin:<PREFECT_PASSWORD>",
        "MLFLOW_TRACKING_PASSWORD": "<MLFLOW_PASSWORD>",
        "AWS_ACCESS_KEY_ID": "<STORE_ACCESS_KEY>",
        "AWS_SECRET_ACCESS_KEY": "<STORE_SECRET_KEY>",
    },
    "shardtune-servers": {
        name: f"<{name}>"
        for name in (
            "POSTGRES_PASSWORD",
            "PREFECT_DATABASE_PASSWORD",
            "MLFLOW_DATABASE_PASSWORD",
            "MLFLOW_SECRET_KEY",
            "SERVE_PASSWORD",
        )
    },
    "shardtune-providers": {name: f"<{name}>" for name in sorted(compose.given_on())},
}
VALUES = {
    name: f"<{name}>" for name, value in compose.example().items() if not value and name not in compose.given_on()
}
SERVICES: dict[str, Any] = compose.interpolated(compose.declared()["services"], VALUES)


def documents() -> Iterator[dict[str, Any]]:
    for name in KUSTOMIZATION["resources"]:
        yield from yaml.safe_load_all((FOLDER / name).read_text())


def given(name: str) -> dict[str, str]:
    """A file of the folder with a NAME=value on each line."""
    lines = (FOLDER / f"{name}.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


ALL = list(documents())
WORKLOADS = {d["metadata"]["name"]: d for d in ALL if d["kind"] in ("Deployment", "StatefulSet")}
PODS: dict[str, Any] = {name: d["spec"]["template"]["spec"] for name, d in WORKLOADS.items()}
OBJECTS = {f"{d['kind']}/{d['metadata']['name']}": d for d in ALL}


def containers(pod: dict[str, Any]) -> dict[str, Any]:
    return {c["name"]: c for c in [*pod.get("initContainers", []), *pod["containers"]]}


def environment(container: dict[str, Any]) -> dict[str, str]:
    """What the container is given, passwords by what stands for them, $(NAME) put in as the kubelet does."""
    found: dict[str, str] = {}
    for source in container.get("envFrom", []):
        found |= (
            given(source["configMapRef"]["name"]) if "configMapRef" in source else SECRETS[source["secretRef"]["name"]]
        )
    for one in container.get("env", []):
        if "valueFrom" in one:
            reference = one["valueFrom"]["secretKeyRef"]
            found[one["name"]] = SECRETS[reference["name"]][reference["key"]]
        else:
            found[one["name"]] = expanded(one["value"], found)
    return found


def expanded(text: str, values: dict[str, str]) -> str:
    return re.sub(r"\$\((\w+)\)", lambda found: values[found[1]], text)


def rendered(**values: Any) -> KubernetesWorkerJobConfiguration:
    """What the kubernetes worker makes of the pool's template for a run of a deployment that is named `postgres`."""
    told = json.loads((compose.TOP / "deployments/pools/kubernetes.json").read_text())
    nobody = PrefectClient("http://127.0.0.1:1/api")
    made = asyncio.run(KubernetesWorkerJobConfiguration.from_template_and_values(told, values, client=nobody))
    flow, deployment = Flow(name="finetune"), DeploymentResponse(name="postgres", flow_id=uuid.uuid4())
    run = FlowRun(name="calm-otter", flow_id=flow.id, deployment_id=deployment.id)
    made.prepare_for_flow_run(run, deployment, flow, worker_name="one")
    return made


@pytest.mark.parametrize("version", VERSIONS)
def test_every_manifest_and_a_run_are_what_the_schemas_say(version):
    for one in (*ALL, rendered(gpus=2).job_manifest):
        kubernetes_validate.validate(one, version, strict=True)
    for broken in ({"enableServiceLink": False}, {"hostname": 1}):
        one = json.loads(json.dumps(OBJECTS["Deployment/worker"]))
        one["spec"]["template"]["spec"] |= broken
        with pytest.raises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(one, version, strict=True)


def test_the_kustomization_names_every_file_and_every_image_of_ours():
    assert {*KUSTOMIZATION["resources"], "kustomization.yaml"} == {f.name for f in FOLDER.glob("*.yaml")}
    generated = {g["name"]: g["envs"] for g in KUSTOMIZATION["configMapGenerator"]}
    assert generated == {f.stem: [f.name] for f in FOLDER.glob("*.env")}
    used = {c["image"] for pod in PODS.values() for c in containers(pod).values()}
    assert {f"{i['name']}:{i['newTag']}" for i in KUSTOMIZATION["images"]} == {i for i in used if "shardtune" in i}
    assert len(OBJECTS) == len(ALL)


def test_every_service_is_here_or_has_a_reason_not_to_be():
    assert {*WHERE} | {*ELSEWHERE} == {*SERVICES} and not {*WHERE} & {*ELSEWHERE}
    waiting = {name for pod in PODS.values() for name in containers(pod) if name.startswith("after-")}
    ours = {(workload, name) for workload, pod in PODS.items() for name in containers(pod) if name not in waiting}
    assert ours - {*WHERE.values()} == {("worker-kubernetes", "pool"), ("worker-kubernetes", "worker-kubernetes")}


@pytest.mark.parametrize("name", WHERE)
def test_a_container_is_what_docker_compose_says(name):
    service, (workload, container) = SERVICES[name], WHERE[name]
    pod = PODS[workload]
    ours = containers(pod)[container]
    assert ours["image"] == service["image"] and "command" not in ours  # `args` are Compose's `command`
    assert [expanded(word, environment(ours)) for word in ours["args"]] == service["command"]
    person = pod["securityContext"]
    assert (
        f"{person['runAsUser']}:{person['runAsGroup']}" == service["user"] and person["fsGroup"] == person["runAsGroup"]
    )
    limits = service["deploy"]["resources"]["limits"]
    memory = re.sub(r"(?<=\d)([gm])$", lambda unit: unit[1].upper() + "i", limits["memory"])
    assert ours["resources"]["limits"] == {"cpu": limits["cpus"], "memory": memory}
    if "stop_grace_period" in service:
        assert f"{pod['terminationGracePeriodSeconds']}s" == service["stop_grace_period"]
    assert pod.get("hostname") == SERVICES.get(workload, {}).get("hostname")


@pytest.mark.parametrize("name", WHERE)
def test_a_container_is_given_what_docker_compose_gives(name):
    workload, container = WHERE[name]
    ours = environment(containers(PODS[workload])[container])
    theirs = {
        k: SECRETS["shardtune-providers"][k] if v is None else v for k, v in SERVICES[name]["environment"].items()
    }
    left = set(given("addresses"))  # they are what the Compose file takes from .env
    if homeless(name):
        left |= {"HOME", "PREFECT_HOME"}
    theirs |= {k: ours[k] for k in ADDED.get(name, ())}
    assert {k: v for k, v in ours.items() if k not in left} == {k: v for k, v in theirs.items() if k not in left}


def homeless(name: str) -> bool:
    """Whether a service of Compose writes to /tmp alone: its tmpfs belongs to root, and a pod's emptyDir to the pod."""
    return bool(SERVICES[name]["environment"].get("HOME") == "/tmp")


def test_addresses_begin_as_in_docker_compose():
    for name, value in given("addresses").items():
        assert f"${{{name}:-{value}}}" in compose.FILE.read_text()


@pytest.mark.parametrize("name", WHERE)
def test_a_container_writes_where_docker_compose_lets_it(name):
    service, (workload, container) = SERVICES[name], WHERE[name]
    pod = PODS[workload]
    mounts = containers(pod)[container]["volumeMounts"]
    theirs = {m.split(":")[1]: "" for m in service.get("volumes", [])}
    theirs |= {m.partition(":")[0]: m.partition(":")[2] for m in service.get("tmpfs", [])}
    theirs |= {"/var/lib/shardtune": ""} if homeless(name) else {}
    if "shm_size" in service:
        theirs["/dev/shm"] = f"size={service['shm_size']}"
    assert {m["mountPath"] for m in mounts} == {*theirs}
    volumes = {v["name"]: v for v in pod["volumes"]}
    claimed = {c["metadata"]["name"] for c in WORKLOADS[workload]["spec"].get("volumeClaimTemplates", [])}
    for mount in mounts:
        volume = volumes.get(mount["name"], {})
        if size := re.search(r"size=(\d+)([gm])", theirs[mount["mountPath"]]):
            assert volume["emptyDir"]["sizeLimit"] == f"{size[1]}{size[2].upper()}i"
        lasting = mount["name"] in claimed or "persistentVolumeClaim" in volume
        kept = f"{mount['name'].removesuffix('-cpu')}:{mount['mountPath']}" in service.get("volumes", [])
        assert lasting == kept, mount
    for volume in volumes.values():
        assert "sizeLimit" in volume.get("emptyDir", {"sizeLimit": ""})
        if "persistentVolumeClaim" in volume:
            assert f"PersistentVolumeClaim/{volume['persistentVolumeClaim']['claimName']}" in OBJECTS


@pytest.mark.parametrize("name", [n for n in WHERE if "healthcheck" in SERVICES[n]])
def test_a_probe_is_the_health_check(name):
    check, (workload, container) = SERVICES[name]["healthcheck"], WHERE[name]
    ours = containers(PODS[workload])[container]
    assert "livenessProbe" not in ours  # as in Compose, what is slow is not killed
    for probe in (ours["startupProbe"], ours["readinessProbe"]):
        assert probe["exec"]["command"] == check["test"][1:]
        assert f"{probe['periodSeconds']}s" == check["interval"] and f"{probe['timeoutSeconds']}s" == check["timeout"]
    assert ours["readinessProbe"]["failureThreshold"] == check["retries"]
    start = int(check["start_period"][:-1]) / int(check["interval"][:-1]) + check["retries"]
    assert ours["startupProbe"]["failureThreshold"] >= start


@pytest.mark.parametrize("name", WHERE)
def test_what_must_be_there_before_is_asked_first(name):
    """A dependency of Compose is a container before, which asks that service's health check or does its work."""
    workload, container = WHERE[name]
    before = list(itertools.takewhile(lambda one: one != container, containers(PODS[workload])))
    by_work = {
        "buckets": {"store"},
        "deploy": {"prefect"},
    }  # these two end badly, and are tried again, until it is there
    seen = by_work.get(name, set()).union(*(by_work.get(one, set()) | {one} for one in before))
    for other in SERVICES[name].get("depends_on", {}):
        assert {other, f"after-{other}"} & seen, other
    for one in before:
        if other := one.removeprefix("after-") if one.startswith("after-") else "":
            ours = containers(PODS[workload])[one]
            here = [w.replace("127.0.0.1", other) for w in SERVICES[other]["healthcheck"]["test"][1:]]
            assert (ours.get("command") or ours["args"])[-1] == here[-1]


@pytest.mark.parametrize("name", [*PODS, "a run"])
def test_a_pod_keeps_to_the_restricted_standard_and_has_no_rights(name):
    pod = PODS[name] if name in PODS else rendered().job_manifest["spec"]["template"]["spec"]
    person = pod["securityContext"]
    assert (
        person["runAsNonRoot"] is True
        and person["runAsUser"] > 0
        and person["seccompProfile"] == {"type": "RuntimeDefault"}
    )
    assert not {"hostNetwork", "hostPID", "hostIPC"} & {*pod}
    assert {next(k for k in v if k != "name") for v in pod["volumes"]} <= {
        "configMap",
        "emptyDir",
        "persistentVolumeClaim",
    }
    for one in containers(pod).values():
        assert one["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"cpu", "memory"} <= {*one["resources"]["requests"]} and "memory" in one["resources"]["limits"]
    # Else MLFLOW_PORT, a setting of MLflow, would be the address of a Service.
    assert pod["enableServiceLinks"] is False
    account = "worker-kubernetes" if name == "worker-kubernetes" else "shardtune"
    assert pod["serviceAccountName"] == account and pod["automountServiceAccountToken"] == (account != "shardtune")


def test_process_1_of_a_worker_reaps():
    reaped = {n for n, (workload, _) in WHERE.items() if PODS[workload].get("shareProcessNamespace")}
    assert reaped == {"worker", "deploy"} and SERVICES["worker"]["init"]


def test_the_kubernetes_worker_may_make_and_watch_jobs_of_its_namespace_and_nothing_else():
    (bound,) = [d for d in ALL if d["kind"].endswith("Binding")]
    assert bound["kind"] == "RoleBinding" and [s["name"] for s in bound["subjects"]] == ["worker-kubernetes"]
    rules = OBJECTS[f"Role/{bound['roleRef']['name']}"]["rules"]
    rights = {(resource, verb) for rule in rules for resource in rule["resources"] for verb in rule["verbs"]}
    assert {resource for resource, _ in rights} == {"jobs", "pods", "pods/log"}
    assert {verb for resource, verb in rights if resource != "jobs"} == {"get", "list", "watch"}
    worker = environment(containers(PODS["worker-kubernetes"])["worker-kubernetes"])
    assert worker["PREFECT_INTEGRATIONS_KUBERNETES_OBSERVER_NAMESPACES"] == KUSTOMIZATION["namespace"] == "shardtune"


def selected(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    assert {*selector} <= {"matchLabels", "matchExpressions"}
    said = all(labels.get(k) == v for k, v in selector.get("matchLabels", {}).items())
    return said and all(
        (labels.get(e["key"]) in e["values"]) == {"In": True, "NotIn": False}[e["operator"]]
        for e in selector.get("matchExpressions", [])
    )


def ways(kind: str, side: str, labels: dict[str, str]) -> list[dict[str, Any]]:
    """The rules of all policies for a pod with these labels; an empty list lets nothing through."""
    mine = [d["spec"] for d in ALL if d["kind"] == "NetworkPolicy" and selected(d["spec"]["podSelector"], labels)]
    assert any(kind in one["policyTypes"] for one in mine), "no policy: everybody may"
    return [rule | {"peers": rule.get(side, [])} for one in mine for rule in one.get(kind.lower(), [])]


def labels() -> dict[str, dict[str, str]]:
    found = {name: d["spec"]["template"]["metadata"]["labels"] for name, d in WORKLOADS.items()}
    return found | {"run": rendered().job_manifest["spec"]["template"]["metadata"]["labels"]}


def test_who_may_talk_to_whom():
    pods, ports = (
        labels(),
        {d["metadata"]["name"]: d["spec"]["ports"][0]["port"] for d in ALL if d["kind"] == "Service"},
    )
    assert (
        all(pods[name][COMPONENT] == name for name in WORKLOADS) and pods["run"]["app.kubernetes.io/name"] == "postgres"
    )

    def lets(rules: list[dict[str, Any]], other: dict[str, str], port: int) -> bool:
        return any(
            any(p["port"] == port for p in rule["ports"])
            and any(selected(p["podSelector"], other) for p in rule["peers"] if "podSelector" in p)
            for rule in rules
        )

    talk = {
        (one, other)
        for one, (other, port) in itertools.product(pods, ports.items())
        if lets(ways("Egress", "to", pods[one]), pods[other], port)
        and lets(ways("Ingress", "from", pods[other]), pods[one], port)
    }
    servers = {("prefect", "postgres"), ("mlflow", "postgres"), ("mlflow", "store"), ("worker-kubernetes", "prefect")}
    assert talk == servers | {*itertools.product(("worker", "serve", "run"), ("prefect", "mlflow", "store"))}
    for d in ALL:
        if d["kind"] == "Service":
            assert [n for n, its in pods.items() if selected({"matchLabels": d["spec"]["selector"]}, its)] == [
                d["metadata"]["name"]
            ]
            assert d["spec"].get("type", "ClusterIP") == "ClusterIP"


def test_only_what_runs_flows_or_makes_jobs_has_a_way_out():
    pods = labels()
    out = {
        name: [
            p["port"]
            for rule in ways("Egress", "to", pods[name])
            for p in rule["ports"]
            if not rule["peers"] or any("ipBlock" in peer for peer in rule["peers"])
        ]
        for name in pods
    }
    assert {name: found for name, found in out.items() if found} == {
        "worker": [443],
        "serve": [443],
        "run": [443],
        "worker-kubernetes": [443, 6443],
    }
    assert {name for name in pods if not ways("Egress", "to", pods[name])} == {"postgres", "store"}


def test_databases_are_made_by_the_script_of_docker_compose():
    script = (compose.TOP / "deployments/compose/databases.sh").read_text()
    assert OBJECTS["ConfigMap/databases"]["data"] == {"databases.sh": script}
    assert {v["name"]: v for v in PODS["postgres"]["volumes"]}["databases"]["configMap"]["defaultMode"] == 0o555


def test_the_commands_of_the_readme_make_every_secret_that_is_asked_for(tmp_path):
    (commands,) = [block for block in re.findall(r"```\n(.*?)```", OPERATE, re.S) if "create secret generic" in block]
    (tmp_path / "kubectl").write_text('#!/bin/sh\ncase "$*" in *secret*) echo "# $6"; cat "${7#*=}";; esac\n')
    (tmp_path / "kubectl").chmod(0o755)
    (tmp_path / ".env").write_text("".join(f"{name}='<{name}>'\n" for name in [*VALUES, *sorted(compose.given_on())]))
    wanted = [line for line in commands.splitlines() if not line.startswith("cp ")]
    (tmp_path / "docker").symlink_to("/bin/true")
    made = subprocess.run(
        ["bash", "-euc", "\n".join(wanted)],
        cwd=tmp_path,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    told = made.stdout.replace("'", "").split("# ")[1:]
    assert made.returncode == 0, made.stderr
    assert {t.split("\n")[0]: dict(line.split("=", 1) for line in t.splitlines()[1:]) for t in told} == SECRETS


def test_a_run_is_told_what_a_worker_is_told():
    made = rendered(memory_limit="64Gi")
    pod = made.job_manifest["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    told = {one["name"]: one["value"] for one in container["env"]}
    # The worker hands on its own PREFECT_ settings.
    assert {k: v for k, v in given("client").items() if not k.startswith("PREFECT_")}.items() <= told.items()
    assert told["SHARDTUNE_MLFLOW_PAGES"] == given("addresses")["MLFLOW_PUBLIC_URL"]
    assert container["envFrom"] == [
        {"secretRef": {"name": "shardtune"}},
        {"secretRef": {"name": "shardtune-providers", "optional": True}},
    ]
    (claim,) = [v["persistentVolumeClaim"]["claimName"] for v in pod["volumes"] if "persistentVolumeClaim" in v]
    assert f"PersistentVolumeClaim/{claim}" in OBJECTS
    assert container["resources"]["limits"] == {"memory": "64Gi", "nvidia.com/gpu": 1}
    assert made.namespace == KUSTOMIZATION["namespace"]
