"""The gate: only a better model that breaks no guard becomes champion, and the reason is told."""

from __future__ import annotations

import pytest

from tasks.answers.reply import Target
from tasks.core.models import Parity
from tasks.evaluation.comparison import GUARD, Compared
from tasks.evaluation.forgetting import ForgettingMatrix, heat_map
from tasks.evaluation.gate import decide
from tasks.evaluation.verdict import Verdict
from tasks.recipe.tuning import LocalTune


def target(name: str, style: str = "describe", tuned: bool = True) -> Target:
    return Target(name=name, tune=LocalTune(base_model="b"), style=style, model="m" if tuned else None)


def compared(style: str = "describe", before: str = "describe", **words: str) -> Compared:
    """Verdicts of shop/2 over base and shop/1; `words` are {base, champion, base_guard, champion_guard: word}."""
    mine = "shop/2 + retrieval" if style == "grounded" else "shop/2"
    theirs = {
        "base": "base + retrieval" if style == "grounded" else "base",
        "champion": "shop/1 + retrieval" if before == "grounded" else "shop/1",
    }
    said = []
    for other, arm in theirs.items():
        common = {"new": mine, "old": arm, "difference": 0.1, "low": 0.0, "high": 0.2, "questions": 60}
        said.append(Verdict(measure="supported", word=words.get(other, "better"), **common))
        said.append(Verdict(measure=GUARD, word=words.get(f"{other}_guard", "can't tell"), **common))
    targets = (target("base", style, tuned=False), target("shop/1", before), target("shop/2", style))
    return Compared(
        key="k", recipe="shop", catalogue="c", measure="supported", targets=targets, decodings={}, questions={},
        arms=(), verdicts=tuple(said), mlflow_run_id="run",
    )  # fmt: skip


def decided(forgetting: ForgettingMatrix | None = None, parity: Parity | None = None, **changes: str):
    return decide(compared(**changes), "shop/2", ("base", "shop/1"), "shop/2", forgetting, parity)


@pytest.mark.parametrize("style", ["describe", "grounded"])
@pytest.mark.parametrize("before", ["describe", "grounded"])
def test_better_than_both_and_worse_by_no_guard_is_champion(style, before):
    found = decided(style=style, before=before)
    assert (found.alias, found.version, found.comparison) == ("champion", "shop/2", "run")
    assert "better by supported" in found.reason


@pytest.mark.parametrize("other", ["base", "champion"])
@pytest.mark.parametrize("word", ["worse", "can't tell"])
def test_not_better_than_one_of_them_is_challenger_with_the_reason(other, word):
    found = decided(**{other: word})
    assert found.alias == "challenger"
    assert f"vs {'base' if other == 'base' else 'shop/1'}: {word}" in found.reason and "better by" not in found.reason


@pytest.mark.parametrize("other", ["base", "champion"])
def test_better_at_the_price_of_more_unsupported_answers_is_challenger(other):
    found = decided(**{f"{other}_guard": "worse"})
    assert found.alias == "challenger" and "more unsupported answers" in found.reason


@pytest.mark.parametrize(
    ("same", "merged", "alias"), [(4, 0.0, "champion"), (3, 0.0, "challenger"), (4, 0.1, "challenger")]
)
def test_an_adapter_that_answers_otherwise_than_in_training_is_challenger(same, merged, alias):
    found = decided(parity=Parity(asked=4, same=same, merged=merged, bound=0.02))
    assert found.alias == alias and (f"{same} of 4 answers" in found.reason) is (alias == "challenger")


def matrix(*rows: tuple[float, ...], kept: tuple[bool, ...] = (), bound: float = 5.0) -> ForgettingMatrix:
    many = len(rows)
    return ForgettingMatrix(
        shards=tuple(range(many)), keys=("k",) * many, scores=rows, kept=kept or (True,) * many, bound=bound
    )


def test_a_model_that_forgot_too_much_is_challenger():
    found = decided(matrix((20.0,), (14.0, 30.0)))
    assert found.alias == "challenger"
    assert found.reason == "the link on shard 1 forgets shard 0 by 6.0 chrF points (bound 5)"


def test_what_is_forgotten_is_measured_from_the_best_link_that_was_kept():
    assert matrix((20.0,)).drops == {}
    assert matrix((20.0,), (22.0, 30.0), (16.0, 28.0, 9.0)).drops == {0: 6.0, 1: 2.0}
    assert matrix((20.0,), (22.0, 30.0), (16.0, 28.0, 9.0)).forgotten == {0: 6.0}
    branched = matrix((20.0,), (10.0, 30.0), (19.0, 28.0, 9.0), kept=(True, False, True))
    assert branched.drops == {0: 1.0} and not branched.forgotten


def test_links_that_nobody_asked_count_for_nothing():
    gaps = matrix((), (), (16.0, 28.0, 9.0), (15.0, 20.0, 9.0, 8.0))
    assert gaps.forgotten == {1: 8.0} and matrix((), ()).drops == {}
    assert len(heat_map(gaps).axes[0].texts) == 7


def test_the_heat_map_frames_what_was_forgotten():
    figure = heat_map(matrix((20.0,), (10.0, 30.0), (19.0, 28.0, 9.0), kept=(True, False, True)))
    (place, _) = figure.axes
    assert [t.get_text() for t in place.texts] == ["20.0", "10.0", "30.0", "19.0", "28.0", "9.0"]
    assert [(round(p.get_x()), round(p.get_y())) for p in place.patches] == [(0, 1)]
    assert [t.get_text() for t in place.get_yticklabels()] == ["0", "1, not kept", "2"]
    assert "framed: more than 5 points" in place.get_title()
    assert "framed" not in heat_map(matrix((20.0,), (22.0, 30.0))).axes[0].get_title()
