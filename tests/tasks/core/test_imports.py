"""What imports are told not to find, and how seldom garbage is looked for."""

from __future__ import annotations

import gc
import sys

import pytest

from tasks.core import imports


def test_what_is_hidden_is_not_found_inside_and_is_again_after_it(monkeypatch):
    monkeypatch.delitem(sys.modules, "wave", raising=False)
    import json

    with imports.without("wave", "json", "no_such_package") as hidden:
        with pytest.raises(ImportError):
            import wave
        assert hidden == ["wave", "no_such_package"] and sys.modules["json"] is json
    import wave

    assert wave.open and "no_such_package" not in sys.modules


def test_what_was_hidden_is_found_after_an_error_too(monkeypatch):
    monkeypatch.delitem(sys.modules, "wave", raising=False)
    with pytest.raises(ZeroDivisionError), imports.without("wave"):
        print(1 / 0)
    assert "wave" not in sys.modules


def test_garbage_is_looked_for_seldom_and_still_is():
    before = gc.get_threshold()
    try:
        imports.seldom()
        assert gc.isenabled() and gc.get_threshold() == (imports.NEW, *before[1:])
    finally:
        gc.set_threshold(*before)
