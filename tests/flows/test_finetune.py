"""Flow finetune, whole: the demo recipe, shortened, on the real small model; what it leaves in MLflow and Prefect."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import mlflow
import pytest
from prefect.settings import PREFECT_API_URL

from flows.export import export
from flows.finetune import finetune
from tasks.core import settings
from tasks.core.models import Finetuned
from tasks.portable.readback import BOUNDS, PROMPTS
from tasks.record import ledger
from tests.kit.demo import STEPS, recipe, runs

pytestmark = pytest.mark.usefixtures("orchestrator", "shared_root")


@pytest.fixture
def done(place: Path, shared_root: None, known: dict[str, Finetuned]) -> Finetuned:
    """The result of the first run."""
    if "first" not in known:
        known["first"] = finetune(recipe(place))
    return known["first"]


@pytest.fixture(scope="module")
def known() -> dict[str, Finetuned]:
    return {}


def test_the_model_learns_and_says_how_much(done):
    assert (done.state, done.steps, done.trained) == ("succeeded", STEPS, True)
    assert done.heldout_loss["after"] < done.heldout_loss["before"]
    assert [row.group for row in done.answers] == ["seen", "seen", "unseen"]
    assert all(row.before_t0 and row.after_t0 and row.content for row in done.answers)
    assert any((row.before, row.before_t0) != (row.after, row.after_t0) for row in done.answers)
    assert set(done.scores) == {"seen", "unseen"}


def test_the_run_in_mlflow_is_finished_and_holds_the_curve(done):
    api = ledger.client()
    found = api.get_run(done.mlflow_run_id)
    assert found.info.status == "FINISHED"
    losses = sorted((m.step, m.value) for m in api.get_metric_history(done.mlflow_run_id, "loss"))
    assert [step for step, _ in losses] == list(range(1, STEPS + 1))
    assert all(0 < loss < 10 for _, loss in losses)
    assert found.data.metrics["loss_heldout"] == done.heldout_loss["after"]
    assert found.data.metrics["system/seconds_per_step"] > 0
    assert found.data.metrics["system/peak_memory_bytes"] > 1 << 28
    table = mlflow.MlflowClient(tracking_uri=settings.tracking_uri()).load_table(
        found.info.experiment_id, "answers.json", run_ids=[done.mlflow_run_id]
    )
    assert list(table["after"]) == [row.after for row in done.answers]


def test_the_logged_model_answers_as_the_evidence_says(done):
    mlflow.set_tracking_uri(settings.tracking_uri())
    model = mlflow.pyfunc.load_model(ledger.client().get_run(done.mlflow_run_id).data.tags["shardtune.mlflow_model"])
    asked = [row.question for row in done.answers]
    assert model.predict(asked, params={"max_new_tokens": 12}) == [row.after_t0 for row in done.answers]


def test_the_adapter_that_mlflow_hands_out_answers_token_for_token_as_in_training(done):
    assert done.parity.holds and done.parity.asked == 4
    assert ledger.read(done.mlflow_run_id, "facts.json")["parity"]["same"] == 4


def test_it_leaves_the_house_as_a_model_of_its_own(done, tmp_path):
    out = export(done.key[:8], "merged", str(tmp_path / "out"))
    assert out.key == done.key and out.checks[0].asked == PROMPTS and out.checks[0].moved <= BOUNDS["merged"]
    page = (tmp_path / "out" / "README.md").read_text()
    assert f"{done.heldout_loss['after']:.4f} after" in page and "no comparison is recorded" in page
    assert str(tmp_path) not in page and "/shared" not in page


def shown(key: str) -> Any:
    """The data of the newest artifact of `key`, as the Prefect UI asks for it."""
    asked = {"artifacts": {"key": {"any_": [key]}}, "sort": "UPDATED_DESC", "limit": 1, "offset": 0}
    return httpx.post(f"{PREFECT_API_URL.value()}/artifacts/filter", json=asked).json()[0]["data"]


def test_prefect_shows_answers_and_progress(done):
    assert all(row.question in shown("answers") for row in done.answers)
    assert shown("finetune-progress") == 100.0


def test_the_second_run_is_served_from_its_record(done, place):
    assert finetune(recipe(place)) == done.model_copy(update={"trained": False, "watched": 0.0})
    assert len(runs(done.key)) == 1


def test_a_model_that_is_gone_is_made_again_in_the_same_run(done, place):
    Path(done.model, "adapter_model.safetensors").parent.rename(place / "away")
    again = finetune(recipe(place))
    assert again.trained and again.mlflow_run_id == done.mlflow_run_id
    assert again.answers == done.answers
    assert Path(again.model, "adapter_model.safetensors").exists()
    assert len(runs(done.key)) == 1


@pytest.mark.long
def test_a_chain_of_local_links_goes_on_with_the_adapter_of_the_one_before(place):
    done = finetune(recipe(place, "chain=true", "shards=[0, 1]", "tune.max_steps=3", "seed=81"))
    (child,) = runs(done.key)
    parent = ledger.finished(child.data.tags["shardtune.parent"])
    assert parent is not None and parent.model != done.model
    # The same base with the parent's adapter is where the child began: not where the base began.
    assert done.heldout_loss["before"] == pytest.approx(parent.heldout_loss["after"], abs=0.5)
    assert child.data.tags["mlflow.parentRunId"] == parent.mlflow_run_id
    assert finetune(recipe(place, "chain=true", "shards=[0, 1]", "tune.max_steps=3", "seed=81")).trained is False
