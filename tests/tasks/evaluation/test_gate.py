"""The gate: only a better model that breaks no guard becomes champion, and the reason is told."""

from __future__ import annotations

import pytest

from tasks.answers.reply import Target
from tasks.core.models import Parity
from tasks.evaluation.candidacy import Candidacy, following
from tasks.evaluation.comparison import GUARD, Compared
from tasks.evaluation.forgetting import ForgettingMatrix
from tasks.evaluation.gate import decide, done
from tasks.evaluation.trial import Mark
from tasks.evaluation.verdict import Verdict
from tasks.recipe.tuning import LocalTune


def target(name: str, style: str = "describe", tuned: bool = True) -> Target:
    return Target(name=name, tune=LocalTune(base_model="b"), style=style, model="m" if tuned else None)


PLACE = Candidacy(champion="shop/1", champions=1, number=12)
ENOUGH = {"better": 2 * PLACE.needed, "worse": 0.0, "can't tell": 40.0}


def compared(style: str = "describe", before: str = "describe", **words: str) -> Compared:
    """Verdicts of shop/2 over base and shop/1; `words` are {base, champion, base_guard, champion_guard: word}."""
    mine = "shop/2 with rows" if style == "grounded" else "shop/2"
    theirs = {
        "base": "base with rows" if style == "grounded" else "base",
        "champion": "shop/1 with rows" if before == "grounded" else "shop/1",
    }
    said = []
    for other, arm in theirs.items():
        common = {"new": mine, "old": arm, "difference": 0.1, "low": 0.0, "high": 0.2, "questions": 60}
        word = words.get(other, "better")
        said.append(Verdict(measure="answered", word=word, evidence=ENOUGH[word], **common))
        said.append(Verdict(measure=GUARD, word=words.get(f"{other}_guard", "can't tell"), **common))
    targets = (target("base", style, tuned=False), target("shop/1", before), target("shop/2", style))
    return Compared(
        key="k", recipe="shop", catalogue="c", measure="answered", targets=targets, decodings={}, questions={},
        arms=(), verdicts=tuple(said), mlflow_run_id="run", candidacy=PLACE,
    )  # fmt: skip


def decided(forgetting: ForgettingMatrix | None = None, parity: Parity | None = None, **changes: str):
    return decide(compared(**changes), "shop/2", ("base", "shop/1"), "shop/2", forgetting, parity)


@pytest.mark.parametrize("style", ["describe", "grounded"])
@pytest.mark.parametrize("before", ["describe", "grounded"])
def test_better_than_both_and_worse_by_no_guard_is_champion(style, before):
    found = decided(style=style, before=before)
    assert (found.alias, found.version, found.comparison) == ("champion", "shop/2", "run")
    assert (found.evidence, found.needed) == (2 * PLACE.needed, PLACE.needed)
    assert "better by 'answered in own checked words'" in found.reason


@pytest.mark.parametrize("other", ["base", "champion"])
@pytest.mark.parametrize("word", ["worse", "can't tell"])
def test_not_better_than_one_of_them_is_challenger_with_the_reason(other, word):
    found = decided(**{other: word})
    assert found.alias == "challenger"
    assert f"vs {'base' if other == 'base' else 'shop/1'}: {word}" in found.reason and "better by" not in found.reason


@pytest.mark.parametrize("other", ["base", "champion"])
def test_better_at_the_price_of_more_false_claims_is_challenger(other):
    found = decided(**{f"{other}_guard": "worse"})
    assert found.alias == "challenger" and "more false claims shown" in found.reason


@pytest.mark.parametrize(
    ("same", "merged", "alias"), [(4, 0.0, "champion"), (3, 0.0, "challenger"), (4, 0.1, "challenger")]
)
def test_an_adapter_that_answers_otherwise_than_in_training_is_challenger(same, merged, alias):
    found = decided(parity=Parity(asked=4, same=same, merged=merged, bound=0.02))
    assert found.alias == alias and (f"{same} of 4 answers" in found.reason) is (alias == "challenger")


def test_better_by_the_look_of_it_is_not_enough_after_many_candidates():
    found = compared()
    luck = [v.model_copy(update={"evidence": 900.0}) for v in found.verdicts]
    told = decide(found.model_copy(update={"verdicts": tuple(luck)}), "shop/2", ("base", "shop/1"), "shop/2")
    assert told.alias == "challenger" and PLACE.needed > 900
    assert (
        "better by 'answered in own checked words'" in told.reason
        and "not enough evidence: 900 to 1, and 13,235 to 1 is needed" in told.reason
    )
    assert "of candidate 12 against shop/1; about 24 more questions would be enough" in told.reason
    first = found.model_copy(update={"verdicts": tuple(luck), "candidacy": following([], "shop/1")})
    assert decide(first, "shop/2", ("base", "shop/1"), "shop/2").alias == "champion"


def test_a_record_of_an_older_version_has_no_evidence():
    old = compared()
    old = old.model_copy(update={"verdicts": tuple(v.model_copy(update={"evidence": None}) for v in old.verdicts)})
    told = decide(old.model_copy(update={"candidacy": None}), "shop/2", ("base", "shop/1"), "shop/2")
    assert told.alias == "challenger" and "more such questions would not help" in told.reason


def marks(arm: str, scores: list[int]) -> list[Mark]:
    common = {"arm": arm, "group": "unseen", "form": "title", "question": "", "text": ""}
    return [Mark(uid=str(n), answered=bool(score), **common) for n, score in enumerate(scores)]


def test_asking_ends_where_the_evidence_over_each_is_enough_or_a_gain_over_one_is_left_out():
    def ended(*scores: list[int]) -> bool:
        asked = [mark for arm, mine in zip("abc", scores, strict=True) for mark in marks(arm, mine)]
        return done(asked, "answered", "c", ["a", "b"], PLACE)

    assert ended([0] * 100, [0] * 100, [1] * 100)
    assert not ended([0] * 100, [0, 1] * 50, [1, 0] * 50)
    assert ended([0] * 100, [1] * 100, [1] * 100)


def test_a_model_that_forgot_too_much_is_challenger():
    answers = (((20.0,) * 30,), ((14.0,) * 30, (30.0,) * 30))
    told = ForgettingMatrix(
        shards=(0, 1), keys=("a", "b"), scores=((20.0,), (14.0, 30.0)), kept=(True, True), bound=5.0, answers=answers,
        ways=("", ""),
    )  # fmt: skip
    found = decided(told)
    assert found.alias == "challenger" and found.reason == told.told
