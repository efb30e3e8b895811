"""Where state lives: beside a root on this machine, and in a folder of its own where the root is an object store."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tasks.core import settings, store


def test_a_local_root_holds_everything(own_root, monkeypatch, tmp_path):
    monkeypatch.setenv(settings.LOCAL_VARIABLE, str(tmp_path / "elsewhere"))
    assert settings.root() == str(own_root) and settings.local_root() == own_root


def test_beside_a_root_in_an_object_store_what_is_local_stays_in_one_folder(monkeypatch, tmp_path):
    monkeypatch.setenv(settings.ROOT_VARIABLE, "s3://shop/root/")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(settings.LOCAL_VARIABLE, raising=False)
    assert settings.root() == "s3://shop/root"
    assert settings.local_root() == tmp_path / ".shardtune"
    monkeypatch.setenv(settings.LOCAL_VARIABLE, "kept")
    monkeypatch.chdir(tmp_path.parent)  # a worker starts each run in another folder
    assert settings.local_root() == Path(tmp_path.parent, "kept")
    monkeypatch.setenv(settings.LOCAL_VARIABLE, str(tmp_path / "kept"))
    assert settings.local_root() == tmp_path / "kept"


def test_the_state_is_this_accounts_alone_and_an_older_root_is_tightened(own_root, tmp_path):
    theirs, old = own_root / "my notes", own_root / "exports"
    before = os.umask(0o022)
    try:
        for folder in (theirs, old):
            folder.mkdir(parents=True)
            (folder / "file").write_text("x")
        (own_root / "mlflow.db").touch()
        settings._umask = 0o022
        settings.tighten(own_root)
        store.write(str(own_root / "jobs" / "k" / "status.json"), {"state": "queued"})
        store.write(str(tmp_path / "published" / "README.md"), {"for": "others"})
    finally:
        os.umask(before)
    modes = {str(p.relative_to(tmp_path)): p.stat().st_mode & 0o777 for p in tmp_path.rglob("*")}
    assert modes == {
        "root": 0o755,  # a person's own things lie in it
        "root/my notes": 0o755,
        "root/my notes/file": 0o644,
        "root/exports": 0o700,
        "root/exports/file": 0o600,
        "root/mlflow.db": 0o600,
        "root/jobs": 0o700,
        "root/jobs/k": 0o700,
        "root/jobs/k/status.json": 0o600,
        "published": 0o755,
        "published/README.md": 0o644,
    }
    (theirs / "file").unlink()
    theirs.rmdir()
    settings.tighten(own_root)
    assert own_root.stat().st_mode & 0o777 == 0o700


def test_children_give_what_lies_outside_of_the_state_the_usual_permissions(own_root, tmp_path):
    """They inherit the mask that makes the state private, and know from their parent which one the person has."""
    files = str(tmp_path / "report.json"), str(own_root / "jobs" / "j.json")
    child = f"from tasks.core import settings, store; settings.enter(); [store.write(name, {{}}) for name in {files!r}]"
    parent = (
        "import os, subprocess, sys; os.umask(0o027); from tasks.core import processes, settings; settings.enter(); "
        f"subprocess.run([sys.executable, '-c', {child!r}], env=processes.environment(), check=True)"
    )
    subprocess.run([sys.executable, "-c", parent], check=True)
    assert (tmp_path / "report.json").stat().st_mode & 0o777 == 0o640
    assert (own_root / "jobs" / "j.json").stat().st_mode & 0o777 == 0o600


def test_what_a_link_leads_to_keeps_its_permissions(own_root, tmp_path):
    shared = tmp_path / "disk" / "models"
    shared.mkdir(parents=True)
    (shared / "weights").touch(0o664)
    own_root.mkdir()
    for name in ("models", "server", "logs"):
        (own_root / name).symlink_to(shared) if name == "models" else (own_root / name).mkdir(0o755)
    own_root.chmod(0o755)
    before = {path: path.stat().st_mode for path in (shared, shared / "weights")}
    settings.tighten(own_root)
    assert {path: path.stat().st_mode for path in before} == before
    assert {path.stat().st_mode & 0o777 for path in (own_root, own_root / "server", own_root / "logs")} == {0o700}


@pytest.mark.parametrize(
    ("given", "own"),
    [
        ({}, None),
        ({"http_proxy": "http://proxy:3128"}, "127.0.0.1,localhost"),
        ({"HTTP_PROXY": "http://proxy:3128", "NO_PROXY": ".example"}, ".example,127.0.0.1,localhost"),
        ({"http_proxy": "http://proxy:3128", "no_proxy": "localhost"}, "localhost,127.0.0.1"),
        ({"http_proxy": "http://proxy:3128", "no_proxy": "*"}, "*"),
    ],
)
def test_no_proxy_stands_before_the_servers_of_this_machine(given, own, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "")
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    settings.find()
    assert (os.environ["no_proxy"] or os.environ["NO_PROXY"] or None) == own
    assert not own or urllib.request.proxy_bypass_environment("127.0.0.1:4200")


def test_artifacts_come_through_mlflows_server_and_never_from_the_stores_own_address(monkeypatch):
    monkeypatch.delenv("MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD", raising=False)
    settings.enter()
    script = (
        "from mlflow.store.artifact.mlflow_artifacts_repo import MlflowArtifactsRepository as Repository\n"
        "print(Repository('mlflow-artifacts:/1/run', tracking_uri='http://127.0.0.1:9')._is_multipart_download_enabled())"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "False"  # a server that says it can is not even asked
