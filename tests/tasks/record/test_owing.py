"""Owing: what follows a link is owed from before its run ends until it is done."""

from __future__ import annotations

from tasks.evaluation.exams import Exam
from tasks.recipe.model import Recipe
from tasks.record import ledger, owing
from tests.kit.links import made


def test_what_follows_is_owed_once_the_run_has_ended_well_and_until_it_is_done():
    assert owing.owed() == []
    book = ledger.MlflowLedger(Recipe(name="shop"), Exam(seen=(), unseen=()))
    links = [made(seed=seed) for seed in (1, 2, 3)]
    opened = [book.open(link) for link in links]
    for link in links[:2]:
        owing.owe(link.key)
    assert owing.owed() == []  # nothing has ended yet
    for run_id, status in zip(opened, ("FINISHED", "FAILED", "FINISHED"), strict=True):
        ledger.client().set_terminated(run_id, status)
    assert owing.owed() == [links[0].key]
    owing.done(link.key for link in links)
    assert owing.owed() == []
