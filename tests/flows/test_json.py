"""Every command with --json, on a real MLflow server: it prints JSON and nothing else, whatever MLflow prints."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployments.demo import catalogue
from flows.cli.main import cli
from tasks.backends.contract import Job, JobStatus
from tasks.backends.local.jobs import Folder
from tasks.core.errors import ShardtuneError
from tasks.evaluation.exams import Exam
from tasks.recipe import loader
from tests.kit import served
from tests.kit.links import result
from tests.kit.models import build, tune

pytestmark = pytest.mark.usefixtures("orchestrator")
PATIENCE = 120.0
# Those that need what this test does not set up: their error goes elsewhere, and nothing is printed.
REFUSED = {
    "arrived": ("nowhere/catalogue.json",),
    "rehearse": ("no-such-recipe", "--catalogue", "nowhere.json"),
    "rollback": ("nobody",),
    "retrain": ("--catalogue", "nowhere.json"),
    "compare": ("--models", "run:nobody"),
    "restore": ("nowhere",),
    "schedule": ("--catalogue", "nowhere.json"),
    "init": ("nowhere.csv",),
    "export": ("run:nobody", "merged"),
}


@pytest.fixture
def server(own_root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """MLflow's own server, in a thread, on the store of this test."""
    with served.server(own_root, monkeypatch) as place:
        yield place


def words(place: Path) -> tuple[str, ...]:
    """A recipe of a tiny model and a tiny catalogue, as options."""
    catalogue.write(str(place / "catalogue.json"), 60)
    quick = tune(build(place / "model", "llama")).model_dump_json()
    sizes = ("split.holdout_share=0.3", "evaluate={seen: 1, unseen: 1, heldout_rows: 4, max_new_tokens: 4}")
    changes = (f"tune={quick}", *sizes)
    return ("--catalogue", str(place / "catalogue.json"), *(word for one in changes for word in ("--set", one)))


def test_json_commands_print_json_and_nothing_else(server, tmp_path, monkeypatch, capfd):
    from flows.prepare import prepare
    from tasks import check, links
    from tasks.record import evidence, ledger

    chosen = words(tmp_path)
    recipe = loader.load(None, [f"catalogue.uri={chosen[1]}", *chosen[3::2]])
    recipe = links.exporting(recipe)
    prepared = prepare(recipe, links.rendering(recipe))
    (link,) = links.chain(recipe, prepared)
    monkeypatch.setattr(evidence, "_model", lambda *_: "models:/none")

    def ran(seed: int) -> tuple[str, str]:
        """A link with a job; its key and its run."""
        mine = link.model_copy(update={"seed": seed})
        run = ledger.MlflowLedger(recipe, Exam(seen=(), unseen=()), check.quote(mine)).open(mine)
        job = Job(key=mine.key, backend="local", id=mine.key, submitted_at="2026-01-01T00:00:00")
        ledger.MlflowLedger.record(job)
        folder = Folder.of(mine.key)
        folder.path.mkdir(parents=True)
        folder.write("job.json", job.model_dump(mode="json"))
        folder.write("status.json", JobStatus(state="running").model_dump(mode="json"))
        return mine.key, run

    (done, run), (open_, _) = ran(recipe.seed), ran(99)
    (tmp_path / "adapter").mkdir()
    (tmp_path / "answers.jsonl").write_text(json.dumps({"question": "What is the red drum?", "answer": "A drum."}))
    told = result(link, run, model=str(tmp_path / "adapter"))
    evidence.finish(run, link, JobStatus(state="succeeded"), check.quote(link), told)
    called = {
        "recipes": (),
        "prepare": chosen,
        "report": chosen,
        "check": chosen,
        "quote": chosen,
        "finetune": chosen,
        "explain": (done[:8],),
        "reproduce": (done[:8],),
        "who-trained-on": (told.answers[0].uid,),
        "ask": ("What is the red drum?", "--model", "base", *chosen),
        "verify": (str(tmp_path / "answers.jsonl"), *chosen),
        "cancel": (open_[:8],),
        "sweep": (),
        "status": (),
        "review": (),
        "backup": (str(tmp_path / "backup"),),
        "down": (),
    } | REFUSED
    wanted = {name for name, command in cli.commands.items() if any(p.name == "as_json" for p in command.params)}
    assert wanted == set(called)
    capfd.readouterr()
    for name, arguments in called.items():
        try:
            cli.main([name, "--json", *arguments], standalone_mode=False)
        except (ShardtuneError, SystemExit) as error:
            assert name in REFUSED or isinstance(error, SystemExit), (name, error)
        printed = capfd.readouterr().out
        if name in REFUSED:
            assert printed == "", name
        else:
            json.loads(printed)
    assert ledger.client().tracking_uri == server and ledger.client().get_run(run).info.status == "FINISHED"
