"""The service without its processes: what it gives them, and which flow runs are its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from deployments.service import up
from tasks.core import settings


@pytest.mark.parametrize("root", [None, "state", "memory://shop"])
def test_flow_runs_of_this_root_are_found_however_it_is_named(monkeypatch, tmp_path, root):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(settings.ROOT_VARIABLE)
    if root:
        monkeypatch.setenv(settings.ROOT_VARIABLE, root)
    given, another = up.Service(print).environment, os.environ | {settings.ROOT_VARIABLE: "another"}
    call = [sys.executable, "-c", "input()", "prefect.engine"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(call, env=given, **pipes) as mine, subprocess.Popen(call, env=another, **pipes) as other:
        try:
            found = {process.pid for process in up.engines(settings.root())}
            assert mine.pid in found and other.pid not in found
        finally:
            for process in (mine, other):
                process.kill()
