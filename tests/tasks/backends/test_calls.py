"""Marks of create calls: what one machine sent, every other one knows, without a ledger and before a list shows it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tasks.backends import calls, lifecycle
from tasks.backends.contract import Job, JobStatus, Link
from tasks.core import store
from tasks.core.errors import BackendError, TransientError
from tests.kit import bucket
from tests.kit.contract import Memory
from tests.kit.links import job, made
from tests.tasks.backends.test_lifecycle import Provider


class Marked(Provider):
    """A provider whose backend marks its create calls, as those of paid ones do; it lists nothing."""

    poll = (0.001, 0.01)

    def find(self, key: str) -> Job | None:
        return None

    def submit(self, link: Link) -> Job:
        with lifecycle.creating(link.key, self.poll) as answered:
            return answered(super().submit(link))


@pytest.fixture(params=["disk", "object storage"])
def root(request, monkeypatch, tmp_path):
    """Where the root lies; what is local lies elsewhere."""
    if request.param == "disk":
        yield None
        return
    with bucket.serving(monkeypatch) as shop:
        monkeypatch.setenv("SHARDTUNE_ROOT", f"{shop}/root")
        monkeypatch.setenv("SHARDTUNE_LOCAL", str(tmp_path / "one"))
        yield shop


def other_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Memory:
    """From here on this is another machine: its disk is empty, and so is its ledger."""
    monkeypatch.setenv("SHARDTUNE_LOCAL", str(tmp_path / "two"))
    return Memory()


def test_a_mark_is_made_by_one_of_many(root):
    with ThreadPoolExecutor(8) as pool:
        made = [call for call in pool.map(lambda _: calls.claim("k", None), range(8)) if call]
    assert len(made) == 1 and calls.last("k") == made[0]
    assert calls.claim("k", made[0]).number == 2


def test_a_job_is_known_to_a_machine_without_ledger_and_list(root, monkeypatch, tmp_path):
    provider = Marked()
    first = lifecycle.start(made(), provider, Memory()).job
    again = lifecycle.start(made(), provider, other_machine(monkeypatch, tmp_path))
    assert again.job == first and again.adopted and provider.submitted == 1


def test_a_call_that_was_cut_is_looked_for_by_another_machine(root, monkeypatch, tmp_path):
    provider, link = Marked(), made()
    with pytest.raises(KeyboardInterrupt), lifecycle.creating(link.key, provider.poll):
        ours = Provider.submit(provider, link)
        raise KeyboardInterrupt
    looks = iter([None] * 4)
    provider.find = lambda key: next(looks, ours)  # the list is late
    assert lifecycle.start(link, provider, other_machine(monkeypatch, tmp_path)).job == ours
    assert provider.submitted == 1 and calls.last(link.key).job == ours


def test_a_call_in_the_air_is_not_sent_a_second_time(root, monkeypatch):
    monkeypatch.setattr(Marked, "poll", (60.0, 60.0))
    provider, link = Marked(), made()
    with (
        lifecycle.creating(link.key, provider.poll) as answered,
        pytest.raises(TransientError, match="a moment ago"),
    ):
        answered(job(link))
        provider.submit(link)
    assert provider.submitted == 0


def test_what_was_refused_is_no_job_and_may_be_asked_again(root):
    link = made()
    with pytest.raises(BackendError, match="quota"), lifecycle.creating(link.key, (0.0, 0.0)):
        raise BackendError("quota")
    assert calls.last(link.key).state == "refused" and calls.job(link.key) is None
    assert lifecycle.start(link, Marked(), Memory()).adopted is False


def test_a_second_attempt_that_was_cut_is_not_paid_again(monkeypatch, tmp_path):
    provider, link, ledger = Marked(), made(), Memory()
    first = lifecycle.start(link, provider, ledger).job
    provider.states[first.id] = [JobStatus(state="failed", error="rows")]
    with pytest.raises(KeyboardInterrupt), lifecycle.creating(link.key, provider.poll):
        second = Provider.submit(provider, link)
        raise KeyboardInterrupt
    looks = iter([first] * 4)
    provider.find = lambda key: next(looks, second)
    assert lifecycle.start(link, provider, ledger, again=True).job == second and provider.submitted == 2


def test_a_mark_that_cannot_be_read_may_be_a_job(root):
    link, provider = made(), Marked()
    calls.claim(link.key, None)
    with store.writing(calls._place(link.key, 1)) as stream:
        stream.write(b'{"state": "refu')
    assert calls.last(link.key).state == "sent"
    with pytest.raises(TransientError, match="a moment ago"), lifecycle.creating(link.key, (60.0, 60.0)):
        pass
    assert lifecycle.start(link, provider, Memory()).job.id in provider.jobs  # nobody lists it: it was no job
