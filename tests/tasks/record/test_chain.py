"""What a chain has learned is read from its runs, and one process at a time goes on with it."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tasks.backends.contract import Link
from tasks.core.errors import BackendError
from tasks.core.models import CleanShard, Prepared
from tasks.evaluation.exams import Exam
from tasks.evaluation.forgetting import ForgettingMatrix
from tasks.examples.overlap import Overlap
from tasks.recipe.model import Recipe
from tasks.recipe.tuning import LocalTune
from tasks.record import address, chain, evidence, ledger, lineage, names, overview, turns
from tests.kit import links

NOBODY = Exam(seen=(), unseen=())
NONE = Overlap(trained=0, held=0, near=0, held_near=0, threshold=0.8, dropped=False, pairs=())
PATIENCE = 60.0


def shard(index: int, lines: int = 10) -> CleanShard:
    counted = {"kept": lines, "dropped": {}, "quarantined": 0, "quarantine_uri": None, "splits": {}}
    return CleanShard(index=index, uri="u", digest="d", source=f"{index:064}", lines=lines, **counted)


def begin(index: int, parent: Link | None = None, name: str = "shop", lines: int = 10, **changes: object) -> Link:
    """A link on one shard, its run RUNNING."""
    told = {"catalogue": "c", "lines": lines, "kept": lines, "dropped": {}, "quarantined": 0, "cut": False, "made": 1}
    prepared = Prepared(shards=(shard(index, lines),), exports=(), **told)
    made = links.made(parent_key=parent.key if parent else None, **changes)
    exports = [
        e.model_copy(update={"shard": index, "digest": f"{e.split}{index}"}) for e in (*made.train, *made.holdout)
    ]
    made = made.model_copy(update={"train": (exports[0],), "holdout": (exports[1],)})
    recipe = Recipe(name=name, tune=LocalTune(base_model="base"))
    ledger.MlflowLedger(recipe, NOBODY, beside=ledger.ExportOrigin(prepared, NONE)).open(made)
    return made


def end(link: Link, model: str = "ft:model") -> Link:
    """The run of this link, FINISHED with a result."""
    api, run_id = ledger.client(), ledger.run_id(link.key)
    result = links.result(link, run_id, model=model)
    api.log_dict(run_id, result.model_dump(mode="json"), "result.json")
    api.set_terminated(run_id, "FINISHED")
    return link


def forget(way: list[Link], *rows: tuple[float, ...], kept: tuple[bool, ...]) -> None:
    shards, keys = tuple(range(len(rows))), tuple(link.key for link in way)
    answers = tuple(tuple((mean,) * 20 for mean in row) for row in rows)
    matrix = ForgettingMatrix(
        shards=shards, keys=keys, scores=rows, kept=kept, bound=5.0, answers=answers, ways=("",) * len(rows)
    )
    evidence.forgetting(ledger.run_id(way[-1].key), matrix)


def learned(past: chain.ChainHistory) -> list[tuple[int, bool]]:
    return [(s.index, one.kept) for one in past.taught for s in one.prepared.shards]


def test_a_name_that_nobody_used_has_learned_nothing():
    assert chain.past("shop") == chain.ChainHistory()
    begin(0, name="other")
    assert chain.past("shop") == chain.ChainHistory()


def test_a_chain_is_what_leads_to_its_last_model():
    first = end(begin(0))
    second = end(begin(1, first))
    found = chain.past("shop")
    assert learned(found) == [(0, True), (1, True)] and found.last.key == second.key
    assert [s.lines for s in found.shards] == [10, 10] and found.underway == ()


def test_a_trial_on_fewer_lines_does_not_become_the_chain_and_one_on_as_many_does():
    last = end(begin(1, end(begin(0))))
    end(begin(0, seed=2))
    assert chain.past("shop").last.key == last.key
    later = end(begin(1, end(begin(0, seed=3)), seed=3))
    assert chain.past("shop").last.key == later.key


def test_a_first_link_that_was_made_under_another_name_is_part_of_the_chain():
    last = end(begin(1, end(begin(0, name="other"))))
    assert learned(chain.past("shop")) == [(0, True), (1, True)]
    assert chain.past("shop").last.key == last.key


def test_failed_links_have_taught_nothing_and_running_ones_are_under_way():
    first = end(begin(0))
    evidence.fail(ledger.run_id(begin(1, first).key), "failed", "out of memory")
    running = begin(1, first, seed=2)
    begin(0, seed=9)  # on the base: no part of this chain
    found = chain.past("shop")
    assert (learned(found), [one.key for one in found.underway]) == ([(0, True)], [running.key])
    assert [s.index for s in found.shards] == [0, 1]


def test_a_run_that_was_cut_before_it_held_all_is_not_gone_on_with():
    first = begin(0)
    api, run_id = ledger.client(), ledger.run_id(first.key)
    place = Path(api.get_run(run_id).info.artifact_uri.removeprefix("file://"))
    (place / "prepared.json").unlink()
    assert chain.past("shop").underway == ()


def test_what_forgot_too_much_was_tried_and_is_gone_on_from_by_nobody():
    first = end(begin(0))
    forget([first], (20.0,), kept=(True,))
    second = end(begin(1, first))
    forget([first, second], (20.0,), (10.0, 30.0), kept=(True, False))
    found = chain.past("shop")
    assert (learned(found), found.last.key) == ([(0, True), (1, False)], first.key)
    assert found.forgetting.scores == ((20.0,), (10.0, 30.0))
    third = end(begin(2, first))
    found = chain.past("shop")
    assert (learned(found), found.last.key) == ([(0, True), (1, False), (2, True)], third.key)
    assert (found.forgetting.kept, len(found.forgetting.scores)) == ((True, False), 2)  # the third row is to come


def test_links_that_were_never_measured_have_empty_rows():
    way = [end(begin(0))]
    assert chain.past("shop").forgetting is None
    for index in (1, 2):
        way.append(end(begin(index, way[-1])))
    assert chain.past("shop").forgetting.scores == ((), ())
    forget(way, (), (), (1.0, 2.0, 3.0), kept=(True,) * 3)
    assert chain.past("shop").forgetting.scores == ((), (), (1.0, 2.0, 3.0))


def test_a_chain_whose_record_or_model_is_gone_is_an_error(tmp_path):
    first = end(begin(0))
    end(begin(1, first), model=str(tmp_path / "adapter"))
    with pytest.raises(BackendError, match=r"last model of chain 'shop'.*is missing.*nothing was trained"):
        chain.past("shop")
    (tmp_path / "adapter").mkdir()
    ledger.client().delete_run(ledger.run_id(first.key))
    with pytest.raises(BackendError, match=f"MLflow has no run of key '{first.key}'.*nothing was trained"):
        chain.past("shop")


def hold(root: str, ready: str) -> None:
    os.environ["SHARDTUNE_ROOT"] = root
    with chain.turn("shop") as other:
        Path(ready).write_text(str(other))
        time.sleep(PATIENCE)


def test_one_process_has_the_turn_until_it_is_killed(tmp_path, own_root, monkeypatch):
    monkeypatch.setattr(chain, "PATIENCE", 0.1)
    ready = tmp_path / "ready"
    process = multiprocessing.get_context("spawn").Process(target=hold, args=(str(own_root), str(ready)))
    process.start()
    until = time.monotonic() + PATIENCE
    while not ready.exists():
        assert time.monotonic() < until
        time.sleep(0.05)
    assert ready.read_text() == "None"
    with chain.turn("shop") as other:
        assert other == "another process on this machine"
    with chain.turn("another") as other:
        assert other is None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    for _ in range(2):
        with chain.turn("shop") as other:
            assert other is None


def elsewhere(until: datetime) -> None:
    """Another machine has the turn."""
    api = ledger.client()
    told = {"place": "other:/root", "id": "1", "until": until.isoformat()}
    api.set_experiment_tag(ledger.experiment(api) or ledger.made(api), "shardtune.turn.chain.shop", json.dumps(told))


def test_another_machine_has_the_turn_as_long_as_it_says_that_it_lives():
    elsewhere(datetime.now(UTC) + timedelta(minutes=1))
    with chain.turn("shop") as other:
        assert "'other:/root' is working on 'chain.shop'" in other
    elsewhere(datetime.now(UTC) - timedelta(seconds=1))
    with chain.turn("shop") as other:
        assert other is None


def test_a_turn_of_days_is_renewed_and_given_back(monkeypatch):
    monkeypatch.setattr(turns, "RENEWED", 0.05)
    api = ledger.client()

    def until() -> str:
        tags = api.get_experiment(ledger.experiment(api)).tags
        return json.loads(tags["shardtune.turn.chain.shop"])["until"] if "shardtune.turn.chain.shop" in tags else ""

    with chain.turn("shop"):
        first = until()
        end = time.monotonic() + PATIENCE
        while until() <= first:
            assert time.monotonic() < end
            time.sleep(0.05)
    assert until() == ""


def test_runs_written_before_tags_had_plain_names_are_read_as_before():
    first = end(begin(0, lines=7))
    waiting = begin(1, first)
    evidence.wait(ledger.run_id(waiting.key), "2999-01-01T00:00:00+00:00", "the provider is full")
    evidence.lead(ledger.run_id(waiting.key), "http://prefect/runs/flow-run/f", None)
    known = chain.past("shop"), lineage.explain(first.key[:8]), overview.open_runs(), ledger.waiting(waiting.key)
    api = ledger.client()
    for run in api.search_runs([ledger.experiment(api)]):
        for name, old in names.OLD.items():
            if name in run.data.tags:
                api.set_tag(run.info.run_id, old, run.data.tags[name])
                api.delete_tag(run.info.run_id, name)
    again = chain.past("shop"), lineage.explain(first.key[:8]), overview.open_runs(), ledger.waiting(waiting.key)
    assert again == known and again[3] == "2999-01-01T00:00:00+00:00" and again[2][0].state == "waiting"
    assert again[1].links[0].recipe == "shop" and learned(again[0]) == [(0, True)]
    assert address.flow_run(ledger.run_id(waiting.key)) == "http://prefect/runs/flow-run/f"
