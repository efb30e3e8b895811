"""Evidence in a real MLflow store: losses once, the end with its reason, answers as a table MLflow shows."""

from __future__ import annotations

import json

import pytest

from tasks.backends.contract import JobStatus, LossPoint, Quote
from tasks.evaluation.exams import Exam
from tasks.recipe.model import Recipe
from tasks.record import evidence, ledger
from tests.kit.links import made, result

FREE = Quote(examples=3, tokens=9, usd_low=0.0, usd_high=0.0, basis="nobody sends a bill")


def points(count: int) -> tuple[LossPoint, ...]:
    return tuple(LossPoint(step=n, epoch=n / 4, loss=9 - n / 100, learning_rate=1e-4) for n in range(1, count + 1))


@pytest.fixture
def opened() -> str:
    return ledger.MlflowLedger(Recipe(name="shop"), Exam(seen=(), unseen=())).open(made())


@pytest.fixture(autouse=True)
def no_model(monkeypatch):
    """The model is logged, loaded and asked in tests/flows/test_finetune.py, with a real adapter."""
    monkeypatch.setattr(evidence, "_model", lambda run_id, link, adapter: f"models:/of-{run_id}")


def history(run_id: str, name: str = "loss") -> list[tuple[int, float]]:
    return sorted((m.step, m.value) for m in ledger.client().get_metric_history(run_id, name))


def test_every_loss_point_is_recorded_once_however_often_it_is_told(opened):
    for seen in (2, 2, 5, 4):
        evidence.progress(opened, JobStatus(state="running", points=points(seen)))
    assert history(opened) == [(p.step, p.loss) for p in points(5)]
    assert ledger.client().get_run(opened).data.tags["state"] == "running"


def test_a_long_curve_is_recorded_whole(opened):
    evidence.progress(opened, JobStatus(state="running", points=points(1_200)))
    assert [step for step, _ in history(opened)] == list(range(1, 1_201))


@pytest.mark.parametrize(("state", "ended"), [("failed", "FAILED"), ("cancelled", "KILLED")])
def test_a_run_that_did_not_succeed_ends_with_the_reason(opened, state, ended):
    evidence.fail(opened, state, "loss is nan at step 3")
    run = ledger.client().get_run(opened)
    assert run.info.status == ended
    assert run.data.tags["reason"] == "loss is nan at step 3"
    assert run.data.tags["mlflow.note.content"].startswith("loss is nan at step 3\n\nIt was to tune `base` on shard 0")


def test_a_success_leaves_all_its_evidence(opened):
    facts = {"seconds_per_step": 1.5, "device": "cpu", "examples": 3, "eta_seconds": 0.0, "versions": {"torch": "2"}}
    status = JobStatus(state="succeeded", points=points(6), facts=facts, model_digest="d" * 32)
    told = result(made(), opened)
    evidence.finish(opened, made(), status, FREE, told)
    run = ledger.client().get_run(opened)
    assert run.info.status == "FINISHED"
    assert history(opened, "loss_heldout") == [(0, 4.0), (6, 3.5)]
    assert history(opened, "sample_chrf_seen") == [(0, 10.0), (6, 20.0)]
    assert run.data.metrics["usd"] == 0.0 and run.data.metrics["system/seconds_per_step"] == 1.5
    assert (run.data.params["device"], run.data.params["examples"]) == ("cpu", "3")
    assert ledger.read(opened, "facts.json")["facts"] == facts
    assert {"answers.json", "loss.png", "result.json"} <= {i.path for i in ledger.client().list_artifacts(opened)}
    table = ledger.read(opened, "answers.json")
    row = dict(zip(table["columns"], table["data"][0], strict=True))
    (answer,) = told.answers
    assert row["the row's own text"] == answer.content and (row["question"], row["after"]) == ("What?", "after of it")
    scores = ledger.read(opened, "scores.json")["data"]
    assert scores == [["seen", "chrf", 10.0, 20.0, None, None]]
    shown = json.loads(run.data.tags["mlflow.loggedArtifacts"])
    assert shown == [{"path": "answers.json", "type": "table"}, {"path": "scores.json", "type": "table"}]
    assert ledger.finished(made().key) == told.model_copy(update={"trained": False})


def test_charts_open_with_the_loss_and_are_few(opened):
    """MLflow orders charts by name, puts every name with a slash first, and what is under system/ on another page."""
    seen = [
        LossPoint(step=n, loss=4.0 - n, gradient_norm=0.5, learning_rate=1e-4, accuracy=0.5, heldout_loss=4.0)
        for n in (1, 2)
    ]
    facts = dict.fromkeys((*evidence.SPEED, "examples", "truncated", "trainable_parameters"), 1.0)
    evidence.finish(
        opened, made(), JobStatus(state="succeeded", points=seen, facts=facts), FREE, result(made(), opened)
    )
    charts = sorted(n for n in ledger.client().get_run(opened).data.metrics if not n.startswith("system/"))
    assert charts[:4] == ["loss", "loss_heldout", "optimizer_gradient_norm", "optimizer_learning_rate"]
    assert not any("/" in name for name in charts) and len(charts) <= 8
    assert ledger.client().get_run(opened).data.metrics["loss_heldout"] == 3.5  # by what a list of runs is sorted


def test_people_find_plain_tags_and_a_description_that_opens_with_the_result(opened):
    told = result(made(), opened)
    hostile = "](http://evil) <img src=x> | `x` \x1b[31m\n# *now*"
    row = told.answers[0].model_copy(update={"after_t0": hostile})
    evidence.lead(opened, "http://prefect/runs/flow-run/f", None)
    evidence.progress(opened, JobStatus(state="running", detail="measuring"))
    assert ledger.client().get_run(opened).data.tags["detail"] == "measuring"
    status = JobStatus(state="succeeded", facts={"left_out": 3, "truncated": 0})
    evidence.finish(opened, made(), status, FREE, told.model_copy(update={"answers": (row,)}))
    tags = ledger.client().get_run(opened).data.tags
    shown = {n: tags[n] for n in ("recipe", "model", "shards", "backend", "state", "cost")}
    expected = {"recipe": "shop", "model": "base", "shards": "0", "backend": "provider", "state": "succeeded"}
    assert shown == expected | {"cost": "$0.00"}
    assert {name for name in tags if name.startswith("shardtune.")} == {"shardtune.key", "shardtune.mlflow_model"}
    assert "detail" not in tags
    assert tags["mlflow.source.name"].startswith("shardtune") and tags["mlflow.source.type"] == "LOCAL"
    note = tags["mlflow.note.content"]
    assert note.startswith("Held-out loss **4.000 → 3.500**")
    assert "Examples longer than `max_length`: 3 left out." in note
    assert "[The flow run in Prefect](http://prefect/runs/flow-run/f)" in note
    (line,) = [line for line in note.splitlines() if line.startswith("| What?")]
    assert line.count("|") == 5 and not set("<>`[]*\x1b") & set(line)


def test_finishing_twice_doubles_nothing(opened):
    status = JobStatus(state="succeeded", points=points(6))
    for _ in range(2):
        evidence.finish(opened, made(), status, FREE, result(made(), opened))
    assert len(history(opened)) == 6 and len(history(opened, "loss_heldout")) == 2
    assert len(history(opened, "usd")) == 1
    assert len(ledger.read(opened, "answers.json")["data"]) == 1


def test_a_success_after_a_failure_has_no_reason_left(opened):
    evidence.fail(opened, "failed", "power")
    evidence.finish(opened, made(), JobStatus(state="succeeded", points=points(2)), FREE, result(made(), opened))
    tags = ledger.client().get_run(opened).data.tags
    assert tags["reason"] == "" and "4.000 → 3.500" in tags["mlflow.note.content"]
