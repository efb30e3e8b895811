"""What imports are told not to find, and how seldom garbage is looked for."""

from __future__ import annotations

import atexit
import gc
import subprocess
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
        atexit.unregister(gc.freeze)


def test_what_others_do_at_the_end_is_done_before_garbage_is_left_alone():
    script = (
        "import atexit, gc; from tasks.core import imports; imports.seldom(); imports.seldom()\n"
        "frozen = gc.get_freeze_count()  # Python 3.12 begins with some\n"
        "atexit.register(lambda: print('mine', gc.get_freeze_count() - frozen))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "mine 0\n"


def test_what_is_hidden_for_good_can_be_shown_again(monkeypatch):
    monkeypatch.delitem(sys.modules, "wave", raising=False)
    imports.hide("wave", "json")
    with pytest.raises(ImportError):
        import wave
    imports.show("wave", "json", "no_such_package")
    import json
    import wave

    assert wave.open and json.loads("1") == 1
