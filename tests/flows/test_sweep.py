"""A sweep looks at each job by itself: what one look fails at hides no other."""

from __future__ import annotations

from flows import sweep
from tasks.core.errors import TransientError
from tasks.core.models import Swept


def test_whatever_one_look_fails_at_the_others_have_theirs(monkeypatch, caplog):
    def look(key: str) -> Swept:
        if key == "page":
            raise TransientError("reading job 'a': the answer is not in the provider's format")
        if key == "fault":
            raise KeyError("https://me:hush@host/")
        return Swept(key=key, state="succeeded", concluded=True)

    monkeypatch.setattr(sweep, "look", look)
    monkeypatch.setattr(sweep.runs, "recover", lambda: [])
    monkeypatch.setattr(sweep.owing, "owed", lambda: [])
    monkeypatch.setattr(sweep.ledger, "unfinished", lambda: ["page", "good", "fault", "better"])
    monkeypatch.setattr(sweep.pages, "outcome", lambda told: None)
    found = {one.key: one for one in sweep.sweep.fn()}
    assert [one.concluded for one in found.values()] == [False, True, False, True]
    assert "not in the provider's format" in found["page"].detail
    assert "KeyError" in found["fault"].detail and "hush" not in found["fault"].detail
