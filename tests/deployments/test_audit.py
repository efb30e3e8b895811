"""Audit: pip-audit as `make audit` runs it. A package that it cannot look up is an error, never silence."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import requests

TOP = Path(__file__).parents[2]


@pytest.fixture
def command(tmp_path, monkeypatch) -> list[str]:
    """The arguments that the Makefile gives, on a file of one package."""
    (line,) = (one for one in (TOP / "Makefile").read_text().splitlines() if "pip-audit --strict" in one)
    pins = tmp_path / "constraints.txt"
    pins.write_text("absl-py==2.5.1\n")
    (tmp_path / "cache").mkdir()
    monkeypatch.chdir(tmp_path)
    return [*shlex.split(line)[1:], "--cache-dir", str(tmp_path / "cache"), "--timeout", "5"]


def told(command: list[str], monkeypatch, answer: dict | None) -> object:
    """The exit status of pip-audit where the advisory service gives `answer`, or None where nobody answers."""
    from pip_audit import _cli

    def get(self, method, url, **more):
        if answer is None:
            raise requests.ConnectionError(f"no route to {url}")
        found = requests.Response()
        found.status_code, found._content, found.url = answer["status"], answer["body"], url
        return found

    monkeypatch.setattr(requests.Session, "request", get)
    monkeypatch.setattr("sys.argv", ["pip-audit", *command])
    try:
        _cli.audit()
    except SystemExit as ended:
        return ended.code
    except requests.ConnectionError:
        return "no network"
    return 0


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (None, "no network"),
        ({"status": 404, "body": b""}, 1),  # an index without the service
        ({"status": 200, "body": b'{"vulnerabilities": []}'}, 0),
        # What the service says of a package with a known hole, shortened.
        (
            {
                "status": 200,
                "body": b'{"vulnerabilities": [{"id": "PYSEC-1", "aliases": [], "fixed_in": ["3"], "details": ""}]}',
            },
            1,
        ),
    ],
)
def test_only_packages_that_were_looked_up_pass(command, monkeypatch, answer, status):
    assert told(command, monkeypatch, answer) == status
