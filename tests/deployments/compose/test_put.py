"""A catalogue goes into the store as it came, under a name alone."""

from __future__ import annotations

import io
import random

import pytest

from deployments.compose import put
from tasks.core import settings, store


def test_a_catalogue_is_put_where_a_form_may_name_it(tmp_path, monkeypatch):
    monkeypatch.setenv(settings.ROOT_VARIABLE, str(tmp_path))
    data = random.Random(1).randbytes(3_000_001)
    uri = put.put("a catalogue.json.gz", io.BytesIO(data))
    assert uri == f"{tmp_path}/incoming/a catalogue.json.gz"
    with store.reading(uri) as stream:
        assert stream.read() == data


def test_what_breaks_off_leaves_what_was_there(tmp_path, monkeypatch):
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if found := super().read(10):
                return found
            raise OSError("broke off")

    monkeypatch.setenv(settings.ROOT_VARIABLE, str(tmp_path))
    put.put("one.json", io.BytesIO(b"before"))
    with pytest.raises(OSError, match="broke off"):
        put.put("one.json", Broken(b"x" * 100))
    assert [path.read_bytes() for path in (tmp_path / "incoming").iterdir()] == [b"before"]


@pytest.mark.parametrize("name", ["", "../one.json", "folder/one.json", ".env", "/etc/passwd"])
def test_a_name_leads_nowhere_else(name, tmp_path, monkeypatch):
    monkeypatch.setenv(settings.ROOT_VARIABLE, str(tmp_path))
    with pytest.raises(ValueError, match="give it without a folder"):
        put.put(name, io.BytesIO(b"{}"))
    assert not any(tmp_path.iterdir())
