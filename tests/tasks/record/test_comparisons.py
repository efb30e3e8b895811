"""The gate's memory is the comparisons in MLflow: which candidates were tried against which champion."""

from __future__ import annotations

from tasks.answers.reply import Target
from tasks.core.models import Promotion
from tasks.evaluation.candidacy import NOBODY, Candidacy
from tasks.evaluation.comparison import Compared, arms, verdicts
from tasks.evaluation.trial import Mark
from tasks.recipe.tuning import LocalTune
from tasks.record import comparisons, ledger


def compared(key: str, candidacy: Candidacy | None, recipe: str = "shop") -> Compared:
    """A recorded comparison of two models over four questions."""
    targets = tuple(Target(name=name, tune=LocalTune(base_model="b"), style="describe") for name in ("base", "new"))
    common = {"group": "unseen", "question": "?", "form": "title", "text": "It is red."}
    marks = [Mark(arm=t.name, uid=str(n), answered=t.name == "new", **common) for t in targets for n in range(4)]
    made = Compared(
        key=key, recipe=recipe, catalogue="c", measure="answered", targets=targets, decodings={}, arms=arms(marks),
        questions={"unseen": 4}, verdicts=verdicts(marks, "answered", 0), candidacy=candidacy,
    )  # fmt: skip
    return comparisons.record(made, marks)


def test_candidates_are_counted_from_the_comparisons_that_the_gate_made():
    assert comparisons.next_candidacy("shop", None) == Candidacy(champion=NOBODY, champions=0, number=1)
    for number, champion in enumerate((None, "shop/1", "shop/1")):
        compared(f"k{number}", comparisons.next_candidacy("shop", champion))
    compared("a person's", None)
    compared("another's", comparisons.next_candidacy("other", None), recipe="other")
    assert comparisons.next_candidacy("shop", "shop/1") == Candidacy(champion="shop/1", champions=1, number=3)
    assert comparisons.next_candidacy("shop", "shop/3") == Candidacy(champion="shop/3", champions=2, number=1)
    assert comparisons.next_candidacy("shop", None).number == 2


def test_of_two_that_were_asked_at_the_same_time_the_later_one_is_the_next_candidate():
    place = comparisons.next_candidacy("shop", "shop/1")
    assert [compared(key, place).candidacy.number for key in ("one", "other")] == [1, 2]


def test_the_same_comparison_is_no_second_try():
    first = compared("k", comparisons.next_candidacy("shop", None))
    again = comparisons.finished("k")
    assert again == first.model_copy(update={"again": True}) and again.candidacy.number == 1


def test_what_the_gate_made_of_it_stands_in_its_run():
    run_id = compared("k", comparisons.next_candidacy("shop", None)).mlflow_run_id
    told = Promotion(version="shop/2", alias="challenger", reason="not enough", comparison=run_id)
    comparisons.decided(told.model_copy(update={"evidence": 12.0, "needed": 900.0}))
    run = ledger.client().get_run(run_id)
    assert (run.data.metrics["evidence"], run.data.metrics["evidence_needed"]) == (12.0, 900.0)
    tags = run.data.tags
    assert tags["decision"] == "shop/2 is challenger: not enough"
    assert (tags["shardtune.gate"], tags["shardtune.gate.champion"], tags["shardtune.gate.number"]) == (
        "shop", NOBODY, "1",
    )  # fmt: skip
