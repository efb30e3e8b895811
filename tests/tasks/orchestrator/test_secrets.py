"""Vault: the environment first, then the Prefect server's Secret block, and nothing where neither has it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
from prefect.blocks.system import Secret

from tasks.backends.gemini import client
from tasks.core import settings
from tasks.core.errors import BackendError
from tasks.orchestrator import secrets
from tests.flows.conftest import orchestrator  # noqa: F401  the server is the flows' one

pytestmark = pytest.mark.usefixtures("orchestrator")


@pytest.fixture
def key():
    Secret(value="of the block").save("openai-api-key", overwrite=True)
    yield
    Secret.delete("openai-api-key")


def test_a_variable_goes_before_its_block(key, monkeypatch):
    assert settings.secret("OPENAI_API_KEY") == "of the block"
    monkeypatch.setenv("OPENAI_API_KEY", "of the environment")
    assert settings.secret("OPENAI_API_KEY") == "of the environment"


def test_a_notebook_reads_it_inside_its_loop(key):
    async def cell() -> str | None:
        return settings.secret("OPENAI_API_KEY")

    assert asyncio.run(cell()) == "of the block"


def test_where_neither_is_there_is_none():
    assert settings.secret("OPENAI_API_KEY") is None


def test_no_server_is_started_to_ask(monkeypatch):
    script = "import prefect, tasks.core.settings as s; print(s.secret('OPENAI_API_KEY'))"
    env = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "None"


def test_an_object_is_refused_as_prefect_shows_it_in_clear():
    Secret(value={"private_key": "shown"}).save("openai-api-key", overwrite=True)
    try:
        with pytest.raises(BackendError, match="save it again as text") as refused:
            settings.secret("OPENAI_API_KEY")
        assert "shown" not in str(refused.value)
    finally:
        Secret.delete("openai-api-key")


def test_a_service_account_lies_in_memory_only(monkeypatch, tmp_path):
    account = '{"type": "service_account", "private_key": "of the block"}'
    Secret(value=account).save(secrets.block(client.CREDENTIALS), overwrite=True)
    monkeypatch.setenv(client.CREDENTIALS, "")
    try:
        client.credentials()
        path = Path(os.environ[client.CREDENTIALS])
        assert path.read_text() == path.read_text() == account
        assert os.readlink(path).startswith("/memfd:")
        before = str(path)
        client.credentials()
        assert os.environ[client.CREDENTIALS] == before
    finally:
        Secret.delete(secrets.block(client.CREDENTIALS))
