"""What every backend must do. A backend's test subclasses `BackendContract` and gives it the fixtures it asks for."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest

from tasks.backends import lifecycle
from tasks.backends.contract import ENDED, Backend, Decoding, Job, JobStatus, Link
from tasks.core.models import CleanShard
from tasks.examples.questions import draw
from tasks.examples.templates import prompt_hash

STATES = {"queued", "running", "succeeded", "failed", "cancelled"}
PATIENCE = 240.0  # seconds until a job that does not end fails the test


def until(backend: Backend, job: Job, wanted: Any) -> JobStatus:
    """Look at the job until `wanted(status)`; every state on the way is one of the five words."""
    end = time.monotonic() + PATIENCE
    while True:
        status = backend.status(job)
        assert status.state in STATES
        if wanted(status):
            return status
        assert time.monotonic() < end, status
        time.sleep(0.05)


def ended(status: JobStatus) -> bool:
    return status.state in ENDED


class Memory:
    """A ledger in memory."""

    def __init__(self) -> None:
        self.known: dict[str, Job] = {}
        self.opened: list[tuple[str, bool]] = []

    def turn(self, key: str) -> AbstractContextManager[None]:
        return nullcontext()

    def open(self, link: Link, anew: bool = False) -> str:
        self.opened.append((link.key, anew))
        return link.key

    def job(self, key: str) -> Job | None:
        return self.known.get(key)

    def record(self, job: Job) -> None:
        self.known[job.key] = job


class BackendContract:
    """Fixtures to give: `backend`; `quick` and `lasting`, links that end in seconds and that go on for long; `shard`,
    the clean shard of `quick`'s training export."""

    def test_a_job_is_found_by_its_key_and_ends_once(self, backend: Backend, quick: Link, shard: CleanShard) -> None:
        assert backend.find(quick.key) is None
        job = backend.submit(quick)
        assert (job.key, job.backend) == (quick.key, backend.name)
        assert backend.find(quick.key) == job
        status = until(backend, job, ended)
        assert status.state == "succeeded", status.error
        assert status.model and status.heldout_after is not None
        assert [p.step for p in status.points] == list(range(1, status.step + 1))
        backend.cancel(job)
        assert backend.status(job) == status
        assert backend.find("0" * 32) is None
        self.answers_are_those_of_the_tuned_model(backend, quick, shard, status.model)

    def answers_are_those_of_the_tuned_model(
        self, backend: Backend, quick: Link, shard: CleanShard, model: str
    ) -> None:
        questions = draw(quick.train, [shard], 5, 1)
        talks, decoding = [q.messages for q in questions], Decoding(max_new_tokens=6)
        (answers,) = backend.answer(model, quick.tune, talks, decoding)
        assert [a.prompt_hash for a in answers] == [q.prompt_hash for q in questions]
        sent = backend.prompts(quick.tune, talks)
        assert [prompt_hash(prompt) for prompt in sent] == [q.prompt_hash for q in questions]
        turned = backend.answer(model, quick.tune, talks[::-1], decoding)[0][::-1]
        assert [(a.text, a.prompt_hash, a.answer_tokens) for a in turned] == [
            (a.text, a.prompt_hash, a.answer_tokens) for a in answers
        ]
        (alone,) = backend.answer(model, quick.tune, talks[2:3], decoding)
        assert [a.text for a in alone] == [answers[2].text]
        assert {a.decoding for a in answers} == {decoding}
        shorter = decoding.model_copy(update={"max_new_tokens": 2})
        untuned, cut = backend.answer(None, quick.tune, talks, decoding, shorter)
        assert [a.decoding.max_new_tokens for a in (untuned[0], cut[0])] == [6, 2]
        assert [a.text for a in untuned] != [a.text for a in answers]
        assert {a.model_version for a in untuned}.isdisjoint({a.model_version for a in answers})
        assert backend.answer(model, quick.tune, [], decoding, decoding) == [[], []]

    def test_submits_at_once_are_one_job_and_cancel_ends_it(self, backend: Backend, lasting: Link) -> None:
        ledger = Memory()
        with ThreadPoolExecutor(4) as pool:
            jobs = [s.job for s in pool.map(lambda link: lifecycle.start(link, backend, ledger), [lasting] * 4)]
        assert len({job.id for job in jobs}) == 1
        until(backend, jobs[0], lambda s: s.state == "running" and (s.points or s.step))
        backend.cancel(jobs[0])
        assert until(backend, jobs[0], ended).state == "cancelled"
        backend.cancel(jobs[0])
        assert backend.status(jobs[0]).state == "cancelled"
        assert backend.find(lasting.key) == jobs[0]

    def test_a_good_link_has_no_findings_and_a_price(self, backend: Backend, quick: Link) -> None:
        assert [f for f in backend.check(quick) if f.level == "error"] == []
        quote = backend.quote(quick)
        assert quote.examples > 0 and quote.basis
        assert quote.usd_low is None or quote.usd_low >= 0

    def test_a_job_of_nobody_is_an_error_and_not_a_state(self, backend: Backend, quick: Link) -> None:
        nobody = Job(key="0" * 32, backend=backend.name, id="nobody", submitted_at="2026-01-01T00:00:00")
        with pytest.raises(Exception, match="nobody"):
            backend.status(nobody)
