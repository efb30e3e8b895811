"""Growth: only what is new, nothing twice and nothing lost, however the catalogue grows."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.catalogue import growth
from tasks.catalogue.plan import plan
from tasks.core.errors import CatalogueError
from tasks.core.models import CleanShard, Plan, Shard
from tasks.recipe.model import Catalogue, Recipe
from tests.kit.catalogues import line, lines, source

NOW = datetime(2026, 11, 25, 2, 30, tzinfo=UTC)
ROWS = lines(60)


class Chain:
    """A chain that learns all it may each time it looks, and keeps what it was taught."""

    def __init__(self, place: Path, per: int = 10, **more: object) -> None:
        self.place, self.per, self.more = place, per, more
        self.learned: list[CleanShard] = []
        self.then = Catalogue(lines_per_shard=per)
        self.taught: list[bytes] = []

    def look(self, data: list[bytes] | bytes, now: datetime = NOW) -> growth.Growth:
        catalogue = source(self.place, data, self.per)
        catalogue = catalogue.model_copy(update={"cuts": growth.cuts(self.learned, self.then, catalogue)})
        recipe = Recipe.model_validate({"catalogue": catalogue.model_dump(), **self.more})
        made = plan(catalogue, str(self.place))
        found = growth.find(
            made,
            self.learned,
            recipe.catalogue,
            recipe.shards,
            recipe.max_wait_hours,
            str(self.place / "seen.json"),
            now,
        )
        cut = catalogue.model_copy(update={"cuts": found.cuts})
        made = plan(cut, str(self.place)).first(found.end)
        for shard in (made.shards[n] for n in found.new):
            self.learned.append(clean(shard))
            self.taught += Path(shard.uri).read_bytes()[shard.start : shard.end].splitlines()
            self.then = cut
        return found


def clean(shard: Shard) -> CleanShard:
    return CleanShard(
        index=shard.index, uri="", digest="", source=shard.digest, lines=shard.lines, kept=shard.lines, dropped={},
        quarantined=0, quarantine_uri=None, splits={},
    )  # fmt: skip


def test_full_shards_are_new_and_a_last_one_that_is_filling_waits(tmp_path):
    chain = Chain(tmp_path, max_wait_hours=None)
    found = chain.look(ROWS[:24])
    assert (found.new, found.end, found.cuts) == ((0, 1), 2, ())
    assert (found.waiting.shard, found.waiting.lines, found.waiting.until) == (2, 4, None)
    assert found.waiting.why == "it has 4 of 10 lines"
    assert chain.look(ROWS[:24], NOW + timedelta(days=900)).new == ()
    assert chain.look(ROWS[:30]).new == (2,)
    assert chain.taught == [row.strip() for row in ROWS[:30]]


def test_it_is_taken_when_the_longest_wait_is_over_and_what_follows_begins_a_new_shard(tmp_path):
    chain = Chain(tmp_path, max_wait_hours=24)
    assert chain.look(ROWS[:24]).waiting.until == "2026-11-26T02:30:00+00:00"
    assert chain.look(ROWS[:26], NOW + timedelta(hours=23)).new == ()
    taken = chain.look(ROWS[:26], NOW + timedelta(hours=24))
    assert (taken.new, taken.cuts, taken.waiting) == ((2,), (10, 10, 6), None)
    # The next one was first seen later, so its own wait begins then.
    grown = chain.look(ROWS[:33], NOW + timedelta(hours=25))
    assert (grown.new, grown.waiting.lines, grown.waiting.until) == ((), 7, "2026-11-27T03:30:00+00:00")
    assert chain.look(ROWS[:47], NOW + timedelta(hours=26)).new == (3, 4)
    assert chain.look(ROWS, NOW + timedelta(days=9)).new == (5,)
    assert chain.taught == [row.strip() for row in ROWS[:56]]


def test_the_first_shard_of_a_small_catalogue_does_not_wait(tmp_path):
    chain = Chain(tmp_path, max_wait_hours=None)
    assert (chain.look(ROWS[:4]).new, chain.look(ROWS[:4]).new) == ((0,), ())
    assert chain.look(ROWS[:20]).new == (1,)
    assert chain.taught == [row.strip() for row in ROWS[:14]]


def test_a_clock_that_is_set_back_makes_nobody_wait_longer_than_once_more(tmp_path):
    chain = Chain(tmp_path, max_wait_hours=24)
    chain.look(ROWS[:24], NOW + timedelta(days=365))  # it ran ahead for a moment
    assert chain.look(ROWS[:24], NOW).waiting.until == "2026-11-26T02:30:00+00:00"
    assert chain.look(ROWS[:24], NOW + timedelta(hours=24)).new == (2,)


def test_a_file_that_says_nonsense_of_the_wait_is_written_anew(tmp_path):
    chain = Chain(tmp_path, max_wait_hours=24)
    (tmp_path / "seen.json").write_text('{"catal')
    assert chain.look(ROWS[:24]).waiting
    assert json.loads((tmp_path / "seen.json").read_text())["first_line"] == 21


@pytest.mark.parametrize("count", [20, 23])
def test_a_line_that_breaks_off_waits_for_its_end(tmp_path, count):
    chain = Chain(tmp_path, max_wait_hours=0)
    half = [*ROWS[: count - 1], ROWS[count - 1][:20]]
    chain.look(half)
    assert chain.taught == [row.strip() for row in ROWS[: count - 1]]
    only = chain.look(half)
    assert (only.new, only.waiting.why) == ((), "its only line breaks off in the middle")
    chain.look(ROWS[:count])
    assert chain.taught == [row.strip() for row in ROWS[:count]]


def test_a_last_line_without_an_end_is_learned_and_the_file_may_grow_after_it(tmp_path):
    chain = Chain(tmp_path, max_wait_hours=0)
    assert chain.look(b"".join(ROWS[:12]).rstrip()).new == (0, 1)
    assert chain.look(ROWS[:15]).new == (2,)
    assert chain.taught == [row.strip() for row in ROWS[:15]]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ([line("NEW"), *ROWS[:20]], r"shard 0 of .*lines 1 to 10 are others"),
        ([*ROWS[:12], line("EDITED"), *ROWS[13:20]], r"shard 1 of .*lines 11 to 20 are others"),
        (ROWS[:10], "shard 1 of .*it ends before"),
        (ROWS[:19], r"shard 1 of .*lines 11 to 19 are others"),
    ],
)
def test_a_catalogue_that_is_not_as_it_was_learned_is_an_error(tmp_path, changed, told):
    chain = Chain(tmp_path)
    chain.look(ROWS[:20])
    with pytest.raises(CatalogueError, match=told + ".*nothing was trained.*under another `name`"):
        chain.look(changed)


def test_only_shards_that_the_recipe_names_are_new(tmp_path):
    chain = Chain(tmp_path, shards=(0, 2))
    found = chain.look(ROWS[:40])
    assert (found.new, found.left) == ((0, 2), (1, 3))


def test_another_length_of_shards_leaves_those_learned_as_they_are(tmp_path):
    chain = Chain(tmp_path, shards=(1,))
    chain.look(ROWS[:20])
    chain.per, chain.more = 5, {}
    found = chain.look(ROWS[:30])
    assert (found.new, found.cuts) == ((0, 2, 3), (10, 10))
    assert sorted(chain.taught) == sorted(row.strip() for row in ROWS[:30])


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(1, 25), st.integers(0, 40), st.booleans()), min_size=1, max_size=8),
    st.integers(1, 12),
)
def test_however_it_grows_every_line_is_learned_once_in_order(tmp_path_factory, steps, per):
    chain = Chain(tmp_path_factory.mktemp("growth"), per, max_wait_hours=24)
    end, now = 1, NOW
    for more, hours, ended in steps:
        grown, now = min(end + more, len(ROWS)), now + timedelta(hours=hours)
        data = b"".join(ROWS[:grown])
        chain.look(data if ended or grown == len(ROWS) else data.rstrip(), now)
        end = grown
        assert chain.taught == [row.strip() for row in ROWS[: len(chain.taught)]]
    chain.look(ROWS, now)
    chain.look(ROWS, now + timedelta(hours=24))
    assert chain.taught == [row.strip() for row in ROWS]


def test_the_plan_of_the_first_shards_counts_them_alone(tmp_path):
    whole = plan(source(tmp_path, ROWS[:24], 10), str(tmp_path))
    first = whole.first(2)
    assert (first.lines, first.bytes, len(first.shards)) == (20, sum(map(len, ROWS[:20])), 2)
    assert isinstance(first, Plan) and whole.first(None) == whole.first(3) == whole
