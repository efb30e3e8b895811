"""Aliases in a real registry: one version per run, the alias last, and a way back; models found by their names."""

from __future__ import annotations

import pytest
from mlflow.exceptions import MlflowException

from tasks.backends.contract import JobStatus
from tasks.core.errors import AnswerError, RecipeError
from tasks.core.models import Finetuned, Promotion
from tasks.evaluation.exams import Exam
from tasks.recipe import loader
from tasks.record import aliases, evidence, ledger, registry, turns
from tests.kit.links import made, result
from tests.tasks.record.test_evidence import FREE

RECIPE = loader.load("gpt-4o-mini", ["name=shop"])


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """No other machine is there to wait for, and a model whose files are a few bytes."""
    monkeypatch.setattr(turns, "SETTLE", 0.0)
    monkeypatch.setattr(evidence, "_model", small)


def small(run_id, link, model):
    import mlflow

    from tasks.core import settings

    mlflow.set_tracking_uri(settings.tracking_uri())
    with mlflow.start_run(run_id=run_id):
        info = mlflow.pyfunc.log_model(name="model", python_model=lambda model_input: model_input, pip_requirements=[])
    ledger.client().update_run(run_id, status="RUNNING")
    return info.model_uri


def tuned(seed: int) -> Finetuned:
    """A link that succeeded, whole in the ledger."""
    link = made(seed=seed, tune=RECIPE.tune, backend="openai")
    run_id = ledger.MlflowLedger(RECIPE, Exam(seen=(), unseen=())).open(link)
    found = result(link, run_id, model=f"ft:small:shop::{seed}")
    evidence.finish(run_id, link, JobStatus(state="succeeded", model=found.model), FREE, found)
    return found


def promoted(version: str, expected: str | None, alias: str = "champion") -> bool:
    told = Promotion(version=version, alias=alias, reason=f"because of {version}", comparison="run")
    return aliases.settle("shop", told, expected)


def test_a_run_is_registered_once_and_no_alias_is_set(monkeypatch):
    done = tuned(1)
    assert aliases.register("shop", done) == aliases.register("shop", done) == "shop/1"
    assert aliases.register("shop", tuned(2)) == "shop/2"
    held = ledger.client().get_model_version("shop", "1")
    assert (held.run_id, held.tags["shardtune.key"]) == (done.mlflow_run_id, done.key)
    assert aliases.champion("shop") is None


def test_only_a_promotion_moves_the_champion_and_a_challenger_keeps_its_reason():
    for seed in (1, 2):
        aliases.register("shop", tuned(seed))
    assert promoted("shop/1", None)
    assert promoted("shop/2", "shop/1", "challenger")
    api = ledger.client()
    assert aliases.champion("shop") == "shop/1"
    assert {a: str(v) for a, v in api.get_registered_model("shop").aliases.items()} == {
        "champion": "1",
        "challenger": "2",
    }
    assert api.get_model_version("shop", "2").tags["shardtune.reason"] == "because of shop/2"
    assert promoted("shop/2", "shop/1")
    assert {a: str(v) for a, v in api.get_registered_model("shop").aliases.items()} == {"champion": "2"}


def test_a_decision_about_a_champion_of_yesterday_does_nothing():
    for seed in (1, 2, 3):
        aliases.register("shop", tuned(seed))
    assert promoted("shop/1", None)
    assert not promoted("shop/2", None) and not promoted("shop/3", "shop/2")
    assert aliases.champion("shop") == "shop/1"


def test_rollback_goes_back_one_champion_at_a_time():
    for seed, before in ((1, None), (2, "shop/1"), (3, "shop/2")):
        version = aliases.register("shop", tuned(seed))
        assert promoted(version, before)
    assert (aliases.rollback("shop"), aliases.champion("shop")) == ("shop/2", "shop/2")
    assert aliases.rollback("shop") == "shop/1"
    with pytest.raises(AnswerError, match="nothing to go back to"):
        aliases.rollback("shop")
    assert promoted("shop/3", "shop/1") and aliases.rollback("shop") == "shop/1"
    with pytest.raises(AnswerError, match="no champion"):
        aliases.rollback("nothing")


def test_a_rollback_killed_after_the_alias_loses_no_champion(monkeypatch):
    for seed, before in ((1, None), (2, "shop/1"), (3, "shop/2")):
        assert promoted(aliases.register("shop", tuned(seed)), before)

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(aliases, "_remember", killed)
        aliases.rollback("shop")
    assert aliases.champion("shop") == "shop/2"
    assert aliases.rollback("shop") == "shop/1"


def test_a_model_is_found_by_every_name_it_has():
    done = tuned(1)
    aliases.register("shop", done)
    promoted("shop/1", None)
    for name in ("champion", "shop@champion", "shop/1", f"run:{done.mlflow_run_id}", done.key):
        found, recipe = registry.target(name)
        assert (found.model, found.key, found.run_id) == (done.model, done.key, done.mlflow_run_id)
        assert recipe.name == "shop"
    assert registry.target("champion")[0].version == "shop/1"
    assert registry.target("champion", RECIPE.name)[0].name == "champion"


def test_a_name_that_leads_nowhere_says_what_would():
    with pytest.raises(RecipeError, match="name one with a 'tune'"):
        registry.target("base")
    for name, told in (
        ("champion", "--promote"),
        ("nobody/1", "not registered"),
        ("x y", "not a name"),
        ("run:1", "no such run"),
    ):
        with pytest.raises(AnswerError, match=told):
            registry.target(name)
    with pytest.raises(LookupError, match="no MLflow run"):
        registry.target("0" * 32)
    for name in ("one", "two"):
        aliases.register(name, tuned(len(name)))
        aliases.settle(name, Promotion(version=f"{name}/1", alias="champion", reason="", comparison=""), None)
    with pytest.raises(AnswerError, match="one@champion, two@champion"):
        registry.target("champion")


def test_the_base_of_a_recipe_is_a_model_too():
    found = registry.base(RECIPE.tune, RECIPE.export.style)
    assert (found.model, found.tune) == (None, RECIPE.tune)


def test_mlflow_refuses_what_we_rely_on_it_to_refuse():
    with pytest.raises(MlflowException):
        ledger.client().get_model_version_by_alias("shop", "champion")


def test_what_the_gate_made_of_a_version_is_told():
    for seed in (1, 2):
        aliases.register("shop", tuned(seed))
    promoted("shop/1", None)
    assert aliases.decisions(("shop/2", None, "shop/1")) == ("shop/1 became champion: because of shop/1",)
