"""Where state lives, read from the environment; everything has a default under one root.

`SHARDTUNE_ROOT` (default `.shardtune/`) holds shards, exports, adapters and jobs; it may be a URI that fsspec
opens, and then what must be local lies under `SHARDTUNE_LOCAL` (the same default). MLflow and Prefect keep their state
beside it unless `MLFLOW_TRACKING_URI`, `PREFECT_HOME` or `PREFECT_API_URL` say otherwise.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from tasks import processes, redaction
from tasks.errors import RecipeError

ROOT_VARIABLE = "SHARDTUNE_ROOT"
DASK_VARIABLE = "SHARDTUNE_DASK"
LOCAL_VARIABLE = "SHARDTUNE_LOCAL"  # a worker starts each run in another folder; its jobs must stay in one

# What every process that runs a flow needs, whoever starts it: the command line here, a worker by the deployments.
EVERYWHERE = {
    "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",  # whoever can write a pickle runs code where it is read
    "PREFECT_LOGGING_EXTRA_LOGGERS": "flows,tasks",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    "DO_NOT_TRACK": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # a command that says --json prints nothing else
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "UNSLOTH_DISABLE_STATISTICS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    # An object store that answers 503 is asked again for about a minute, not for some seconds.
    "AWS_RETRY_MODE": "standard",
    "AWS_MAX_ATTEMPTS": "12",
    # Threads that wait give the core away. Linear layers, forward and back, on 2 cores: as fast on an idle
    # machine, 1.7 times as fast beside one busy process.
    "OMP_WAIT_POLICY": "PASSIVE",
}


def root() -> str:
    """The root URI: absolute when it is a local path, as given when it has a scheme (`s3://…`)."""
    value = os.environ.get(ROOT_VARIABLE) or ".shardtune"
    if refused := redaction.refusal(ROOT_VARIABLE, value):  # every record would hold it
        raise RecipeError(refused)
    return value.rstrip("/") if "://" in value else str(Path(value).expanduser().resolve())


def dask() -> str | None:
    """The address of the Dask scheduler (`tcp://…`, `tls://…`) that runs data tasks; None: they run here."""
    return os.environ.get(DASK_VARIABLE) or None


def local_root() -> Path:
    """A folder on this machine for what must be local (locks, jobs, SQLite): the root itself where it is one."""
    value = root()
    if "://" not in value:
        return Path(value)
    return Path(os.environ.get(LOCAL_VARIABLE) or ".shardtune").expanduser().resolve()


def _sqlite() -> str:
    return f"sqlite:///{local_root() / 'mlflow.db'}"


def tracking_uri() -> str:
    """The MLflow tracking URI; SQLite under the root by default."""
    return os.environ.get("MLFLOW_TRACKING_URI") or _sqlite()


def artifact_location() -> str | None:
    """Where MLflow keeps artifacts when its store is the default SQLite; None leaves it to the server."""
    return (local_root() / "mlartifacts").as_uri() if tracking_uri() == _sqlite() else None


def prefect_home() -> str:
    """Where Prefect keeps its own state."""
    return os.environ.get("PREFECT_HOME") or str(local_root() / "prefect")


def secret(variable: str) -> str | None:
    """The value of an environment variable, or in a flow of the Prefect Secret block that stands for it."""
    value = os.environ.get(variable)
    if value or "prefect" not in sys.modules:
        return value
    from tasks import vault

    return vault.read(variable)


def service() -> dict[str, Any]:
    """What `shardtune up` wrote of itself and of its children, by name; empty where it never ran."""
    with suppress(FileNotFoundError):
        return dict(json.loads((local_root() / "service.json").read_text(encoding="utf-8")))
    return {}


def served() -> dict[str, str]:
    """Where the servers of a running `shardtune up` are; what died and left its record is passed over."""
    names = {"prefect": "PREFECT_API_URL", "mlflow": "MLFLOW_TRACKING_URI"}
    return {names[name]: child["url"] for name, child in service().items() if name in names and processes.alive(child)}


def find() -> None:
    """Lead this process to the servers of this root where they run, and log in; nothing a person has set is changed."""
    for name, url in served().items():
        os.environ.setdefault(name, url)
    log_in()


def log_in() -> None:
    """Give this process the password of the servers it is led to, where they are those of this root."""
    from tasks import access

    ours = {name: url for name, url in served().items() if os.environ.get(name) == url}
    if ours:
        os.environ.update(access.client(ours))


def usable(home: Path) -> None:
    """Make the folder of the root where it is not there; ServiceError where that, or writing in it, is not possible."""
    from tasks.errors import ServiceError

    variable = ROOT_VARIABLE if "://" not in root() else LOCAL_VARIABLE
    try:
        home.mkdir(parents=True, exist_ok=True)
        reason = "" if os.access(home, os.W_OK | os.X_OK) else "you may not write there"
    except OSError as error:
        reason = error.strerror or str(error)
    if reason:
        raise ServiceError(f"the root {str(home)!r} cannot be used ({reason}): set {variable} to a folder of your own")


def enter() -> None:
    """Set the defaults that Prefect, MLflow and Hugging Face read at import. Call before importing them.

    Nothing a person has set is changed. Servers of a running `shardtune up` are found. Telemetry of all of them is off:
    a run speaks to nobody unasked.
    """
    home = local_root()
    usable(home)
    find()
    places = {
        "PREFECT_HOME": prefect_home(),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        # The first start makes the database, which takes longer than the default 20 s on a small machine.
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
        "MLFLOW_TRACKING_URI": tracking_uri(),
        "HF_DATASETS_CACHE": str(home / "datasets"),
    }
    for name, value in (EVERYWHERE | places).items():
        os.environ.setdefault(name, value)
    redaction.logs()
    for ours in ("flows", "tasks"):
        logging.getLogger(ours).setLevel(logging.INFO)  # for the log that Prefect keeps of a run
