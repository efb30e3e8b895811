"""The wheel has every file that the installed package needs: setuptools' own list of it, held against the tree."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from setuptools import Distribution

pytestmark = pytest.mark.filterwarnings("ignore:")  # setuptools would like folders of data to be packages
TOP = Path(__file__).parent.parent
# What only a checkout needs: images, manifests and the folder's page.
CHECKOUT = (
    "deployments/Dockerfile",
    "deployments/README.md",
    "deployments/compose/",
    "deployments/kubernetes/",
    "deployments/rehearsal.yaml",
    "deployments/standins/",
)


def tracked() -> set[str]:
    """Files of the package's folders that git knows, or would add."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "flows", "tasks", "deployments"]
    listed = subprocess.run(command, cwd=TOP, capture_output=True, text=True)
    if listed.returncode != 0:
        pytest.skip("no git checkout")
    return {name for name in listed.stdout.splitlines() if (TOP / name).exists()}


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Files that a wheel would hold, without building one."""
    monkeypatch.chdir(TOP)
    project = Distribution({"script_name": "setup.py"})
    project.parse_config_files()
    project.include_package_data = False  # else a list that an earlier installation left here adds to what is named
    build = project.get_command_obj("build_py")
    build.ensure_finalized()
    build.build_lib = str(tmp_path)  # type: ignore[attr-defined]
    return {str(Path(name).relative_to(tmp_path)) for name in build.get_outputs(include_bytecode=False)}  # type: ignore[attr-defined]


def test_the_wheel_has_every_file_of_the_package(wheel):
    needed = {name for name in tracked() if name.endswith(".py") or not name.startswith(CHECKOUT)}
    assert {"tasks/py.typed", "deployments/recipes/demo.yaml", "tasks/serving/page/page.html"} <= needed
    assert needed - wheel == set(), "name these in [tool.setuptools.package-data] of pyproject.toml"


def test_the_wheel_has_nothing_else(wheel):
    assert wheel - tracked() == set()
    assert not {name for name in wheel if name.startswith("tests/")}
