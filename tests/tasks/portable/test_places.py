"""The hub, by its own client: one private repository, one commit, read back; what does not arrive is told."""

from __future__ import annotations

from pathlib import Path

import huggingface_hub.constants as theirs
import pytest
from huggingface_hub import HfFileSystem

from tasks.core.errors import ExportError
from tasks.portable import places
from tests.kit.hub import hub


@pytest.fixture
def there(monkeypatch):
    with hub() as (address, held):
        monkeypatch.setattr(theirs, "ENDPOINT", address)
        monkeypatch.setattr(theirs, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
        monkeypatch.setattr(theirs, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("HF_TOKEN", "hf_test")
        HfFileSystem.clear_instance_cache()
        yield held
        HfFileSystem.clear_instance_cache()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "model.safetensors").write_bytes(bytes(range(256)) * 40)
    (tmp_path / "out" / "README.md").write_text("a page")
    return tmp_path / "out"


def test_the_hub_gets_a_private_repository_that_is_read_back(there, folder):
    places.check("hf://shop/tuned")
    assert places.put(folder, "hf://shop/tuned") == "hf://shop/tuned"
    assert there.private == {"shop/tuned": True}
    assert there.held["shop/tuned"]["model.safetensors"] == (folder / "model.safetensors").read_bytes()
    with pytest.raises(ExportError, match="did not export"):
        places.check("hf://shop/tuned")  # a page that is not ours


def test_without_a_token_it_is_one_line(there, folder, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(ExportError, match="check the address and your rights"):
        places.put(folder, "hf://shop/tuned")
