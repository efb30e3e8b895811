"""Where state lives, read from the environment; everything has a default under one root.

`SHARDTUNE_ROOT` (default `.shardtune/`) holds shards, exports, adapters and jobs; it may be a URI that fsspec
opens, and then what must be local lies under `SHARDTUNE_LOCAL` (the same default). MLflow and Prefect keep their state
beside it unless `MLFLOW_TRACKING_URI`, `PREFECT_HOME` or `PREFECT_API_URL` say otherwise.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from tasks.core import imports, processes, redaction
from tasks.core.errors import RecipeError

ROOT_VARIABLE = "SHARDTUNE_ROOT"
DASK_VARIABLE = "SHARDTUNE_DASK"
PAGES_VARIABLE = "SHARDTUNE_MLFLOW_PAGES"
LOCAL_VARIABLE = "SHARDTUNE_LOCAL"  # a worker starts each run in another folder; its jobs must stay in one

# Names at the first level of a root that are shardtune's. Anything else there belongs to a person and is left alone.
OURS = re.compile(
    r"adapters|calls|catalogue|datasets|demo|exports|index|jobs|locks|logs|mlartifacts|mlflow.*|models|prefect|rehearsal|"
    r"retrain|server|shards|unsloth|[a-z-]+\.json|.*\.(lock|part)"
)
UMASK_VARIABLE = "SHARDTUNE_UMASK"  # the person's umask, for children of a process that called `enter`
_umask = os.umask(0)  # the umask can only be read by setting it
os.umask(_umask)
with suppress(ValueError):
    _umask = int(os.environ.get(UMASK_VARIABLE, ""), 8) & 0o777

# Needed by every process that runs a flow: the command line sets it here, workers get it from the deployments.
EVERYWHERE = {
    "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",  # a pickle runs code when it is read
    "PREFECT_LOGGING_EXTRA_LOGGERS": "flows,tasks",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    "DO_NOT_TRACK": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # Artifacts come through MLflow's server. The store's own address is one that only the stack may know, and a client
    # elsewhere would try it for minutes.
    "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # a command that says --json prints nothing else
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "UNSLOTH_DISABLE_STATISTICS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    # Retry an object store that answers 503 for about a minute; the default is a few seconds.
    "AWS_RETRY_MODE": "standard",
    "AWS_MAX_ATTEMPTS": "12",
    # Waiting threads yield the core. Measured on 2 cores with linear layers, forward and back: as fast on an idle
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


def pages() -> str:
    """Where a browser finds MLflow, without a `/` at the end: `SHARDTUNE_MLFLOW_PAGES`, else the tracking URI."""
    return (os.environ.get(PAGES_VARIABLE) or redaction.redacted(tracking_uri())).rstrip("/")


def artifact_location() -> str | None:
    """Where MLflow keeps artifacts when its store is the default SQLite; None leaves it to the server."""
    return (local_root() / "mlartifacts").as_uri() if tracking_uri() == _sqlite() else None


def prefect_home() -> str:
    """Where Prefect keeps its own state."""
    named = os.environ.get("PREFECT_HOME")
    return str(Path(named).expanduser()) if named else str(local_root() / "prefect")


def secret(variable: str) -> str | None:
    """The value of an environment variable; inside a flow also of the Prefect Secret block of that name."""
    value = os.environ.get(variable)
    if value or "prefect" not in sys.modules:
        return value
    from tasks.orchestrator import secrets

    return secrets.read(variable)


def service() -> dict[str, Any]:
    """The process records that `shardtune up` wrote of itself and its children, by name; empty where it never ran."""
    name = local_root() / "service.json"
    if not name.exists():
        return {}
    from tasks.core import store  # only where there is something to read: every command asks

    known = store.read(str(name)) or {}
    return {
        child: record
        for child, record in known.items()
        if isinstance(record, dict) and {"pid", "started"} <= set(record)
    }


def served() -> dict[str, str]:
    """Addresses of the running servers of `shardtune up`, by their environment variable."""
    names = {"prefect": "PREFECT_API_URL", "mlflow": "MLFLOW_TRACKING_URI"}
    return {names[name]: child["url"] for name, child in service().items() if name in names and processes.alive(child)}


def find() -> None:
    """Point this process to the running servers of this root, with their login. A person's variables stay."""
    _directly()
    for name, url in served().items():
        os.environ.setdefault(name, url)
    log_in()


def _directly() -> None:
    """Bypass proxies for the servers of this machine: a proxy could not reach them, but would receive the login."""
    names = ("no_proxy", "NO_PROXY")
    if not any(name.lower() in ("http_proxy", "all_proxy") and value for name, value in os.environ.items()):
        return
    given = next((value for name in names if (value := os.environ.get(name))), "")
    if "*" not in given:
        own = [host for host in ("127.0.0.1", "localhost") if host not in given.split(",")]
        os.environ.update(dict.fromkeys(names, ",".join([*filter(None, [given]), *own])))


def log_in() -> None:
    """Give this process the password of its servers, if they are those of this root."""
    from tasks.core import access

    ours = {name: url for name, url in served().items() if os.environ.get(name) == url}
    if ours:
        os.environ.update(access.client(ours))


def usable(home: Path) -> None:
    """Create the folder of the root if it is missing. ServiceError where it cannot be created or written to."""
    from tasks.core.errors import ServiceError

    variable = ROOT_VARIABLE if "://" not in root() else LOCAL_VARIABLE
    try:
        home.mkdir(parents=True, exist_ok=True)
        reason = "" if os.access(home, os.W_OK | os.X_OK) else "you may not write there"
    except OSError as error:
        reason = error.strerror or str(error)
    if reason:
        raise ServiceError(f"the root {str(home)!r} cannot be used ({reason}): set {variable} to a folder of your own")


def mode(path: Path, most: int = 0o666) -> int:
    """The permissions of a new file (of a folder: `most=0o777`): the owner's alone in the state."""
    return most & (0o700 if path.is_relative_to(local_root()) else ~_umask)


def tighten(home: Path) -> None:
    """Remove permissions of other accounts that an older version left on the state in `home`. Foreign files stay.

    Cheap once it is done: then only the first level is checked.
    """
    with suppress(OSError):
        # A link that a person made, to a larger or a shared disk, keeps the permissions of its target.
        entries = [entry for entry in home.iterdir() if not entry.is_symlink()]
        if all(OURS.fullmatch(entry.name) for entry in entries):
            entries.append(home)
        for entry in entries:
            if (OURS.fullmatch(entry.name) or entry == home) and entry.lstat().st_mode & 0o077:
                below = [Path(folder, name) for folder, *names in os.walk(entry) for some in names for name in some]
                for path in [
                    *(below if entry != home else ()),
                    entry,
                ]:  # the entry last: its mode marks the work as complete
                    with suppress(OSError):
                        if not path.is_symlink():
                            path.chmod(path.stat().st_mode & 0o700)


def enter() -> None:
    """Set the defaults that Prefect, MLflow and Hugging Face read at import. Call before importing them.

    Variables that a person has set stay. Running servers of `shardtune up` are used. Telemetry of libraries is off.
    """
    global _umask
    before = os.umask(0o077)  # files of this process, its libraries and children are readable by this account alone
    _umask = before if before != 0o077 else _umask
    os.environ[UMASK_VARIABLE] = f"{_umask:o}"
    home = local_root()
    usable(home)
    tighten(home)
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
    imports.seldom()
    redaction.logs()
    for ours in ("flows", "tasks"):
        logging.getLogger(ours).setLevel(logging.INFO)  # for the log that Prefect keeps of a run
