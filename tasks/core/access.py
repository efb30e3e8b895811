"""Access: the password of a root, and the variables by which each process gets it.

The first `up` (or the first command that starts a server of this root) makes a password. `access.json` in the root's
local folder keeps it, readable by its owner alone; every later command of this root reads it there. It never appears on
a command line, in a log or a recipe, and no server of another root receives it.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock

from tasks.core import settings
from tasks.core.errors import ServiceError

USER = "admin"
OWN = "PREFECT_SERVER_API_AUTH_STRING"  # set by a person who chooses the login of the Prefect server
# What a process needs to talk to the servers of this root. A process that does not (a trainer) is started without them.
CLIENT = ("PREFECT_API_AUTH_STRING", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")


class Access(NamedTuple):
    """The logins of this root's servers."""

    prefect: str  # `user:password`, in one string as Prefect wants it
    password: str  # of USER, in MLflow


def path() -> Path:
    """The file of the password."""
    return settings.local_root() / "access.json"


def known() -> Access | None:
    """The existing logins; None where none were made yet. ServiceError where other accounts can read the file."""
    try:
        with path().open(encoding="utf-8") as stream:
            about, text = os.fstat(stream.fileno()), stream.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ServiceError(
            f"the password file {str(path())!r} cannot be read ({error.strerror}): use a root of your own"
        ) from error
    if (os.getuid() and about.st_uid != os.getuid()) or about.st_mode & 0o077:
        raise ServiceError(
            f"another account can read or wrote the password file {str(path())!r}: "
            "remove the file and run `shardtune up` again, which makes a new one"
        )
    try:
        kept = json.loads(text)
        return Access(prefect=str(kept["prefect"]), password=str(kept["password"]))
    except (ValueError, TypeError, KeyError) as error:
        raise ServiceError(
            f"the password file {str(path())!r} is damaged: remove the file and run `shardtune up` again, "
            "which makes a new one"
        ) from error


def made() -> Access:
    """The logins, made where there are none yet; processes that start at once get the same ones.

    A login that the environment names for the Prefect server (OWN) is kept with it, for the commands of other shells.
    """
    path().parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path().with_suffix(".lock")):
        before = known()
        password = before.password if before else secrets.token_urlsafe(24)
        access = Access(prefect=os.environ.get(OWN) or f"{USER}:{password}", password=password)
        if access != before:
            _write(access)
        return access


def _write(access: Access) -> None:
    temporary = path().with_name(f".{path().name}.{secrets.token_hex(4)}.part")
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
        json.dump(access._asdict(), stream)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(temporary, path())


def client(urls: Mapping[str, str]) -> dict[str, str]:
    """Environment of a process that talks to these servers of this root (PREFECT_API_URL, MLFLOW_TRACKING_URI).

    Never pass the address of a foreign server: the process would send it the password.
    """
    access = known()
    if access is None:
        return {}
    variables = {}
    if urls.get("PREFECT_API_URL"):
        variables["PREFECT_API_AUTH_STRING"] = access.prefect
    if urls.get("MLFLOW_TRACKING_URI", "").startswith("http"):
        variables |= {"MLFLOW_TRACKING_USERNAME": USER, "MLFLOW_TRACKING_PASSWORD": access.password}
    return variables


def login() -> str:
    """How a person logs in, in words. ServiceError where no server of this root was ever started."""
    access = known()
    if access is None:
        raise ServiceError("there is no password yet: `shardtune up` or `shardtune serve` makes one")
    return (
        f"log in to Prefect with {access.prefect}, to MLflow and to the models' page as {USER} with {access.password}\n"
        "(which is the API key of `shardtune serve` too)\n"
        "(`shardtune status --login` shows this again; commands of this root need no password)"
    )


def origins(port: int) -> tuple[str, ...]:
    """The addresses of a server of this machine, as a browser names them."""
    return f"http://127.0.0.1:{port}", f"http://localhost:{port}"


def prefect_server(port: int) -> dict[str, str]:
    """Environment of the Prefect server of this root that listens on `port` of 127.0.0.1.

    Start it by `python -m deployments.service.door prefect --port PORT`, which looks at Host and Origin;
    Prefect does not.
    """
    return {
        OWN: made().prefect,
        "PREFECT_SERVER_UI_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": ",".join(origins(port)),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }


def mlflow_server(port: int) -> dict[str, str]:
    """Environment of the MLflow server of this root.

    Start it by `python -m deployments.service.door mlflow --port PORT`.
    """
    hosts = [origin.partition("://")[2] for origin in origins(port)]
    return {
        PASSWORD: made().password,
        "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join(hosts),
        "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": ",".join(origins(port)),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # unused, and its processes cost memory
    }


PASSWORD = "SHARDTUNE_PASSWORD"  # what deployments.service.door asks of whoever comes to MLflow or to the models
