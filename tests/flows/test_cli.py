"""The command line: help everywhere, one-line errors, and an exit status that can be trusted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from flows.cli import cli
from tasks import recipes
from tests.benchmarks import catalogue

TOP = Path(__file__).parent.parent.parent


def shardtune(*words: str) -> subprocess.CompletedProcess[str]:
    call = [sys.executable, "-c", "from flows.cli import main; main()", *words]
    env = {name: value for name, value in os.environ.items() if name != "PREFECT_LOGGING_LEVEL"}
    if "prefect" in sys.modules:  # the session's server, where one was started
        env["PREFECT_API_URL"] = sys.modules["prefect"].settings.PREFECT_API_URL.value() or ""
    return subprocess.run(call, cwd=TOP, capture_output=True, text=True, env=env)


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


def test_prepare_gives_json_that_adds_up_and_nothing_else(tmp_path, orchestrator):
    source = tmp_path / "catalogue.json"
    catalogue.write(str(source), 300, faults=True)
    told = shardtune("prepare", "--catalogue", str(source), "--set", "catalogue.lines_per_shard=200", "--json")
    assert (told.returncode, told.stderr) == (0, "")
    found = json.loads(told.stdout)
    assert found["lines"] == found["kept"] + sum(found["dropped"].values()) + found["quarantined"] > 300
    assert {"index", "uri", "lines", "kept", "digest"} <= set(found["shards"][0])
    assert {"format", "style", "split", "uri", "examples", "tokens", "digest"} <= set(found["exports"][0])
    again = shardtune("prepare", "--catalogue", str(source), "--set", "catalogue.lines_per_shard=200")
    assert "all served from caches" in again.stdout


def test_a_sweep_of_nothing_says_so(orchestrator):
    told = shardtune("sweep")
    assert (told.returncode, told.stdout) == (0, "no job is open\n")
    assert json.loads(shardtune("sweep", "--json").stdout) == []


def test_recipes_are_listed():
    assert {line.split()[0] for line in shardtune("recipes").stdout.splitlines()} == set(recipes.names())
    told = json.loads(shardtune("recipes", "--json").stdout)
    assert told == {name: recipes.load(name).description for name in recipes.names()}


def test_debug_adds_the_traceback_and_nothing_else_does():
    override = ("--set", "clean.min_title=0")
    assert "Traceback" in shardtune("prepare", *override, "--debug").stderr
    assert "Traceback" not in shardtune("prepare", *override).stderr
