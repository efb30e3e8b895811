"""The command line: help everywhere, one-line errors, and an exit status that can be trusted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from flows.cli import cli

TOP = Path(__file__).parent.parent.parent


def shardtune(*words: str) -> subprocess.CompletedProcess[str]:
    call = [sys.executable, "-c", "from flows.cli import main; main()", *words]
    return subprocess.run(call, cwd=TOP, capture_output=True, text=True)


@pytest.mark.parametrize("name", sorted(cli.commands))
def test_every_subcommand_has_help(name):
    told = shardtune(name, "--help")
    assert told.returncode == 0
    assert "--help" in told.stdout


def test_help_loads_nothing_heavy():
    script = "import sys; from flows.cli import cli; print('prefect' in sys.modules, 'torch' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", script], cwd=TOP, capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["False", "False"]


@pytest.mark.parametrize("override", ["nope=1", "clean.min_title=0", "catalogue=3"])
def test_an_error_is_one_line_and_not_a_success(override):
    told = shardtune("prepare", "--set", override)
    assert told.returncode == 1
    assert told.stdout == ""
    assert told.stderr.startswith("shardtune: error: ") and told.stderr.count("\n") == 1


def test_an_unknown_option_is_a_usage_error():
    told = shardtune("prepare", "--frobnicate")
    assert told.returncode == 2
