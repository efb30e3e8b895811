"""Register: work pools and deployments of prefect.yaml on the Prefect server of the settings, where they have changed.

python -m deployments.register
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from deployments import steps
from tasks import recipes

TOP = Path(__file__).parent.parent
FILE = Path(__file__).parent / "prefect.yaml"
# What deployments and their forms are made from.
SOURCES = ("deployments/prefect.yaml", "deployments/steps.py", "deployments/recipes/*.yaml", "flows/*.py", "tasks/*.py")
MARK = "shardtune_registered"


def register() -> bool:
    """Make the pools, then run `prefect deploy`; False where the server has this very state already.

    The mark is a variable of the server, so it goes where the deployments go. RuntimeError with Prefect's own words
    where it refuses one.
    """
    from prefect.variables import Variable

    state = digest()
    if Variable.get(MARK) == state:
        return False
    pools()
    call = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(FILE)]
    done = subprocess.run(call, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"`prefect deploy` of {str(FILE)!r} failed: {(done.stdout + done.stderr)[-2000:]}")
    Variable.set(MARK, state, overwrite=True)
    return True


def pools() -> None:
    """The work pools of the file, each with its limit."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.workers.process import ProcessWorker

    template = ProcessWorker.get_default_base_job_template()
    with get_client(sync_client=True) as client:
        for name, wanted in declared()["pools"].items():
            client.create_work_pool(WorkPoolCreate(name=name, base_job_template=template, **wanted), overwrite=True)


def declared() -> dict[str, Any]:
    """prefect.yaml as it is written."""
    return dict(yaml.safe_load(FILE.read_text(encoding="utf-8")))


def digest() -> str:
    """What tells one state of the deployments from another; the folder is part of it, since flow runs work there."""
    there = [steps.recipe(name)["there"] for name in recipes.names()]
    hasher = hashlib.sha256(f"{os.getcwd()}{there}".encode())
    for path in sorted(path for pattern in SOURCES for path in TOP.glob(pattern)):
        hasher.update(path.read_bytes())
    return hasher.hexdigest()[:32]


if __name__ == "__main__":
    print("registered" if register() else "nothing has changed since these deployments were registered")
