"""The command line: help everywhere, one-line errors, and an exit status that can be trusted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import CliRunner

from deployments.demo import catalogue
from flows.cli.main import cli, main
from tasks.recipe import loader

TOP = Path(__file__).parents[3]


def shardtune(*words: str) -> subprocess.CompletedProcess[str]:
    call = [sys.executable, "-c", "from flows.cli.main import main; main()", *words]
    env = {name: value for name, value in os.environ.items() if name != "PREFECT_LOGGING_LEVEL"}
    if "prefect" in sys.modules:  # the session's server, where one was started
        env["PREFECT_API_URL"] = sys.modules["prefect"].settings.PREFECT_API_URL.value() or ""
    return subprocess.run(call, cwd=TOP, capture_output=True, text=True, env=env)


class Told(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def here(monkeypatch, capsys):
    """`shardtune` in this process, for what ends before any flow begins."""

    def run(*words: str) -> Told:
        monkeypatch.setattr(sys, "argv", ["shardtune", *words])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        return Told(code, *capsys.readouterr())

    return run


@pytest.mark.parametrize("name", sorted(cli.commands))
def test_every_subcommand_has_help(here, name):
    told = here(name, "--help")
    assert told.returncode == 0
    assert "--help" in told.stdout


@pytest.mark.parametrize("width", ["40", "80", "200"])
def test_the_list_of_commands_cuts_no_sentence(width):
    told = CliRunner().invoke(cli, ["--help"], prog_name="shardtune", terminal_width=int(width)).stdout
    words = " ".join(told.split())
    for name, command in cli.commands.items():
        first = " ".join((command.help or "").split("\n\n")[0].split())
        first = first if ". " not in first else first[: first.index(". ") + 1]
        assert f" {name} {first}" in words
    assert "..." not in told.partition("Commands:")[2]


def test_it_tells_its_version(here):
    assert here("--version") == Told(0, f"shardtune {version('shardtune')}\n", "")


def test_a_shell_completes_its_commands(monkeypatch, here):
    monkeypatch.setenv("_SHARDTUNE_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "shardtune re")
    monkeypatch.setenv("COMP_CWORD", "1")
    told = here()
    assert {line.partition(",")[2] for line in told.stdout.split()} == {n for n in cli.commands if n.startswith("re")}


@pytest.mark.parametrize("override", ["nope=1", "clean.min_title=0", "catalogue=3"])
def test_an_error_is_one_line_and_not_a_success(here, override):
    told = here("prepare", "--set", override)
    assert told.returncode == 1
    assert told.stdout == ""
    assert told.stderr.startswith("shardtune: error: ") and told.stderr.count("\n") == 1


def test_an_unknown_option_is_a_usage_error(here):
    told = here("prepare", "--frobnicate")
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


def test_recipes_are_listed(here):
    assert {line.split()[0] for line in here("recipes").stdout.splitlines()} == set(loader.names())
    told = json.loads(here("recipes", "--json").stdout)
    assert told == {name: loader.load(name).description for name in loader.names()}


def test_debug_adds_the_traceback_and_nothing_else_does(here):
    override = ("--set", "clean.min_title=0")
    assert "Traceback" in here("prepare", *override, "--debug").stderr
    assert "Traceback" not in here("prepare", *override).stderr
