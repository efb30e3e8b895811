"""Images: rules of deployments/Dockerfile without an engine, and a look inside the image that SHARDTUNE_IMAGE names."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from deployments.compose.requirements import requirements
from tests.kit import compose

PROJECT = compose.TOP / "pyproject.toml"
DOCKERFILE = (compose.TOP / "deployments/Dockerfile").read_text()
IGNORED = (compose.TOP / ".dockerignore").read_text().splitlines()
STAGES = {part.split(" AS ")[1].split("\n")[0]: part for part in DOCKERFILE.split("\nFROM ")[1:]}
IMAGE = os.environ.get("SHARDTUNE_IMAGE", "")
ENGINE = shutil.which(os.environ.get("ENGINE", "podman")) or shutil.which("docker")
# Modules that docker-compose.yml runs in the servers' image, health checks included.
SERVED = {
    words[number + 1]
    for service in compose.declared()["services"].values()
    if service["image"] == "shardtune:0.1.0"
    for words in (service["command"], service.get("healthcheck", {}).get("test", []))
    for number, word in enumerate(words)
    if word == "-m"
}


def copied(stage: str) -> list[str]:
    lines = [line.split()[1:-1] for line in STAGES[stage].splitlines() if line.startswith("COPY ")]
    return [word for words in lines for word in words if not word.startswith("--")]


def test_no_secret_can_get_into_an_image():
    named = [word for stage in STAGES for word in copied(stage)]
    assert named and all(w.startswith("/") or (compose.TOP / w).exists() for w in named)
    assert not re.search(r"(?mi)^(?:ARG|ENV|ADD) .*(?:PASSWORD|SECRET|TOKEN|KEY|\.env)", DOCKERFILE)
    assert IGNORED[1] == "*" and {"**/.env*", "**/account.json", "deployments/standins"} <= set(IGNORED)
    let_through = [line[1:] for line in IGNORED if line.startswith("!")]
    assert set(let_through) == {w for w in named if not w.startswith(("/", "deployments/"))}
    assert ".env" in (compose.TOP / ".gitignore").read_text().splitlines()


def test_images_end_as_somebody_and_their_bases_are_pinned_arguments():
    assert list(STAGES) == ["tools", "packages", "code", "shardtune", "store"]
    for name in ("shardtune", "store"):
        assert re.findall(r"(?m)^USER (\S+)", STAGES[name])[-1] == "10001:10001"
    bases = dict(re.findall(r"(?m)^ARG (PYTHON|GATEWAY)=(\S+)", DOCKERFILE.split("\nFROM ")[0]))
    assert re.fullmatch(r"docker\.io/library/python:3\.11\.\d+-[\w-]+", bases["PYTHON"])
    assert re.fullmatch(r"docker\.io/versity/versitygw:v\d+\.\d+\.\d+", bases["GATEWAY"])
    known = {"${PYTHON}", "${GATEWAY}", *STAGES}
    assert all(part.split(" AS ")[0] in known for part in STAGES.values())


def test_a_change_of_the_code_leaves_the_packages_alone():
    assert set(copied("tools") + copied("packages")) == {
        "pyproject.toml",
        "constraints.txt",
        "deployments/compose/requirements.py",
    }
    assert "secret,id=pip" in STAGES["packages"] and "secret" not in STAGES["shardtune"]
    assert copied("shardtune") == ["/opt/shardtune", "/app"]  # packages first


@pytest.mark.skipif(
    not shutil.which("hadolint", path=str(Path(sys.executable).parent)), reason="hadolint is not installed"
)
@pytest.mark.parametrize("file", ["deployments/Dockerfile", "deployments/standins/Dockerfile"])
def test_a_linter_finds_nothing(file):
    # DL3008: Debian keeps one version of a package; DL3066: the numeric user is meant.
    linter = str(Path(sys.executable).with_name("hadolint"))
    done = subprocess.run(
        [linter, "--no-color", "--ignore=DL3008", "--ignore=DL3066", str(compose.TOP / file)],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_the_workflow_builds_what_the_dockerfile_has():
    text = (compose.TOP / ".github/workflows/images.yml").read_text()
    assert text.startswith("# Never run here")
    read = yaml.safe_load(text)
    for one in read["jobs"]["image"]["strategy"]["matrix"]["include"]:
        assert one.get("target", "shardtune") in STAGES
        words = [word for word in one.get("arguments", "").split("\n") if word]
        assert all(f"ARG {word.partition('=')[0]}=" in DOCKERFILE for word in words)
        extras = [word.partition("=")[2] for word in words if word.startswith(("EXTRAS", "GROUP"))]
        assert not extras or requirements(extras[0].split(","), PROJECT)


def imported(module: str, seen: dict[str, set[str]]) -> None:
    """Every module of ours that `module` leads to, with the top names of what others wrote that it imports."""
    path = compose.TOP / module.replace(".", "/")
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    if module in seen or not file.exists():
        return
    seen[module] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            top = name.split(".")[0]
            if top in ("flows", "tasks", "deployments"):
                imported(name, seen)
            elif top not in sys.stdlib_module_names:
                seen[module].add(top)


def brought(names: set[str], found: set[str]) -> set[str]:
    """Packages of these names and all that they depend on, extras left out."""
    for name in {re.sub(r"[-_.]+", "-", name).lower() for name in names} - found:
        found.add(name)
        try:
            needs = [Requirement(one) for one in requires(name) or []]
        except PackageNotFoundError:
            continue
        brought({one.name for one in needs if one.marker is None or one.marker.evaluate({"extra": ""})}, found)
    return found


def test_the_servers_group_has_what_the_servers_import():
    seen: dict[str, set[str]] = {"flows.serve": set(), "tasks.serving.limits": set()}  # this image serves no models
    assert {"deployments.service.door", "deployments.compose.alive", "deployments.compose.buckets"} <= SERVED
    for module in SERVED:
        imported(module, seen)
    group = {Requirement(one).name for one in requirements(["server"], PROJECT)}
    there = brought(group, {"mlflow"})
    owners = packages_distributions()
    for module, names in seen.items():
        for name in names:
            assert there & {re.sub(r"[-_.]+", "-", one).lower() for one in owners[name]}, f"{module} imports {name}"
    assert not there & {"torch", "pyarrow", "scikit-learn", "scipy", "matplotlib", "datasets"}


def test_groups_ask_for_what_the_package_asks_for():
    project = {Requirement(one).name: one for one in requirements(["project"], PROJECT)}
    for one in requirements(["server"], PROJECT):
        assert project.get(Requirement(one).name, one) == one
    pinned = dict(line.split("==") for line in (compose.TOP / "constraints.txt").read_text().split() if "==" in line)
    assert pinned["mlflow"] == pinned["mlflow-skinny"] == pinned["mlflow-tracing"]


def test_an_extra_that_takes_others_is_written_out():
    found = requirements(["rehearsal"], PROJECT)
    assert not any(one.startswith("shardtune") for one in found) and any(one.startswith("openai") for one in found)
    with pytest.raises(KeyError, match="no-such"):
        requirements(["no-such"], PROJECT)


@pytest.mark.skipif(
    not (ENGINE and IMAGE), reason="needs an engine, and SHARDTUNE_IMAGE=shardtune:TAG of an image it has"
)
def test_inside_an_image():
    look = """
import glob, json, os, shutil, sys
bill = json.load(open("/opt/shardtune/bill.cdx.json"))
packages = glob.glob("/opt/shardtune/lib/python3*/site-packages")[0]
print(json.dumps({
    "uid": os.getuid(), "bill": [bill["bomFormat"], len(bill["components"])],
    "there": [name for name in ("pip", "gcc", "cc", "make", "strip") if shutil.which(name)],
    "left": [n for n in ("/etc/pip.conf", "/root/.cache/pip", "/opt/tools", packages + "/pip") if os.path.exists(n)],
    "tests": glob.glob(packages + "/*/tests"), "keys": [n for n in os.environ if "KEY" in n or "PASSWORD" in n],
    "compiled": bool(glob.glob("/app/flows/__pycache__/*.pyc")),
    "standins": os.path.exists("/app/deployments/standins"),
}))
"""
    run = [str(ENGINE), "run", "--rm", "--network", "none", "--read-only", "--tmpfs", "/tmp", IMAGE]
    seen = json.loads(subprocess.run([*run, "python", "-c", look], capture_output=True, text=True, check=True).stdout)
    assert seen.pop("bill")[0] == "CycloneDX"
    assert seen == {
        "uid": 10001,
        "there": [],
        "left": [],
        "tests": [],
        "keys": [],
        "compiled": True,
        "standins": False,
    }
    shown = subprocess.run([str(ENGINE), "image", "inspect", IMAGE], capture_output=True, text=True, check=True).stdout
    labels = json.loads(shown)[0]["Config"]["Labels"]
    assert {"title", "version", "revision", "licenses"} <= {name.rpartition(".")[2] for name in labels}
