"""The background Prefect server: one for a root, behind its password, told when it is lost, and gone when unused."""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import httpx
import psutil
import pytest
import requests

from deployments.service import background, blank
from tasks.core import access, processes, settings, store
from tasks.core.errors import ServiceError
from tasks.orchestrator import server

PATIENCE = 240.0
USE = """
import json, os
from tasks.core import settings
from tasks.orchestrator import server
settings.enter()
server.use()
server.ready()
print(json.dumps([server.record().pid, os.environ["PREFECT_API_URL"], sorted(server.users())]), flush=True)
input()
"""


@pytest.fixture
def wanted(monkeypatch):
    """As in a command that has not imported Prefect yet, without what other tests have set."""
    monkeypatch.setenv(server.IDLE_VARIABLE, "60")
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.delenv("PREFECT_HOME", raising=False)
    monkeypatch.delitem(sys.modules, "prefect", raising=False)


def known(**other: object) -> dict:
    """What is written down of a server; it is this process, unless told otherwise."""
    told = processes.identity() | {"url": "http://127.0.0.1:9/api"} | other
    server.folder().mkdir(parents=True, exist_ok=True)
    (server.folder() / "server.json").write_text(json.dumps(told))
    return told


def asked(url: str, **headers: str) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, b"{}", headers)) as reply:
            return reply.status
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.whole
def test_two_commands_at_once_share_one_server_that_ends_when_both_have(tmp_path, own_root):
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_"))}
    env |= {server.IDLE_VARIABLE: "2", "OPENAI_API_KEY": "sk-not-for-a-server"}
    call = [sys.executable, "-c", USE]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    commands = [subprocess.Popen(call, env=env, **pipes) for _ in range(2)]
    try:
        told = [json.loads(command.stdout.readline()) for command in commands]
        pid, url, _ = told[0]
        assert told[1][:2] == [pid, url]
        assert max(users for _, _, users in told) == sorted(command.pid for command in commands)
        password = base64.b64encode(access.known().prefect.encode()).decode()
        json_type = {"Content-Type": "application/json"}
        filter_ = f"{url}/flow_runs/filter"
        assert asked(filter_, **json_type) == 401
        assert asked(filter_, **json_type, Authorization=f"Basic {password}") == 200
        assert asked(filter_, **json_type, Authorization=f"Basic {password}", Origin="http://evil.example") == 403
        assert asked(filter_, **json_type, Authorization=f"Basic {password}", Host="evil.example") == 403
        process = psutil.Process(pid)
        assert "OPENAI_API_KEY" not in process.environ() and process.environ()["PREFECT_HOME"].startswith(str(own_root))
        assert password not in str(process.cmdline()) and access.known().password not in str(process.cmdline())
    finally:
        for command in commands:
            command.communicate("\n")
    process.wait(PATIENCE)
    assert server.record() is None and list(server.users()) == []


def test_no_server_is_started_where_one_is_named_or_none_is_wanted(wanted, monkeypatch, own_root):
    def started() -> None:
        raise AssertionError

    monkeypatch.setattr(server, "_started", started)
    for setting in ({"PREFECT_API_URL": "http://prefect.example/api"}, {server.IDLE_VARIABLE: "0"}):
        with monkeypatch.context() as here:
            for name, value in setting.items():
                here.setenv(name, value)
            server.use()
    with monkeypatch.context() as here:
        here.setattr(os, "getppid", lambda: 1)
        server.use()
    Path(settings.prefect_home()).mkdir(parents=True)
    Path(settings.prefect_home(), "profiles.toml").write_text('active = "c"\n[profiles.c]\nPREFECT_API_URL = "x"\n')
    server.use()
    with pytest.raises(ServiceError, match="SHARDTUNE_IDLE = 'soon' is no number"), monkeypatch.context() as here:
        here.setenv(server.IDLE_VARIABLE, "soon")
        server.use()


@pytest.mark.parametrize(
    ("name", "text", "named"),
    [
        ("prefect.toml", '[api]\nurl = "http://prefect.example/api"', True),
        ("pyproject.toml", '[tool.prefect.api]\nurl = "http://prefect.example/api"', True),
        (".env", "PREFECT_API_URL=http://prefect.example/api", True),
        ("prefect.toml", "[logging]\nlevel = 'INFO'", False),
        ("pyproject.toml", "[project", False),
        (".env", "PREFECT_PASSWORD=x", False),
    ],
)
def test_a_server_that_a_file_of_prefect_names_is_left_to_it(wanted, monkeypatch, tmp_path, name, text, named):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_text(text)
    assert server._wanted() is not named


class Caught(Exception):
    """Raised in place of a start."""


@pytest.mark.parametrize("root", [None, "state", "memory://shop"])
def test_the_server_has_the_root_of_the_command_wherever_that_is_started(wanted, monkeypatch, tmp_path, root):
    found = {}

    def started(call: list[str], *, env: dict[str, str], cwd: Path, **_: object) -> None:
        command = "from tasks.core import settings; from tasks.orchestrator import server; "
        command += "print(server.folder(), settings.prefect_home())"
        told = subprocess.run([sys.executable, "-P", "-c", command], env=env, cwd=cwd, capture_output=True, text=True)
        found["places"] = told.stdout.split()
        raise Caught

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(settings.ROOT_VARIABLE)
    monkeypatch.setenv("PREFECT_HOME", "orion")
    if root:
        monkeypatch.setenv(settings.ROOT_VARIABLE, root)
    here = server.folder()
    with pytest.raises(Caught), monkeypatch.context() as instead:
        instead.setattr(server, "subprocess", SimpleNamespace(Popen=started, DEVNULL=None, STDOUT=None))
        server.use()
    assert found["places"] == [str(here), str(tmp_path / "orion")]


def test_the_mark_of_a_command_is_never_seen_empty(wanted, monkeypatch, own_root):
    seen = []

    def slow(path: Path, text: str) -> None:  # a server that looks before the text is written
        with path.open("w") as stream:
            list(server.users())
            stream.write(text)

    def ends() -> server.Record:
        seen.extend(server.users())
        return server.Record(os.getpid(), 0.0, "http://127.0.0.1:8/api")

    monkeypatch.setattr(Path, "write_text", slow)
    monkeypatch.setattr(server, "_started", ends)
    monkeypatch.setenv("PREFECT_API_URL", "")  # which is put back at the end
    server.use()
    assert seen == [os.getpid()]


def test_machines_that_share_a_disk_have_a_server_each(own_root, monkeypatch):
    known()
    assert server.running()
    monkeypatch.setattr(processes, "place", lambda: "other:4026532-1a2b")
    assert server.record() is None and list(server.users()) == []


def test_a_record_with_another_bit_is_none(own_root):
    store.write(str(server.folder() / "server.json"), processes.identity() | {"url": "http://127.0.0.1:40900/api"})
    assert server.record().url.endswith(":40900/api")
    text = (server.folder() / "server.json").read_text()
    (server.folder() / "server.json").write_text(text.replace("40900", "50900"))
    assert server.record() is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": "x"}', '{"pid": 1}', "null"])
def test_a_damaged_record_is_none(own_root, text):
    known()
    (server.folder() / "server.json").write_text(text)
    assert server.record() is None and server.running() is None and server.lost() is None


def test_a_server_that_died_is_told_and_not_used_again(wanted, monkeypatch, own_root):
    dead = known(pid=2**22 + 1)
    monkeypatch.setenv("PREFECT_API_URL", dead["url"])
    assert server.mine() and server.running() is None
    assert "ended in the middle: run the same command again" in server.lost()
    with pytest.raises(ServiceError, match="did not start"):
        server.ready()
    monkeypatch.delenv("PREFECT_API_URL")
    assert server.lost() is None and not server.mine()
    fresh = server.Record(os.getpid(), 0.0, "http://127.0.0.1:8/api")
    monkeypatch.setattr(server, "_started", lambda: fresh)
    server.use()
    assert os.environ["PREFECT_API_URL"] == fresh.url
    monkeypatch.delenv("PREFECT_API_URL")


def test_a_record_of_a_number_that_another_process_uses_again_is_none(own_root):
    known(started=5.0)
    assert server.record() is not None and server.running() is None


def test_a_server_in_use_is_not_retired_and_marks_of_the_dead_are_removed(own_root):
    known()
    user = psutil.Process().parent()
    mark = server.folder() / f"{user.pid}.user"
    mark.write_text(str(user.create_time()))
    (server.folder() / f"{2**22 + 1}.user").write_text("5.0")
    assert list(server.users()) == [user.pid]
    assert len(list(server.folder().glob("*.user"))) == 2  # whoever holds no lock takes nothing away
    assert server.retire() is None
    assert [path.name for path in server.folder().glob("*.user")] == [mark.name]
    mark.unlink()
    assert server.retire(pid=1) is None
    assert server.retire().pid == os.getpid() and server.record() is None


def test_a_new_mark_with_the_number_of_a_dead_command_stays(wanted, monkeypatch, own_root):
    """The server looks just when a command writes its mark over that of a dead one with the same number."""
    known()
    mark = server.folder() / f"{os.getpid()}.user"
    mark.write_text("5.0")
    real = processes.alive

    def alive(told: dict) -> object:
        if told.get("started") == 5.0:
            mark.write_text(str(processes.identity()["started"]))
        return real(told)

    monkeypatch.setattr(processes, "alive", alive)
    assert list(server.users()) == []
    monkeypatch.setattr(processes, "alive", real)
    assert list(server.users()) == [os.getpid()]


def looked_after(monkeypatch, idle: float, **changes) -> SimpleNamespace:
    """The server after its watcher has ended."""
    monkeypatch.setattr(background, "LOOK", 0.01)
    for name, value in changes.items():
        monkeypatch.setattr(server, name, value)
    one = SimpleNamespace(should_exit=False)
    background.look_after(one, background.Used(None), idle)
    return one


def test_a_server_that_cannot_look_at_its_root_ends_when_it_is_idle(own_root, monkeypatch, capfd):
    known()
    looks = iter(range(1_000))

    def refused(*_: object) -> None:
        next(looks)
        raise PermissionError("not now")

    assert looked_after(monkeypatch, 0.2, users=refused).should_exit
    assert next(looks) > 2 and capfd.readouterr().err.count("PermissionError: not now") == 1
    assert server.record() is not None


def test_one_bad_look_does_not_end_a_server_that_is_used(own_root, monkeypatch):
    known()
    looks = iter([OSError("once"), [1], [1], []])

    def users() -> list[int]:
        found = next(looks, [])
        if isinstance(found, Exception):
            raise found
        return found

    assert looked_after(monkeypatch, 0.1, users=users).should_exit
    assert server.record() is None and next(looks, None) is None


def test_a_server_waits_until_its_starter_has_written_it_down(own_root, monkeypatch):
    seen = []
    with server._locked():
        thread = threading.Thread(target=lambda: seen.append(looked_after(monkeypatch, 60.0)), daemon=True)
        thread.start()
        thread.join(0.3)  # many looks
        assert thread.is_alive()
        known()
    (server.folder() / "server.json").unlink()
    thread.join(PATIENCE)
    assert seen[0].should_exit


def test_a_root_that_cannot_hold_it_is_told_in_one_line(wanted, own_root):
    own_root.mkdir()
    (own_root / "server").write_text("in the way")
    with pytest.raises(ServiceError, match=r"cannot be started .*free space there, or set SHARDTUNE_ROOT"):
        server.use()


def test_a_new_database_is_a_copy_without_a_row_and_an_old_one_stays(tmp_path, monkeypatch):
    import sqlite3

    monkeypatch.delenv(blank.URL, raising=False)
    blank.put(tmp_path / "home")
    made = sqlite3.connect(tmp_path / "home" / "prefect.db")
    tables = [name for (name,) in made.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    filled = {name for name in tables if made.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]}
    assert filled == {"alembic_version"} and {"flow_run", "task_run", "log"} <= set(tables)
    assert (tmp_path / "home" / "prefect.db").stat().st_mode & 0o077 == 0
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "prefect.db").write_text("of before")
    blank.put(tmp_path / "old")
    assert (tmp_path / "old" / "prefect.db").read_text() == "of before"
    monkeypatch.setenv(blank.URL, "postgresql+asyncpg://elsewhere/prefect")
    blank.put(tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_ending_what_never_ran_makes_no_root(own_root):
    assert server.end() is None and server.retire() is None and not own_root.exists()


def test_status_shows_it(own_root):
    from tasks.orchestrator.status import status

    known()
    (part,) = status().service
    assert (part.name, part.alive, part.pid, part.url) == ("background", True, os.getpid(), "http://127.0.0.1:9")


@pytest.mark.parametrize("client", [httpx, requests])
def test_a_server_that_ended_is_told_in_words_and_another_that_is_away_is_not(client, monkeypatch):
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        gone = f"http://127.0.0.1:{held.getsockname()[1]}"
    try:
        client.get(f"{gone}/api/health")
    except Exception as error:
        raised = RuntimeError("Failed to reach API")
        raised.__cause__ = error
    assert server.unanswered(raised) is None
    monkeypatch.setenv("MLFLOW_TRACKING_URI" if client is requests else "PREFECT_API_URL", gone)
    told = server.unanswered(raised)
    assert gone in told and "run the same command again" in told and "\n" not in told
    assert server.unanswered(ValueError("x")) is None
