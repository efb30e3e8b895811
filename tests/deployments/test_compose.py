"""docker-compose.yml and .env.example, as files: what the specification asks, and what safety asks."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import jsonschema
import pytest
import yaml

from deployments import steps
from tests.kit import compose

SERVICES: dict[str, Any] = compose.declared()["services"]
ONE_SHOT = {"buckets", "deploy", "deploy-rehearsal"}
WORKERS = ("worker", "worker-gpu", "worker-rehearsal")
SECRET = re.compile("PASSWORD|SECRET|AUTH_STRING|_KEY")


def variables(text: str) -> dict[str, str]:
    """Every ${NAME} of the text, with what comes behind the name."""
    found = (m.groups() for m in compose.VARIABLE.finditer(re.sub(r"(?m)^\s*#.*$", "", text)))
    return {name: (sign or "") + (rest or "") for _, name, sign, rest in found if name}


def test_the_file_is_what_the_compose_specification_says():
    schema = files("check_jsonschema") / "builtin_schemas/vendor/compose-spec.json"
    validator = jsonschema.Draft202012Validator(json.loads(schema.read_text()))
    assert [error.message for error in validator.iter_errors(compose.declared())] == []
    broken = compose.declared() | {"services": {"x": {"imagee": "y"}}}
    assert list(validator.iter_errors(broken))


def test_every_variable_is_explained_and_none_has_a_value_that_works():
    used, told = variables(compose.FILE.read_text()), compose.example()
    given_on = compose.given_on()
    assert set(told) == set(used) | given_on
    secret = {name for name, rest in used.items() if rest.startswith(":?")}
    assert {name for name in used if SECRET.search(name)} == secret and len(secret) == 9
    assert all(rest == f":?set {name} in .env" for name, rest in used.items() if name in secret)
    assert {told[name] for name in secret | {n for n in given_on if SECRET.search(n)}} == {""}


@pytest.mark.parametrize("name", [n for n in compose.example() if n.isupper() and SECRET.search(n)])
def test_nothing_is_read_from_the_file_without_its_passwords(name):
    values = {n: "given" for n in compose.example() if n != name}
    if name in variables(compose.FILE.read_text()):
        with pytest.raises(LookupError, match=name):
            compose.interpolated(SERVICES, values)


def test_the_first_command_of_the_readme_gives_every_password_a_value_of_its_own(tmp_path):
    steps = (compose.TOP / "deployments/README.md").read_text()
    (command,) = [block for block in re.findall(r"```\n(.*?)```", steps, re.S) if "openssl" in block]
    shutil.copy(compose.EXAMPLE, tmp_path)
    subprocess.run(["sh", "-euc", command], cwd=tmp_path, check=True)
    made = tmp_path / ".env"
    values = dict(line.split("=", 1) for line in made.read_text().splitlines() if re.match("[A-Z]", line))
    assert {name for name, value in compose.example().items() if not value} - compose.given_on() == set(values)
    assert len(set(values.values())) == len(values) and all(re.fullmatch("[0-9a-f]{48}", v) for v in values.values())
    assert made.stat().st_mode & 0o077 == 0
    compose.interpolated(SERVICES, values)  # no LookupError: nothing that must be set is missing


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_contained(name):
    service = SERVICES[name]
    assert service["read_only"] is True and service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "network_mode", "pid", "ipc", "devices", "env_file"} & set(service)
    assert int(service["user"].partition(":")[0]) > 0
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}
    assert not any("docker.sock" in mount for mount in service.get("volumes", []))
    assert service["restart"] == ("no" if name in ONE_SHOT else "unless-stopped")
    assert ("healthcheck" in service) == (name not in ONE_SHOT)


# What the schema lets pass and engines refuse: compose-go's loader (validate.go), each with the words it uses.
TWICE = {"pids_limit": "pids", "mem_limit": "memory", "cpus": "cpus"}


@pytest.mark.parametrize("name", SERVICES)
def test_an_engine_refuses_nothing_of_a_service(name):
    service, whole = SERVICES[name], compose.declared()
    limits = service["deploy"]["resources"]["limits"]
    for own, limit in TWICE.items():  # "can't set distinct values on 'pids_limit' and 'deploy.resources.limits.pids'"
        assert own not in service or service[own] == limits.get(limit), own
    assert "scale" not in service and "container_name" not in service
    assert {"mem_reservation", "memswap_limit"}.isdisjoint(service)
    assert {"image", "build"} & set(service)  # "has neither an image nor a build context specified"
    assert not {"network_mode", "networks"} <= set(service)  # "declares mutually exclusive"
    assert not {"dockerfile", "dockerfile_inline"} <= set(service.get("build", {}))
    assert set(service["networks"]) <= set(whole["networks"])  # "refers to undefined network"
    named = [mount.partition(":")[0] for mount in service.get("volumes", [])]
    assert {one for one in named if one[0] not in "./~"} <= set(whole["volumes"])
    assert set(service.get("build", {}).get("secrets", [])) <= set(whole["secrets"])
    assert set(service.get("depends_on", {})) <= set(SERVICES)  # "depends on undefined service"
    profiles = set(service.get("profiles", []))
    for other in service.get("depends_on", {}):  # a service of another profile would not be there
        assert set(SERVICES[other].get("profiles", [])) <= profiles, other
    test = service.get("healthcheck", {}).get("test", ["NONE"])
    assert test[0] in {"NONE", "CMD", "CMD-SHELL"}
    for device in service["deploy"]["resources"].get("reservations", {}).get("devices", []):
        assert device["capabilities"]  # "capabilities attribute is required"
        assert not {"count", "device_ids"} <= set(device)
    targets = [mount.split(":")[1] for mount in service.get("volumes", [])]
    targets += [mount.partition(":")[0] for mount in service.get("tmpfs", [])]
    assert len(targets) == len(set(targets))  # "Duplicate mount point"


@pytest.mark.parametrize("name", WORKERS)
def test_a_compiler_can_load_what_it_wrote_to_tmp(name):
    (options,) = [mount.partition(":")[2] for mount in SERVICES[name]["tmpfs"] if mount.startswith("/tmp")]
    assert "exec" in options.split(",")  # else it is noexec: moby, pkg/mount, default tmpfs options


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_reached_from_this_machine_only(name):
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))
    assert ("ports" in SERVICES[name]) == (name in {"prefect", "mlflow", "store", "serve"})
    assert compose.declared()["networks"]["inside"] == {"internal": True}
    alone = {"postgres", "buckets", "simulators", "worker-rehearsal"}
    assert (SERVICES[name]["networks"] == ["inside"]) == (name in alone)


@pytest.mark.parametrize("name", SERVICES)
def test_an_image_is_pinned_and_a_password_is_never_written_down(name):
    image, _, tag = SERVICES[name]["image"].partition(":")
    assert image and re.search(r"\d+\.\d+", tag) and tag != "latest"
    written = {k: v for k, v in SERVICES[name]["environment"].items() if v is not None and SECRET.search(k)}
    written.pop("OPENAI_API_KEY", None)  # the simulators'
    assert all(re.fullmatch(r"(admin:)?\$\{\w+:\?[^}]+\}", value) for value in written.values())
    assert not any("PASSWORD" in word or "SECRET" in word for word in SERVICES[name]["command"])


def test_services_start_in_an_order_that_ends():
    started: list[str] = []
    while len(started) < len(SERVICES):
        ready = [n for n, s in SERVICES.items() if n not in started and set(s.get("depends_on", {})) <= set(started)]
        assert ready, f"{set(SERVICES) - set(started)} wait for each other"
        started += ready
    for service in SERVICES.values():
        for other, wanted in service.get("depends_on", {}).items():
            ends = other in ONE_SHOT
            assert wanted["condition"] == ("service_completed_successfully" if ends else "service_healthy")


def test_results_are_json_and_both_servers_ask_for_a_password():
    for name in ("prefect", "deploy", "deploy-rehearsal", "serve", *WORKERS):
        assert SERVICES[name]["environment"]["PREFECT_RESULTS_DEFAULT_SERIALIZER"] == "json"
    assert "PREFECT_SERVER_API_AUTH_STRING" in SERVICES["prefect"]["environment"]
    assert {"--app-name=basic-auth", "--serve-artifacts"} <= set(SERVICES["mlflow"]["command"])


def test_a_rehearsal_knows_no_key_of_a_provider():
    environment = SERVICES["worker-rehearsal"]["environment"]
    assert None not in environment.values() and environment["OPENAI_API_KEY"] == "sk-simulated"
    assert environment["SHARDTUNE_ROOT"] != SERVICES["worker"]["environment"]["SHARDTUNE_ROOT"]


def test_podman_gets_every_dependency_reset_and_every_service_started():
    folder = compose.TOP / "deployments/compose"
    text = (folder / "podman.yaml").read_text()
    waits = [name for name, service in SERVICES.items() if "depends_on" in service]
    assert re.findall(r"(?m)^  ([\w-]+): \{depends_on: !reset \{\}\}$", text) == waits
    (order,) = re.findall(r"(?m)^services=\"(.*)\"$", (folder / "podman.sh").read_text())
    assert set(order.split()) == {name for name, service in SERVICES.items() if "profiles" not in service}
    for n, name in enumerate(order.split()):
        assert set(SERVICES[name].get("depends_on", {})) <= set(order.split()[:n])


def test_prefect_makes_its_page_where_it_may_write():
    service = SERVICES["prefect"]
    assert (
        service["environment"]["PREFECT_SERVER_UI_STATIC_DIRECTORY"].startswith("/tmp/") and "/tmp" in service["tmpfs"]
    )


MERGE = "tag:yaml.org,2002:merge"


def merged(node: yaml.Node) -> list[yaml.Node]:
    """What a mapping merges."""
    found = [value for key, value in node.value if key.tag == MERGE] if isinstance(node, yaml.MappingNode) else []
    return [one for value in found for one in (value.value if isinstance(value, yaml.SequenceNode) else [value])]


def keys(node: yaml.Node) -> set[str]:
    """The keys of a mapping, those that it merges included."""
    return {key.value for key, _ in node.value if key.tag != MERGE}.union(*map(keys, merged(node)))


def below(node: yaml.Node) -> Iterator[yaml.Node]:
    yield node
    for one in node.value if isinstance(node, yaml.CollectionNode) else ():
        for inner in one if isinstance(one, tuple) else (one,):
            yield from below(inner)


def test_no_two_mappings_that_are_merged_say_different_things():
    """Readers differ in which of them wins: PyYAML 6.0.3 and 6.0.4 read two images for one service."""
    lists = [merged(node) for node in below(yaml.compose(compose.FILE.read_text()))]
    assert sum(len(one) > 1 for one in lists) > 10
    for one in lists:
        names = [name for mapping in one for name in keys(mapping)]
        assert len(names) == len({*names}), sorted(name for name in {*names} if names.count(name) > 1)


def test_a_rehearsal_asks_for_no_budget_since_nobody_knows_a_price_at_the_simulators():
    written = yaml.safe_load((compose.TOP / "deployments/rehearsal.yaml").read_text())
    tuning = [one for one in written["deployments"] if "finetune" in one["entrypoint"]]
    assert len(tuning) > 2
    for one in tuning:
        (step,) = [build["deployments.steps.recipe"] for build in one["build"] if "deployments.steps.recipe" in build]
        assert steps.recipe(**step)["recipe"]["budget_usd"] is None, one["name"]
