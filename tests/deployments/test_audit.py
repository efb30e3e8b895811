"""Audit: it tells what was looked at, and never takes silence for safety."""

from __future__ import annotations

from deployments import audit

HOLE = {"id": "PYSEC-2026-1", "fix_versions": ["1.1", "2.0"], "aliases": [], "description": "…"}


def test_holes_are_named_with_what_mends_them():
    packages = [
        {"name": "good", "version": "1.0", "vulns": []},
        {"name": "bad", "version": "1.0", "vulns": [HOLE]},
        {"name": "ours", "skip_reason": "not found"},
    ]
    assert audit.told({"dependencies": packages}) == [
        "audit: 2 of 3 pinned packages looked up, 1 with known holes",
        "  bad 1.0  PYSEC-2026-1  fixed in 1.1, 2.0",
    ]


def test_nothing_looked_at_is_not_nothing_found():
    lines = audit.told({"dependencies": [{"name": "x", "skip_reason": "not found"}]})
    assert "0 of 1" in lines[0] and "says nothing about holes" in lines[1]


def test_without_its_tool_it_says_so_and_does_not_fail(monkeypatch, capsys):
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    audit.main()
    assert "not done" in capsys.readouterr().out
