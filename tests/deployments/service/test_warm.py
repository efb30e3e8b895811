"""What the installation compiles is really there, and covers what the command line and its server import."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from deployments.service.warm import MODULES

TOP = Path(__file__).parents[3]


def test_every_module_exists():
    """Of packages that are not ours only the first name is looked up: a longer one would import it."""
    ours = [name for name in MODULES if name.split(".")[0] in ("flows", "tasks", "deployments")]
    assert [name for name in ours if not TOP.joinpath(*name.split(".")).with_suffix(".py").exists()] == []
    assert [name for name in MODULES if find_spec(name.split(".")[0]) is None] == []
    assert {"flows.retrain", "deployments.service.background", "prefect.server.api.server"} <= set(MODULES)
