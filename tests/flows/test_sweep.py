"""A sweep looks at each job by itself: what one look fails at hides no other."""

from __future__ import annotations

from flows import sweep
from tasks.core.errors import DamagedError, TransientError
from tasks.core.models import Swept


def test_whatever_one_look_fails_at_the_others_have_theirs(monkeypatch, caplog):
    def look(key: str) -> Swept:
        if key == "page":
            raise TransientError("reading job 'a': the answer is not in the provider's format")
        if key == "fault":
            raise KeyError("https://me:hush@host/")
        return Swept(key=key, state="succeeded", concluded=True)

    monkeypatch.setattr(sweep, "refresh", look)
    monkeypatch.setattr(sweep.runs, "recover", lambda: [])
    monkeypatch.setattr(sweep.owing, "owed", lambda: [])
    monkeypatch.setattr(sweep.ledger, "unfinished", lambda: ["page", "good", "fault", "better"])
    monkeypatch.setattr(sweep.pages, "outcome", lambda told: None)
    found = {one.key: one for one in sweep.sweep.fn()}
    assert [one.concluded for one in found.values()] == [False, True, False, True]
    assert "not in the provider's format" in found["page"].detail
    assert "KeyError" in found["fault"].detail and "hush" not in found["fault"].detail


def test_what_is_damaged_is_told_once_and_hides_no_other(monkeypatch, caplog):
    def held(run: str, name: str, model: type) -> None:
        raise DamagedError(f"artifact {name!r} of MLflow run {run!r} is damaged")

    def look(key: str) -> Swept:
        if key == "open":
            held("run of open", "link.json", Swept)
        return Swept(key=key, state="succeeded", concluded=True)

    owed = ["bad"]
    monkeypatch.setattr(sweep, "refresh", look)
    monkeypatch.setattr(sweep.ledger, "run_id", lambda key: f"run of {key}")
    monkeypatch.setattr(sweep.ledger, "load", held)
    monkeypatch.setattr(sweep.runs, "recover", lambda: [])
    monkeypatch.setattr(sweep.owing, "owed", lambda: list(owed))
    monkeypatch.setattr(sweep.owing, "done", lambda keys: [owed.remove(key) for key in keys])
    monkeypatch.setattr(sweep.ledger, "unfinished", lambda: ["open", "good"])
    monkeypatch.setattr(sweep.pages, "outcome", lambda told: None)
    first = [one.key for one in sweep.sweep.fn()]
    assert first == ["bad", "open", "good"] and caplog.text.count("damaged") == 2
    second = {one.key: one for one in sweep.sweep.fn()}
    assert list(second) == ["open", "good"] and "damaged" in second["open"].detail
    assert caplog.text.count("damaged") == 2
