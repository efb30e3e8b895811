"""What a state file says of a process never ends another one."""

from __future__ import annotations

import os

import pytest

from deployments.service import children


@pytest.mark.parametrize("pid", [0, 1, -1, -7])
def test_a_number_that_is_no_child_of_ours_is_sent_no_signal(pid, monkeypatch):
    sent = []
    monkeypatch.setattr(os, "killpg", lambda *of: sent.append(of))
    monkeypatch.setattr(children, "end", lambda several: sent.append(several))
    if pid != 1:
        children.stop(pid)
    children.kill_group(pid)
    assert not sent
