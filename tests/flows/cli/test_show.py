"""What a person reads at the end of a command."""

from __future__ import annotations

import io
import sys

from flows.cli import show
from tasks.answers.claims import Claim
from tasks.answers.index import IndexedRow
from tasks.answers.reply import Quoted, Reply, SourceRow
from tasks.core import progress
from tasks.core.models import CleanShard, Prepared
from tasks.record import address
from tests.kit.links import made, result


def test_the_end_of_a_fine_tune_tells_numbers_answers_and_where_to_look(capsys, own_root):
    show.finetuned(result(made(), "run-1"))
    told = capsys.readouterr().out
    assert "held-out loss  4.000 -> 3.500" in told
    assert "What?" in told and "after of it" in told and "a drum" in told
    line = next(line for line in told.splitlines() if line.startswith("seen: chrf"))
    assert line.split()[2:] == ["10.000", "20.000", "-", "-"]
    assert told.splitlines()[-1].endswith("shardtune up") and f"SHARDTUNE_ROOT={own_root} " in told
    assert "served from its record" not in told


def test_the_end_of_a_fine_tune_names_the_pages_of_servers_that_run(capsys, monkeypatch):
    monkeypatch.setattr(address, "page", lambda run: f"http://mlflow/#/experiments/1/runs/{run}")
    monkeypatch.setattr(address, "flow_run", lambda run: "http://prefect/runs/flow-run/f")
    show.finetuned(result(made(), "run-1"))
    told = capsys.readouterr().out.splitlines()
    assert told[-2:] == ["MLflow   http://mlflow/#/experiments/1/runs/run-1", "Prefect  http://prefect/runs/flow-run/f"]


def test_a_result_from_the_record_says_so(capsys):
    show.finetuned(result(made(), "run-1", trained=False))
    assert "served from its record" in capsys.readouterr().out


def test_a_long_answer_is_shortened_to_two_lines(capsys):
    long = result(made(), "r")
    row = long.answers[0].model_copy(update={"after": "word " * 200, "before": " \n"})
    show.answers(long.model_copy(update={"answers": (row,)}))
    told = capsys.readouterr().out
    assert told.count("word") < 50 and "…" in told and "(nothing)" in told


def source(uid: str, title: str = "Brass Drum") -> SourceRow:
    row = IndexedRow(uid=uid, title=title, content="A drum of brass. " * 40, line=7, shard=1, digest="d", also=())
    return SourceRow.of(row, "https://shop/{uid}")


def test_under_every_answer_stands_its_source_or_what_is_near(capsys):
    bare = Reply(question="What is it?", state="answered", text="A drum.", style="grounded", model="m")
    row = {"uid": "U1", "title": "Brass Drum", "line": 7, "url": "https://shop/U1"}
    quotes = (Quoted(start=0, end=16, text="A drum of brass.", **row),)
    claims = (Claim(text="A drum.", verdict="consistent"),)
    told = {"source": source("U1"), "near": (source("U2"),), "quotes": quotes, "claims": claims}
    show.reply(bare.model_copy(update=told))
    assert capsys.readouterr().out.splitlines()[:5] == [
        "  A drum.",
        "  checked     agrees with the row, in other words",
        '  quote       "A drum of brass." (characters 0 to 16)',
        "  source      U1, line 7, shard 1: Brass Drum",
        " " * 14 + "https://shop/U1",
    ]
    words = {"state": "quoted", "text": "A drum of brass.", "said": "Seven drums.", "problems": ("number: 7",)}
    show.reply(bare.model_copy(update=told | words))
    told = capsys.readouterr().out
    assert told.startswith("  A drum of brass.\n  model       DOES NOT HOLD: Seven drums.\n  why         number: 7\n")
    show.reply(bare.model_copy(update={"state": "which", "text": "Which?", "quotes": quotes, "which": ("U1",)}))
    assert "  perhaps     U1, line 7: Brass Drum" in capsys.readouterr().out
    show.reply(bare.model_copy(update={"state": "none", "near": (source("U2", "Brass Drum " * 30),)}))
    told = capsys.readouterr().out
    assert "  nearest     U2, line 7" in told and "…" in told and "http" not in told
    assert max(map(len, told.splitlines())) <= 100


def test_what_became_of_every_line(capsys):
    counted = {"lines": 1_234, "kept": 1_000, "dropped": {"junk": 200}, "quarantined": 34}
    values = counted | {"catalogue": "c", "cut": True, "shards": (), "exports": (), "made": 0}
    show.prepared(Prepared(**values))
    told = capsys.readouterr().out
    assert [line.split()[-1] for line in told.splitlines()[:4]] == ["1,234", "1,000", "200", "34"]
    assert "last line of the catalogue is incomplete" in told and "all served from caches" in told


def test_a_partly_good_catalogue_shows_why_lines_are_in_quarantine_and_where(capsys):
    splits = {"train": 1, "holdout": 0, "reserved": 0}
    shard = CleanShard(
        index=0, uri="u", digest="d", source="s", lines=4, kept=1, dropped={}, quarantined=3,
        quarantine_uri="/state/x.quarantine.jsonl", splits=splits, reasons={"cut": 1, "malformed_json": 2},
    )  # fmt: skip
    values = {"catalogue": "c", "lines": 4, "kept": 1, "dropped": {}, "quarantined": 3, "cut": True, "made": 1}
    show.prepared(Prepared(**values, shards=(shard,), exports=(), reasons=shard.reasons, left=("tst.json", "lbl.json")))
    told = capsys.readouterr().out
    assert ["quarantined:", "malformed_json", "2"] in [line.split() for line in told.splitlines()]
    assert "quarantined lines: /state/x.quarantine.jsonl" in told
    assert "not read (tests, labels, other splits or formats, by their names): tst.json, lbl.json" in told


def test_a_bar_shows_a_detail_as_it_stands(monkeypatch):
    """Titles and names of models are no markup: `[/b]` alone ended a command with MarkupError."""
    screen = io.StringIO()
    screen.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(progress, "_listeners", [])
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    show.bars()
    progress.report("train [x]", 1, 2, "[red]model[/b] \x1b]0;title\x07")
    progress.report("train [x]", 2, 2, "[red]model[/b] \x1b]0;title\x07")
    assert "train [x]" in screen.getvalue() and "[red]model[/b]" in screen.getvalue()
    assert "\x1b]0;" not in screen.getvalue()
