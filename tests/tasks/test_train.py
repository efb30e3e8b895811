"""What the log of a flow run says of a job that is watched."""

from __future__ import annotations

import logging

import pytest

from tasks import train
from tasks.backends.contract import Event, JobStatus, LossPoint, Quote
from tests.kit import links

PAGE = "http://mlflow:5000/#/experiments/1/runs/r"


@pytest.fixture
def diary(monkeypatch):
    monkeypatch.setattr(train.ledger, "run_id", lambda key: "r")
    monkeypatch.setattr(train.address, "page", lambda run: PAGE)
    link = links.made()
    return train.Diary(links.job(link).model_copy(update={"url": "https://provider/job-0"}), link)


def running(step: int, **facts: float) -> JobStatus:
    points = tuple(LossPoint(step=n, loss=4.0 - n) for n in range(1, step + 1))
    return JobStatus(state="running", detail="training", step=step, steps=9, points=points, facts=facts)


def test_the_log_says_where_a_job_is_how_long_it_takes_and_where_to_look(diary, caplog, monkeypatch):
    caplog.set_level(logging.INFO, logger="tasks.train")
    now = [0.0]
    monkeypatch.setattr(train.time, "monotonic", lambda: now[0])
    for seconds, status in ((0, running(0)), (5, running(1)), (21, running(1)), (41, running(3)), (42, running(3))):
        now[0] = 100.0 + seconds
        diary(status)
    now[0] += 1
    diary(running(9).model_copy(update={"state": "succeeded", "detail": "succeeded"}))
    told = [record.message for record in caplog.records]
    end = f"at provider, https://provider/job-0, {PAGE}"
    assert told == [
        f"shard 0: running, training, {end}",
        f"shard 0: running, training, step 1 of 9, loss 3.000, {end}",
        f"shard 0: running, training, step 3 of 9, loss 1.000, about 0:01:00 left, {end}",
        f"shard 0: succeeded, step 9 of 9, loss -5.000, {end}",
    ]


def test_a_trainer_that_knows_how_long_it_takes_is_believed(diary, caplog):
    caplog.set_level(logging.INFO, logger="tasks.train")
    diary(running(2, eta_seconds=90.4))
    assert "about 0:01:30 left" in caplog.text


EVENTS = (Event(id="e", at="2026-01-01T00:00:00+00:00", level="error", message="the file is refused"),)
LOST = [
    ({"state": "cancelled"}, 5.0),
    ({"state": "cancelled", "events": EVENTS}, 5.0),
    ({"state": "failed", "detail": "vanished"}, 5.0),
    ({"state": "failed", "detail": "vanished", "events": EVENTS}, 5.0),
    ({"state": "failed"}, 5.0),
    ({"state": "failed", "events": EVENTS}, 0.0),
    ({"state": "failed", "events": EVENTS, "step": 3}, 5.0),
    ({"state": "cancelled", "billed_tokens": 0}, 0.0),
    ({"state": "cancelled", "facts": {"billed_usd": 0.0}}, 0.0),
    ({"state": "cancelled", "step": 9, "facts": {"billed_usd": 2.0}}, 2.0),
]


@pytest.mark.parametrize(("status", "usd"), LOST)
def test_a_job_without_a_result_is_free_only_where_its_provider_says_so(status, usd):
    cost = Quote(examples=3, tokens=9, usd_low=2.0, usd_high=6.0, basis="b", answers_usd=1.0)
    assert train.lost(JobStatus(**status), cost) == usd
    assert train.lost(JobStatus(**status), cost.model_copy(update={"usd_high": None})) in (0.0, usd)
