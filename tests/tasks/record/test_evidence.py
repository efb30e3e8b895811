"""Evidence in a real MLflow store: losses once, the end with its reason, answers as a table MLflow shows."""

from __future__ import annotations

import json

import pytest

from tasks.answers.asking import Exam
from tasks.backends.contract import LossPoint, Quote, Status
from tasks.recipe import Recipe
from tasks.record import evidence, ledger
from tests.tasks.links import made, result

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
        evidence.progress(opened, Status(state="running", points=points(seen)))
    assert history(opened) == [(p.step, p.loss) for p in points(5)]
    assert ledger.client().get_run(opened).data.tags["shardtune.state"] == "running"


def test_a_long_curve_is_recorded_whole(opened):
    evidence.progress(opened, Status(state="running", points=points(1_200)))
    assert [step for step, _ in history(opened)] == list(range(1, 1_201))


@pytest.mark.parametrize(("state", "ended"), [("failed", "FAILED"), ("cancelled", "KILLED")])
def test_a_run_that_did_not_succeed_ends_with_the_reason(opened, state, ended):
    evidence.fail(opened, state, "loss is nan at step 3")
    run = ledger.client().get_run(opened)
    assert run.info.status == ended
    assert run.data.tags["shardtune.reason"] == run.data.tags["mlflow.note.content"] == "loss is nan at step 3"


def test_a_success_leaves_all_its_evidence(opened):
    facts = {"seconds_per_step": 1.5, "device": "cpu"}
    status = Status(state="succeeded", points=points(6), facts=facts, model_digest="d" * 32)
    told = result(made(), opened)
    evidence.finish(opened, made(), status, FREE, told)
    run = ledger.client().get_run(opened)
    assert run.info.status == "FINISHED"
    metrics = run.data.metrics
    assert (metrics["heldout_loss_before"], metrics["heldout_loss_after"]) == (4.0, 3.5)
    assert (metrics["scores seen/chrf before"], metrics["scores seen/chrf after"]) == (10.0, 20.0)
    assert metrics["run/seconds_per_step"] == 1.5 and run.data.tags["shardtune.fact.device"] == "cpu"
    assert [step for step, _ in history(opened, "loss_epoch_mean")] == [1, 2]
    assert run.data.tags["shardtune.model_digest"] == "d" * 32
    assert {"answers.json", "loss.png", "result.json"} <= {i.path for i in ledger.client().list_artifacts(opened)}
    table = ledger.read(opened, "answers.json")
    row = dict(zip(table["columns"], table["data"][0], strict=True))
    assert row == told.answers[0].model_dump()
    shown = json.loads(run.data.tags["mlflow.loggedArtifacts"])
    assert shown == [{"path": "answers.json", "type": "table"}]
    assert ledger.finished(made().key) == told.model_copy(update={"trained": False})


def test_finishing_twice_doubles_nothing(opened):
    status = Status(state="succeeded", points=points(6))
    for _ in range(2):
        evidence.finish(opened, made(), status, FREE, result(made(), opened))
    assert len(history(opened)) == 6 and len(history(opened, "loss_epoch_mean")) == 2
    assert len(history(opened, "heldout_loss_after")) == 1
    assert len(ledger.read(opened, "answers.json")["data"]) == 1


def test_a_success_after_a_failure_has_no_reason_left(opened):
    evidence.fail(opened, "failed", "power")
    evidence.finish(opened, made(), Status(state="succeeded", points=points(2)), FREE, result(made(), opened))
    tags = ledger.client().get_run(opened).data.tags
    assert tags["shardtune.reason"] == "" and "4.000 → 3.500" in tags["mlflow.note.content"]
