"""A `shardtune` command that stands still at a moment, so that a test can kill it there: `python -m
tests.kit.stopped MOMENT MARKER COMMAND…`. The file MARKER is there once it stands.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from prefect.settings import PREFECT_API_URL

MOMENTS = ("register", "settle", "alias")  # nothing registered; registered, nothing decided; decided, under the lock


def killed(moment: str, marker: Path, *command: str) -> None:
    """Run the command in a process of its own, and end that with SIGKILL at the moment."""
    call = [sys.executable, "-m", "tests.kit.stopped", moment, str(marker), *command]
    process = subprocess.Popen(
        call, env=os.environ | {"PREFECT_API_URL": PREFECT_API_URL.value()}, text=True, stderr=subprocess.PIPE
    )
    try:
        while not marker.exists() and process.poll() is None:
            time.sleep(0.02)
    finally:
        process.kill()
        _, errors = process.communicate()
    assert process.returncode == -signal.SIGKILL, errors


def _stand(marker: str) -> Any:
    def still(*_: Any, **__: Any) -> None:
        Path(marker).touch()
        signal.pause()

    return still


def main(moment: str, marker: str, *command: str) -> None:
    """The command, with what comes after the moment replaced by standing still."""
    from mlflow import MlflowClient

    from flows.cli import main as cli
    from tasks.record import aliases

    owner, name = (MlflowClient, "set_registered_model_alias") if moment == "alias" else (aliases, moment)
    setattr(owner, name, _stand(marker))
    sys.argv = ["shardtune", *command]
    cli.main()


if __name__ == "__main__":
    main(*sys.argv[1:])
