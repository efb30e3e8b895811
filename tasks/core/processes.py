"""Processes: identified by number and start time, since numbers are reused; and the environment of a child."""

from __future__ import annotations

import math
import os
import re
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import psutil

FIRST = "pid:[4026531836]"  # the namespace of the machine itself, which has this number on every Linux


def place() -> str:
    """A name for the space in which process numbers are unique: this machine, or one container of it, since its start.

    Containers may share a name (two workers of docker-compose.yml do) and do not see each other's processes.
    """
    try:
        namespace = os.readlink("/proc/self/ns/pid")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()
    except OSError:
        return socket.gethostname()  # no Linux, no namespaces
    number = namespace.strip("pid:[]")
    return socket.gethostname() if namespace == FIRST else f"{socket.gethostname()}:{number}-{boot[:8]}"


# A deny list, not an allow list: machines with GPUs, proxies or schedulers set any number of variables, and a trainer
# without them does not start, or trains on the wrong device. Variables with a secret have names that say so.
SECRET = re.compile(
    r"(^|_)(\w*(PASSWORD|PASSWD|PASSPHRASE|APIKEY)|PASS|PGPASSFILE|(API_?|ACCESS_|PRIVATE_|SECRET_?|ACCOUNT_|MASTER_)?KEYS?(_\w+)?"
    r"|\w*TOKENS?(_FILE|_PATH)?|SECRETS?|CREDENTIALS?(_\w+)?|AUTH(_STRING|_CONFIG|_SOCK)?|COOKIE|HEADERS|PAT|\w+_PWD|DSN|SAS|NETRC|KUBECONFIG"
    r"|CONNECTION_(URL|STRING)|DATABASE_URL)$|^(AWS_(PROFILE|ROLE_ARN|CONFIG_FILE|CONTAINER_\w+)|CLOUDSDK_\w+|"
    r"AZURE_(CLIENT|TENANT|FEDERATED)\w*)$",
    re.IGNORECASE,
)
OPEN = re.compile(r"(HF_HUB_DISABLE|TOKENIZERS_|\w*MAX_NEW_TOKENS|OMP_|CUDA_|NCCL_)", re.IGNORECASE)  # and no secrets
LOGIN = re.compile(r"://[^/@\s]*:[^/@\s]+@")  # a password in an address
PROXY = re.compile(r"\w*_proxy|(PIP|UV)_\w+", re.IGNORECASE)  # whose password is needed to get out at all
NEEDS = {  # by what a child opens
    "hub": ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_HUB_TOKEN"),
    **dict.fromkeys(("s3", "s3a"), ("AWS_", "FSSPEC_S3")),
    **dict.fromkeys(("gs", "gcs"), ("GOOGLE_APPLICATION_CREDENTIALS", "CLOUDSDK_", "FSSPEC_GS", "FSSPEC_GCS")),
    **dict.fromkeys(("az", "abfs", "abfss"), ("AZURE_", "FSSPEC_A")),
    "hf": ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"),
    "prefect": ("PREFECT_",),
    "mlflow": ("MLFLOW_",),
}


def environment(*opens: str, given: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a child: this process's (or `given`) without the secrets that the child does not need.

    `opens` are what it opens: `hub` for models of Hugging Face, `prefect`, `mlflow`, or the URI of a root, whose scheme
    says which credentials it needs.
    """
    keep = tuple(prefix for what in opens for prefix in NEEDS.get(what.partition("://")[0], ()))
    variables = os.environ if given is None else given
    return {name: value for name, value in variables.items() if name.startswith(keep) or not secret(name, value)}


def secret(name: str, value: str) -> bool:
    """Whether a variable of this name holds a secret, or an address with a password."""
    if OPEN.match(name):
        return False
    return bool(SECRET.search(name)) or (bool(LOGIN.search(value)) and not PROXY.fullmatch(name))


def identity(process: psutil.Process | None = None) -> dict[str, Any]:
    """Number and start time of `process` (default: this one); together they are unique on this machine."""
    if process is None:
        import psutil

        process = psutil.Process()
    return {"pid": process.pid, "started": process.create_time()}


def alive(known: dict[str, Any] | None) -> psutil.Process | None:
    """The process that `known` identifies; None where it has ended.

    Numbers below 1 are refused: a signal to them would reach whole process groups.
    """
    if known is None:
        return None
    import psutil

    try:
        pid, started = int(known["pid"]), float(known["started"])
        process = psutil.Process(pid) if pid > 0 else None
        if process is None or process.status() == psutil.STATUS_ZOMBIE:
            return None
        return process if abs(process.create_time() - started) < 2 else None
    except (psutil.NoSuchProcess, KeyError, TypeError, ValueError, OverflowError):
        return None


def ended(known: dict[str, Any], seconds: float = math.inf) -> bool:
    """Wait until the process that `known` identifies has ended; False if it still runs after `seconds`.

    A zombie counts as ended.
    """
    until = time.monotonic() + seconds
    while alive(known) is not None:
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True
