"""The ledger on a real MLflow store: one run per key, and enough in it to go on from any other process."""

from __future__ import annotations

import base64
import json
import zlib

import pytest

from tasks.backends.contract import JobStatus, LossPoint
from tasks.core.errors import AnswerError, DamagedError, LimitError
from tasks.core.models import Export
from tasks.evaluation.exams import Exam
from tasks.recipe.model import Recipe
from tasks.recipe.tuning import LocalTune, Lora
from tasks.record import attempts, describe, evidence, ledger, lineage, turns
from tests.kit.links import job, made, result

RECIPE = Recipe(name="shop", tune=LocalTune(base_model="base"))
NOBODY = Exam(seen=(), unseen=())


@pytest.fixture
def book() -> ledger.MlflowLedger:
    return ledger.MlflowLedger(RECIPE, NOBODY)


def run(run_id: str):
    return ledger.client().get_run(run_id)


def test_a_run_holds_what_the_link_is_before_anything_starts(book):
    link = made(tune=LocalTune(base_model="base", lora=Lora(r=64), learning_rate=3e-4))
    found = run(book.open(link))
    assert found.info.status == "RUNNING"
    assert found.data.tags["shardtune.key"] == link.key
    assert found.data.tags["recipe"] == "shop"
    params = found.data.params
    assert (params["lora.r"], params["learning_rate"], params["seed"]) == ("64", "0.0003", "1")
    assert params["library.mlflow"] == describe.library("mlflow")
    assert set(LocalTune.model_fields) - {"lora"} <= set(params)
    inputs = {i.dataset.digest: i.tags[0].value for i in found.inputs.dataset_inputs}
    assert inputs == {link.train[0].digest: "train", link.holdout[0].digest: "holdout"}


@pytest.mark.parametrize(
    ("shards", "told"), [([1], "n shard 1"), ([2, 0], "n shards 0, 2"), (range(70), "n shards 0 to 69")]
)
def test_the_name_of_a_run_says_what_it_learned(book, shards, told):
    (one,) = made().train
    link = made(train=tuple(one.model_copy(update={"shard": n, "digest": f"{n:032}"}) for n in shards))
    assert run(book.open(link)).info.run_name == f"{told} {link.key[:8]}"


def test_opening_twice_is_one_run_with_every_input_once(book):
    first = book.open(made())
    assert book.open(made()) == first
    assert len(run(first).inputs.dataset_inputs) == 2


def test_another_key_is_another_run(book):
    assert book.open(made()) != book.open(made(seed=2))


def test_a_job_is_found_by_its_key_and_by_no_other(book):
    book.open(made())
    assert book.job(made().key) is None
    book.record(job(made()))
    assert book.job(made().key) == job(made())
    assert book.job(made(seed=2).key) is None


def test_a_run_that_ended_is_running_again_once_its_job_is_recorded(book):
    opened = book.open(made())
    evidence.fail(opened, "failed", "power")
    assert book.open(made()) == opened and run(opened).info.status == "FAILED"
    book.record(job(made()))
    assert run(opened).info.status == "RUNNING"


def test_a_new_attempt_goes_on_in_the_run_with_the_old_one_in_its_history(book):
    first = book.open(made())
    book.record(job(made()))
    points = tuple(LossPoint(step=n, loss=4.0 - n) for n in (1, 2))
    evidence.progress(first, JobStatus(state="running", points=points))
    evidence.fail(first, "failed", "power", usd=1.5)
    assert ledger.spent(made().key) == 1.5
    assert book.open(made(), anew=True) == first
    assert run(first).info.status == "RUNNING" and book.job(made().key) is None
    book.open(made(), anew=True)  # whoever began the attempt died, and it is begun again
    book.record(job(made(), 1))
    assert book.job(made().key) == job(made(), 1)
    ended = {"job": "job-0", "state": "failed", "reason": "power", "last_step": 2, "usd": 1.5}
    assert attempts.ended(run(first)) == [ended] and ledger.spent(made().key) == 1.5  # a budget goes on counting it
    for _ in range(2):
        evidence.progress(first, JobStatus(state="running", points=points))
    history = ledger.client().get_metric_history(first, "loss")
    assert sorted((m.step, m.value) for m in history) == [(1, 3.0), (2, 2.0), (3, 3.0), (4, 2.0)]


def test_an_attempt_that_resumes_the_same_job_goes_on_with_its_steps(book):
    opened = book.open(made())
    book.record(job(made()))
    evidence.progress(opened, JobStatus(state="running", points=(LossPoint(step=1, loss=3.0),)))
    book.open(made(), anew=True)
    book.record(job(made()))
    points = tuple(LossPoint(step=n, loss=4.0 - n) for n in (1, 2))
    evidence.progress(opened, JobStatus(state="running", points=points))
    assert sorted(m.step for m in ledger.client().get_metric_history(opened, "loss")) == [1, 2]


def test_a_changed_operational_setting_is_no_obstacle_to_going_on(book):
    opened = book.open(made())
    assert book.open(made(tune=LocalTune(base_model="base", wait_hours=3.0))) == opened


def test_a_child_lies_under_its_parents_run(book):
    parent = book.open(made())
    child = book.open(made(parent="ft:x", parent_key=made().key))
    assert run(child).data.tags["mlflow.parentRunId"] == parent
    assert run(child).data.tags["shardtune.parent"] == made().key


def test_one_machine_at_a_time_starts_a_key(book, monkeypatch):
    with book.turn("k"):
        assert not ledger.taken("k")  # it is ours
        monkeypatch.setattr(turns, "_place", lambda: "another:/root")
        assert ledger.taken("k") and not ledger.taken("other")
        with pytest.raises(LimitError, match="is working on 'k'"), book.turn("k"):
            pass
        monkeypatch.undo()
    assert not ledger.taken("k")


def test_a_turn_whose_holder_died_here_is_taken_over(book):
    held = book.turn("k")
    held.__enter__()  # and the process is killed
    with book.turn("k"):
        pass
    assert not ledger.taken("k")


def test_any_later_process_knows_link_recipe_questions_and_job(book):
    assert ledger.known(made().key) is None
    book.open(made())
    assert ledger.known(made().key) == ledger.Known(made(), RECIPE, NOBODY, None)
    book.record(job(made()))
    assert ledger.known(made().key) == ledger.Known(made(), RECIPE, NOBODY, job(made()))


def test_a_run_cut_before_it_held_all_is_not_known(book):
    opened = book.open(made())
    held = ledger.client().list_artifacts(opened)
    place = run(opened).info.artifact_uri.removeprefix("file://")
    assert {"link.json", "recipe.json", "questions.json"} <= {item.path for item in held}
    (ledger.Path(place) / "questions.json").unlink()
    assert ledger.known(made().key) is None


def test_unfinished_are_the_running_ones(book):
    assert ledger.unfinished() == []
    book.open(made())
    book.open(made(seed=2))
    evidence.fail(ledger.run_id(made(seed=2).key), "cancelled", "enough")
    assert ledger.unfinished() == [made().key]


def test_finished_needs_the_end_the_result_and_the_model(book, tmp_path):
    opened = book.open(made())
    assert ledger.finished(made().key) is None
    ledger.client().set_terminated(opened, "FINISHED")
    assert ledger.finished(made().key) is None  # killed before the result was written
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    told = result(made(), opened, model=str(adapter))
    ledger.client().log_dict(opened, told.model_dump(mode="json"), "result.json")
    assert ledger.finished(made().key) == told.model_copy(update={"trained": False})
    adapter.rmdir()
    assert ledger.finished(made().key) is None


@pytest.mark.parametrize("name", ["link", "recipe", "questions", "quote"])
@pytest.mark.parametrize("other", [{}, {"format": 99, "entries": []}])
def test_what_another_version_wrote_of_a_link_is_refused_in_one_line_and_not_taken_for_unstarted(book, name, other):
    opened = book.open(made())
    assert ledger.known(made().key).link == made()
    ledger.put(ledger.client(), opened, {name: other})
    with pytest.raises(DamagedError, match=rf"'{name}.json' of MLflow run '{opened}' is .*another version") as told:
        ledger.known(made().key)
    assert "\n" not in str(told.value)
    if name == "link":
        with pytest.raises(DamagedError, match="another version"):  # never an answer that leaves a model out
            lineage.who_trained_on("P-1")
    evidence.fail(opened, "failed", "power")  # it can be ended all the same
    assert run(opened).info.status == "FAILED"


def test_an_unknown_key_says_what_to_do():
    with pytest.raises(LookupError, match="shardtune finetune"):
        ledger.run_id("nope")


def test_the_inputs_carry_counts_and_place(book):
    link = made()
    found = run(book.open(link)).inputs.dataset_inputs[0].dataset
    export: Export = link.train[0] if found.digest == link.train[0].digest else link.holdout[0]
    assert str(export.examples) in found.profile and export.uri in found.source


def test_the_beginning_of_a_key_is_enough_and_one_of_several_lists_them(book):
    book.open(made())
    key = made().key
    assert ledger.whole(key[:8]) == ledger.whole(key) == key
    api, place = ledger.client(), ledger.experiment(ledger.client())
    several = [f"{key[:8]}{n}" + "0" * 23 for n in range(2) if f"{n}" != key[8]]
    for other in several:
        api.create_run(place, tags={"shardtune.key": other, "mlflow.runName": f"shop {other[:9]}"})
    with pytest.raises(AnswerError, match="several keys") as told:
        ledger.whole(key[:8])
    assert all(one in str(told.value) for one in (key, *several))
    assert ledger.whole(key) == key
    for nonsense in ("", "abc", "%", "zzzzzzzz", "a" * 33):
        with pytest.raises(AnswerError, match="not a key"):
            ledger.whole(nonsense)
    with pytest.raises(AnswerError, match="no MLflow run"):
        ledger.whole("0" * 32)


def test_the_list_of_runs_has_a_saved_view_as_mlflow_saves_one(book):
    book.open(made())
    api = ledger.client()
    held = json.loads(api.get_experiment(ledger.experiment(api)).tags["mlflow.sharedViewState.shardtune"])
    # What MLflow 3.17.2 wrote when the view "probe" was saved in its page, unpacked in the same way.
    theirs = (
        "eJxdUdFOAkEM/BWzz8TgK28HghIPTUDRxBhYdwvXZG+XbLsKEv7d7p0C+thpZzqd7hWBjqYaoWOIqqdUR4VoIfZ3d7CTWjNHfE8MdEmsIy8Ya"
        "zgNFWRUb6UdQUc1/cfc7qmiLGXI4QrMzjg4yheG8SPzrWZNwPTbeX3rqDpYcHOIhMGfGM5dTJMn4RA4MAx2EFyqBem9nttbzkKKBpYyeI5Osi"
        "j9R6/b9Usla00j95APan20wDNarmTJ/tBRUQzcorXgs5y4Go2ns8fFVXcxfbqfifYHwudEb7HGL7DHRIRWInHLPKJIhTGSn1w5hSbHM0oiuIk"
        "hbcDOtUtAYz+oJFbxwTFJv0ILw3rDu7/wOnP68jCfnPspabjdaG+zeL5h7cK7diV6aKiD4Fe4lpbaFluk9tvEsGn+5mFWh8CVB5Id3VP2L3l4"
        "ApKkaSnqcPgGBFnPCA=="
    )
    ours, known = (
        json.loads(zlib.decompress(base64.b64decode(text))) for text in (held["state"].removeprefix("deflate;"), theirs)
    )
    assert set(ours) <= set(known) and all(type(ours[n]) is type(known[n]) for n in ours)
    assert {"tags.`recipe`", "tags.`model`", "tags.`shards`", "tags.`cost`"} <= set(ours["selectedColumns"])
    assert (ours["orderByKey"], ours["orderByAsc"]) == ("metrics.`loss_heldout`", True)
