"""Blank: an empty database of the Prefect server, with all its tables, kept in this environment.

Prefect makes a database by more than a hundred migrations, which takes longer than the rest of the server's start. They
run once for an environment and a version of Prefect (`python -m deployments.service.blank`, or the first server of any
root); each root then begins with a copy. Nothing of a root is ever in it.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing, suppress
from importlib.metadata import version
from pathlib import Path

URL = "PREFECT_API_DATABASE_CONNECTION_URL"


def kept() -> Path:
    """Where this environment keeps the empty database of its version of Prefect."""
    return Path(sys.prefix) / "share" / "shardtune" / f"prefect-{version('prefect')}.db"


def put(home: str | Path) -> None:
    """Put a copy under PREFECT_HOME where no database is yet and the settings name no other.

    Where that cannot be done, Prefect makes its database itself, as it would have.
    """
    target = Path(home) / "prefect.db"
    if os.environ.get(URL) or target.exists():
        return
    with suppress(OSError, sqlite3.Error, subprocess.CalledProcessError):
        source = made()
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            copy = Path(shutil.copyfile(source, Path(folder) / target.name))
            copy.chmod(0o600)
            os.link(copy, target)  # fails where another process was first


def made() -> Path:
    """The empty database, made where there is none."""
    target = kept()
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            full, copy = Path(folder) / "migrated.db", Path(folder) / target.name
            env = os.environ | {URL: f"sqlite+aiosqlite:///{full}", "PREFECT_HOME": folder}
            call = [sys.executable, "-P", "-m", "prefect", "server", "database", "upgrade", "--yes"]
            subprocess.run(call, env=env, check=True, capture_output=True)
            with closing(sqlite3.connect(full)) as source, closing(sqlite3.connect(copy)) as made:
                source.backup(made)
            os.replace(copy, target)
    return target


if __name__ == "__main__":
    print(made())
