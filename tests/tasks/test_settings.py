"""Where state lives: beside a root on this machine, and in a folder of its own where the root is an object store."""

from __future__ import annotations

from pathlib import Path

from tasks import settings


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
