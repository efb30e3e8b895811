"""`shardtune sample`: the demo's catalogue, the same bytes each time, where the recipe demo looks for it."""

from __future__ import annotations

from click.testing import CliRunner

from flows.cli.main import cli
from tasks.recipe import loader


def test_the_sample_is_where_the_demo_looks_for_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli, ["sample", "--rows", "30"])
    assert done.exit_code == 0, done.output
    written = tmp_path / str(loader.load("demo").catalogue.uri)
    assert len(written.read_bytes().splitlines()) == 30
    CliRunner().invoke(cli, ["sample", "--rows", "30", "--out", "again.json"])
    assert (tmp_path / "again.json").read_bytes() == written.read_bytes()
