"""One job per key, whatever dies: a provider with faults that can be set, and a ledger that outlives every caller."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest

from tasks.backends import lifecycle, patience
from tasks.backends.contract import ENDED, Job, JobStatus, Link
from tasks.core.errors import BackendError, LimitError, TransientError, VanishedError
from tasks.recipe.tuning import LocalTune
from tests.kit.contract import Memory
from tests.kit.links import made


class Provider:
    """Keeps jobs as a provider does, and counts what was paid for. Faults are set as attributes."""

    name = "provider"
    paid = True
    poll = (0.0, 0.0)

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}
        self.states: dict[str, list[JobStatus]] = {}
        self.submitted = 0
        self.lost_answers = 0  # create calls that work, but whose answer never arrives
        self.lost_calls = 0  # create calls that never arrive
        self.blind = 0  # looks that fail
        self.late = 0  # looks that do not show a new job yet
        self.deaf = 0  # status calls that fail
        self.numbers = count()
        self.full = 0  # create calls that are refused because a limit is reached
        self.gone = 0  # status calls that know no such job
        self.uploads: set[str] = set()
        self.cancelled: list[str] = []

    def find(self, key: str) -> Job | None:
        if self.blind:
            self.blind -= 1
            raise TransientError("503")
        found = [job for job in self.jobs.values() if job.key == key]
        if found and self.late:
            self.late -= 1
            return None
        live = [job for job in found if self.states[job.id][0].state not in ("failed", "cancelled")]
        return (live[:1] or found[-1:])[0] if found else None

    def tidy(self, link: Link, job: Job | None = None) -> None:
        if link.key not in {job.key for job in self.jobs.values()}:
            self.uploads.discard(link.key)

    def cancel(self, job: Job) -> None:
        self.cancelled.append(job.id)

    def submit(self, link: Link) -> Job:
        self.submitted += 1
        self.uploads.add(link.key)
        if self.full:
            self.full -= 1
            raise LimitError("429 daily limit", "2026-01-02T00:00:00+00:00")
        if self.lost_calls:
            self.lost_calls -= 1
            raise TransientError("connection refused")
        job = Job(key=link.key, backend=self.name, id=f"job-{next(self.numbers)}", submitted_at="2026-01-01T00:00:00")
        self.jobs[job.id] = job
        self.states.setdefault(job.id, [JobStatus(state="running")])
        if self.lost_answers:
            self.lost_answers -= 1
            raise TransientError("timed out")
        return job

    def status(self, job: Job) -> JobStatus:
        if self.gone:
            self.gone -= 1
            raise VanishedError(f"404 {job.id!r}")
        if self.deaf:
            self.deaf -= 1
            raise TransientError("502")
        told = self.states[job.id]
        return told.pop(0) if len(told) > 1 else told[0]


@pytest.fixture
def provider():
    return Provider()


@pytest.fixture
def ledger():
    return Memory()


def start(link, provider, ledger, again=False):
    return lifecycle.start(link, provider, ledger, again)


def test_the_intent_is_durable_before_the_first_create_call(provider, ledger):
    seen = []
    provider.submit = lambda link: (seen.append(list(ledger.opened)), Provider.submit(provider, link))[1]
    start(made(), provider, ledger)
    assert seen == [[(made().key, False)]]


def test_a_second_start_adopts_the_job(provider, ledger):
    first, second = start(made(), provider, ledger), start(made(), provider, ledger)
    assert (first.adopted, second.adopted) == (False, True)
    assert first.job == second.job and provider.submitted == 1


def test_a_sweep_waits_anew_for_the_job_of_a_new_start(provider, ledger):
    link = made()
    patience.waited(link.key, lifecycle.UNLISTED)  # a sweep found no job of an earlier start, which had died
    lifecycle.start(link, provider, ledger)
    assert patience.since(link.key, lifecycle.UNLISTED) is None


def test_a_death_between_create_and_record_is_found_at_the_provider(provider, ledger):
    job = provider.submit(made())  # and nothing was recorded
    assert start(made(), provider, ledger).job == job
    assert provider.submitted == 1 and ledger.known[job.key] == job


@pytest.mark.parametrize(("late", "blind"), [(0, 0), (2, 0), (0, 2)])
def test_a_lost_answer_is_searched_with_patience_and_never_paid_twice(provider, ledger, late, blind):
    provider.lost_answers = 1
    assert provider.find(made().key) is None
    provider.late, looks = late, provider.find
    # Blindness begins after the search that comes before the first create call.
    provider.find = lambda key: _then_blind(provider, looks, key, blind)
    started = start(made(), provider, ledger)
    assert provider.submitted == 1 and list(provider.jobs) == [started.job.id]


def _then_blind(provider, looks, key, blind):
    provider.find = looks
    found = looks(key)
    provider.blind = blind
    return found


@pytest.mark.parametrize("error", [TransientError("503"), BackendError("403")])
def test_a_lost_answer_whose_job_nobody_can_look_for_is_not_paid_again(provider, ledger, error):
    def find(key):
        if provider.submitted:
            raise error
        return None

    looks, provider.find, provider.lost_answers = provider.find, find, 1
    with pytest.raises(TransientError, match="it is unknown whether the job exists"):
        start(made(), provider, ledger)
    assert provider.submitted == 1 and provider.uploads
    provider.find = looks
    assert start(made(), provider, ledger).job.id in provider.jobs and provider.submitted == 1


@pytest.mark.parametrize("error", [TransientError("503"), BackendError("403")])
def test_a_job_is_recorded_though_the_look_after_it_fails(provider, ledger, error):
    def find(key):
        if provider.submitted:
            raise error
        return None

    provider.find = find
    job = start(made(), provider, ledger).job
    assert ledger.known == {made().key: job} and provider.uploads


@pytest.mark.parametrize("error", [LimitError("one job at a time", "2026-01-02T00:00:00+00:00"), BackendError("409")])
def test_what_a_job_that_is_not_listed_yet_may_need_is_kept(provider, ledger, error):
    def submit(link):
        if provider.submitted:
            raise error
        return Provider.submit(provider, link)

    provider.submit, provider.lost_answers, provider.late, removed = submit, 1, 100, []
    provider.tidy = lambda *of: removed.append(of)
    with pytest.raises(BackendError):
        start(made(), provider, ledger)
    assert not removed


def test_again_never_takes_an_older_attempt_for_the_new_one(provider, ledger):
    first, second = provider.submit(made()), provider.submit(made())
    ledger.record(second)
    for job in (first, second):
        provider.states[job.id] = [JobStatus(state="failed")]
    provider.find = lambda key: first  # a provider that tells no times, and lists a new job late
    third = start(made(), provider, ledger, again=True).job
    assert third.id not in (first.id, second.id) and not provider.cancelled and provider.submitted == 3


def test_a_call_that_never_arrived_is_repeated_after_the_search(provider, ledger):
    provider.lost_calls = 1
    job = start(made(), provider, ledger).job
    assert provider.submitted == 2 and list(provider.jobs.values()) == [job]


def test_an_error_that_is_an_answer_is_not_repeated(provider, ledger):
    def refused(link):
        provider.submitted += 1
        raise BackendError("quota")

    provider.submit = refused
    with pytest.raises(BackendError, match="quota"):
        start(made(), provider, ledger)
    assert provider.submitted == 1


def test_an_answer_lost_twice_is_searched_twice_and_then_told(provider, ledger):
    provider.lost_calls = 2
    with pytest.raises(TransientError, match="refused"):
        start(made(), provider, ledger)
    assert provider.submitted == 2 and provider.jobs == {}


def test_a_limit_is_not_tried_again_at_once_and_leaves_no_upload(provider, ledger):
    provider.full = 1
    with pytest.raises(LimitError, match="2026-01-02") as limit:
        start(made(), provider, ledger)
    assert (provider.submitted, provider.uploads) == (1, set())
    assert limit.value.until == "2026-01-02T00:00:00+00:00"
    assert start(made(), provider, ledger).job.id in provider.jobs


def test_two_ledgers_at_the_same_moment_keep_the_first_job(provider, ledger):
    blind = Memory()
    first = start(made(), provider, ledger).job
    looks, provider.find = provider.find, lambda key: None  # the other machine looked before the first job was there

    def submit(link):
        provider.find = looks
        return Provider.submit(provider, link)

    provider.submit = submit
    assert start(made(), provider, blind).job == first
    assert provider.cancelled == [name for name in provider.jobs if name != first.id]


def test_racing_starts_make_one_job(provider, ledger):
    with ThreadPoolExecutor(8) as pool:
        started = list(pool.map(lambda _: start(made(), provider, ledger), range(8)))
    assert provider.submitted == 1
    assert len({s.job.id for s in started}) == 1
    assert sum(not s.adopted for s in started) == 1


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_an_ended_job_wants_again_and_then_an_entry_of_its_own(provider, ledger, state):
    first = start(made(), provider, ledger).job
    provider.states[first.id] = [JobStatus(state=state, error="bad rows")]
    with pytest.raises(BackendError, match=r"bad rows.*--again"):
        start(made(), provider, ledger)
    assert provider.submitted == 1 and (made().key, True) not in ledger.opened
    second = start(made(), provider, ledger, again=True).job
    assert second.id != first.id and ledger.known[first.key] == second
    assert (made().key, True) in ledger.opened


@pytest.mark.parametrize("state", ["queued", "running", "succeeded"])
def test_again_never_pays_for_what_works_or_has_worked(provider, ledger, state):
    first = start(made(), provider, ledger).job
    provider.states[first.id] = [JobStatus(state=state)]
    assert start(made(), provider, ledger, again=True).job == first
    assert provider.submitted == 1


def test_a_lost_answer_to_again_does_not_take_the_old_job_for_the_new_one(provider, ledger):
    first = start(made(), provider, ledger).job
    provider.states[first.id] = [JobStatus(state="failed")]
    provider.lost_calls = 1
    second = start(made(), provider, ledger, again=True).job
    assert second.id != first.id and len(provider.jobs) == 2


def test_an_interrupted_job_goes_on_without_again(provider, ledger):
    first = start(made(), provider, ledger).job
    provider.states[first.id] = [JobStatus(state="failed", interrupted=True)]
    assert start(made(), provider, ledger).adopted
    assert provider.submitted == 2 and (made().key, True) not in ledger.opened


def test_watch_tells_every_change_once_and_returns_the_end(provider, ledger):
    job = start(made(), provider, ledger).job
    steps = [JobStatus(state="running", step=n) for n in (1, 1, 2)]
    provider.states[job.id] = [JobStatus(state="queued"), *steps, JobStatus(state="succeeded", step=2, model="m")]
    told = []
    ended = lifecycle.watch(job, made(), provider, told.append)
    assert [(s.state, s.step) for s in told] == [("queued", 0), ("running", 1), ("running", 2), ("succeeded", 2)]
    assert ended.state in ENDED and ended.model == "m"


def test_watch_outlasts_a_provider_that_does_not_answer(provider, ledger, monkeypatch):
    monkeypatch.setattr(lifecycle.time, "sleep", lambda seconds: None)
    job = start(made(), provider, ledger).job
    provider.states[job.id] = [JobStatus(state="succeeded")]
    provider.deaf = 10 * lifecycle.TRIES
    assert lifecycle.watch(job, made(), provider, lambda s: None).state == "succeeded"
    assert provider.submitted == 1
    provider.deaf = 2 * lifecycle.TRIES
    monkeypatch.setattr(lifecycle, "AWAY", -1.0)
    with pytest.raises(TransientError):
        lifecycle.watch(job, made(), provider, lambda s: None)
    assert provider.deaf == lifecycle.TRIES


def test_watch_resumes_as_long_as_it_gets_further(provider, ledger):
    job = start(made(), provider, ledger).job
    died = [JobStatus(state="failed", interrupted=True, step=n, error="killed") for n in (3, 5, 5)]
    provider.states[job.id] = died
    ended = lifecycle.watch(job, made(), provider, lambda s: None)
    assert ended.interrupted and provider.submitted == 3  # the first start, and twice more after it got further


def test_a_job_that_is_gone_for_good_has_failed(provider, ledger):
    job = start(made(), provider, ledger).job
    provider.gone = 99
    ended = lifecycle.watch(job, made(), provider, lambda s: None)
    assert (ended.state, ended.detail) == ("failed", "vanished") and "--again" in ended.error


def test_a_job_that_is_missed_for_a_moment_goes_on(provider, ledger):
    job = start(made(), provider, ledger).job
    provider.states[job.id] = [JobStatus(state="succeeded")]
    provider.gone = 2
    assert lifecycle.watch(job, made(), provider, lambda s: None).state == "succeeded"


def test_a_job_that_waits_for_somebody_is_not_watched_for_ever(provider, ledger):
    job = start(made(), provider, ledger).job
    provider.states[job.id] = [JobStatus(state="running", detail="paused", held="resume it")]
    with pytest.raises(BackendError, match=r"paused: resume it"):
        lifecycle.watch(job, made(), provider, lambda s: None)


def test_watch_gives_up_waiting_and_leaves_the_job(provider, ledger):
    job = start(made(), provider, ledger).job
    with pytest.raises(BackendError, match="same command"):
        lifecycle.watch(job, made(), provider, lambda s: None, deadline=0.0)
    assert provider.status(job).state == "running"


def test_the_key_is_all_that_decides_the_result_and_nothing_else():
    link = made()
    assert made(name="other").key == link.key
    assert made(parent="p", parent_model="m").key == link.key  # the parent's key decides
    assert made(tune=LocalTune(base_model="base", checkpoint_steps=3)).key == link.key
    different = [
        made(seed=2),
        made(style="sales"),
        made(base_model="else"),
        made(base_digest="c"),
        made(backend="local"),
        made(parent="p", parent_key="k"),
        made(endpoint="loopback/v1"),
        made(train=()),
        made(tune=LocalTune(base_model="base", learning_rate=1e-3)),
    ]
    assert len({link.key, *(d.key for d in different)}) == 1 + len(different)
