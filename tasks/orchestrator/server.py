"""The background Prefect server of a root: the first command that runs a flow starts it, later ones find it.

Prefect would start a server of its own for each command, which takes longer than most commands. This one is behind the
same password and door as the server of `shardtune up`. It ends by itself when no command has used it for some minutes,
when its record is gone, and by `shardtune down`. No command starts one where the environment names a server, in a
container whose first process is the command, or where `SHARDTUNE_IDLE` is 0.
"""

from __future__ import annotations

import atexit
import os
import re
import socket
import subprocess
import sys
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tasks.core import processes, settings
from tasks.core.errors import ServiceError
from tasks.core.redaction import redacted

IDLE_VARIABLE = "SHARDTUNE_IDLE"
IDLE = 300.0  # seconds without a command, after which the server ends itself
READY = 180.0  # seconds: a first start makes the database, slowly on a small machine
HOST = "127.0.0.1"
NO_ANSWER = {"TransportError", "ConnectionError"}  # of httpx and of requests, whichever client was asking
# What the server is given of the environment; a key of a provider is not among it.
KEPT = ("PREFECT_", "SHARDTUNE_", "PYTHON", "LC_", "LD_", "OMP_", "COVERAGE")
KEPT_NAMES = {"PATH", "HOME", "LANG", "TZ", "TMPDIR", "USER", "VIRTUAL_ENV", "DO_NOT_TRACK"}


class Record(NamedTuple):
    """What the server's starter wrote down of it."""

    pid: int
    started: float  # seconds since 1970
    url: str  # of its API


def folder() -> Path:
    """Where the record, the log and the marks of the commands at work lie: of this machine, or one container of it.

    Where a disk is shared, numbers of processes mean nothing to the others, and each would end the server of the next.
    """
    return settings.local_root() / "server" / re.sub(r"[^\w.-]", "-", processes.place())


def log() -> Path:
    """What the server printed."""
    return folder() / "server.log"


def record() -> Record | None:
    """What is written down, whether or not that server still runs; None where nothing is, or it is damaged."""
    from tasks.core import store

    with suppress(OSError, ValueError, TypeError, KeyError):
        known = store.read(str(folder() / "server.json")) or {}
        return Record(int(known["pid"]), float(known["started"]), str(known["url"]))
    return None


def running() -> Record | None:
    """The server that runs now."""
    known = record()
    return known if known and processes.alive(known._asdict()) else None


def mine() -> bool:
    """Whether this process talks to the background server, which ends some minutes after the last command."""
    known = record()
    return known is not None and os.environ.get("PREFECT_API_URL") == known.url


def lost() -> str | None:
    """In words, that the background server ended under this command; None where it did not."""
    known = record()
    if not mine() or running():
        return None
    return (
        f"the Prefect server of this root (pid {known and known.pid}) ended in the middle: "
        f"run the same command again, which goes on where it was; the server's log is {str(log())!r}"
    )


def unanswered(error: BaseException) -> str | None:
    """In words, that a server ended under this command (`shardtune down` does it); None where the error is another."""
    chain, cause = list[BaseException](), error
    while cause is not None and cause not in chain:
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__  # type: ignore[assignment]
    named = [os.environ.get(name, "") for name in ("PREFECT_API_URL", "MLFLOW_TRACKING_URI")]
    for url in (url for url in named if url.startswith("http")):
        if any(NO_ANSWER & {kind.__name__ for kind in type(one).__mro__} and _asked(one, url) for one in chain):
            return (
                f"the server at {redacted(url)} does not answer any more: it was ended, or cannot be reached; run the "
                "same command again, which goes on where it was, or start the servers by `shardtune up`"
            )
    return None


def _asked(error: BaseException, url: str) -> bool:
    """Whether a request that failed went to the server of this address."""
    with suppress(AttributeError, RuntimeError, ValueError):  # httpx raises where an error has no request
        asked, ours = urlsplit(str(error.request.url)), urlsplit(url)  # type: ignore[attr-defined]
        return (asked.hostname, asked.port) == (ours.hostname, ours.port)
    return False


def use() -> None:
    """Lead this process to the background server, started here where none runs. Call before importing Prefect.

    The server may still be on its way: `ready` waits for it. ServiceError where the root cannot hold it.
    """
    if not _wanted():
        return
    try:
        with _locked():
            mark = folder() / f"{os.getpid()}.user"
            whole = mark.with_suffix(".part")  # the server looks at marks at any moment, and an empty one is nobody's
            whole.write_text(str(processes.identity()["started"]))
            os.replace(whole, mark)
            known = running() or _started()
    except OSError as error:
        raise ServiceError(
            f"the Prefect server of root {settings.root()!r} cannot be started ({error}): free space there, or set "
            f"{settings.ROOT_VARIABLE} to a folder that you can write to"
        ) from error
    atexit.register(_unmark, mark, os.getpid())
    from tasks.core import access

    urls = {"PREFECT_API_URL": known.url}
    os.environ.update(urls | access.client(urls))


def ready() -> None:
    """Wait until the background server answers; ServiceError with the end of its log where it does not."""
    known = record()
    if known is None or not mine():
        return
    try:
        with urllib.request.urlopen(f"{known.url}/health", timeout=READY):
            return
    except OSError as error:
        tail = log().read_text(errors="replace").strip()[-600:] if log().exists() else ""
        raise ServiceError(
            f"the Prefect server of this root did not start ({error}): run the command again; "
            f"the end of {str(log())!r}: {tail or '(nothing)'}"
        ) from error


def users() -> Iterator[int]:
    """Process ids of the commands that use it now."""
    return (int(mark.stem) for mark in folder().glob("*.user") if _lives(mark))


def _lives(mark: Path) -> bool:
    with suppress(OSError, ValueError):
        known = {"pid": int(mark.stem), "started": float(mark.read_text() or 0)}
        return processes.alive(known) is not None
    return False


def retire(pid: int | None = None) -> Record | None:
    """Take the record away where no command uses the server, which then ends itself; returns what was taken away.

    `pid`: only where the record is of that server.
    """
    if not folder().exists():
        return None
    with _locked():
        for mark in folder().glob("*.user"):  # of commands that died: only here, where no new one can be written
            if not _lives(mark):
                mark.unlink(missing_ok=True)
        known = running()
        if known is None or (pid and known.pid != pid) or any(user != os.getpid() for user in users()):
            return None
        (folder() / "server.json").unlink()
        return known


def written() -> None:
    """Wait until whoever starts a server has written it down, or died over it."""
    with _locked():
        return


def end() -> Record | None:
    """End the server, used or not; returns what ran. Where none ever was, nothing is made: a root may be restored."""
    if not folder().exists():
        return None
    with _locked():
        known = running()
        (folder() / "server.json").unlink(missing_ok=True)
    process = processes.alive(known._asdict()) if known else None
    if known and process is not None:
        process.terminate()
        if not processes.ended(known._asdict(), 20.0):
            process.kill()
    return known


def _wanted() -> bool:
    """Whether a flow of this process needs a server that nobody named."""
    if os.environ.get("PREFECT_API_URL") or _idle() <= 0 or 1 in (os.getpid(), os.getppid()):
        return False
    if "prefect" in sys.modules:  # what the environment says now comes too late
        return False
    return not _named()


def _named() -> bool:
    """Whether a file that Prefect reads names a server (a profile, one of this folder): the environment hides it."""
    profiles = os.environ.get("PREFECT_PROFILES_PATH") or Path(settings.prefect_home(), "profiles.toml")
    for file in (Path(profiles), Path(".env")):
        with suppress(OSError):
            if "PREFECT_API_URL" in file.read_text(encoding="utf-8", errors="replace"):
                return True
    for name, within in (("prefect.toml", ()), ("pyproject.toml", ("tool", "prefect"))):
        with suppress(OSError, ValueError, AttributeError, KeyError):
            value = tomllib.loads(Path(name).read_text(encoding="utf-8"))
            for key in within:
                value = value[key]
            if value["api"]["url"]:
                return True
    return False


def _idle() -> float:
    given = os.environ.get(IDLE_VARIABLE)
    try:
        return float(given) if given else IDLE
    except ValueError as error:
        raise ServiceError(f"{IDLE_VARIABLE} = {given!r} is no number: give seconds, or 0 for no server") from error


@contextmanager
def _locked() -> Iterator[None]:
    from filelock import FileLock

    folder().mkdir(parents=True, exist_ok=True, mode=0o700)
    with FileLock(folder() / "server.lock"):
        yield


def _started() -> Record:
    """Start it and write it down. Its socket is open already, so that whoever comes now waits instead of failing."""
    from tasks.core import access, store

    with socket.create_server((HOST, 0)) as door:
        port = door.getsockname()[1]
        call = [
            sys.executable,
            "-P",
            "-m",
            "deployments.service.background",
            "--port",
            str(port),
            "--fd",
            str(door.fileno()),
        ]
        with log().open("wb") as stream:
            process = subprocess.Popen(
                [*call, "--idle", str(_idle())],
                env=_environment(os.environ) | _places() | access.prefect_server(port),
                cwd=folder(),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=(door.fileno(),),
            )
    import psutil

    identity = processes.identity(psutil.Process(process.pid))
    process.returncode = 0  # it outlives this command by design: no warning when it is collected
    store.write(str(folder() / "server.json"), identity | {"url": f"http://{HOST}:{port}/api", "log": str(log())})
    return Record(identity["pid"], identity["started"], f"http://{HOST}:{port}/api")


def _environment(given: Mapping[str, str]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if name.startswith(KEPT) or name in KEPT_NAMES}


def _places() -> dict[str, str]:
    """Where state lies, said so that it means the same in the server's own folder as in this one."""
    return {
        settings.ROOT_VARIABLE: settings.root(),
        settings.LOCAL_VARIABLE: str(settings.local_root()),
        "PREFECT_HOME": str(Path(settings.prefect_home()).expanduser().resolve()),
    }


def _unmark(mark: Path, pid: int) -> None:
    if os.getpid() == pid:  # and not a fork of it
        mark.unlink(missing_ok=True)
