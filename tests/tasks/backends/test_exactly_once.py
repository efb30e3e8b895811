"""Exactly one paid job per key: killed at every point, and with every fault on the way, counted at the provider.

Each case runs in a process of its own that is killed (SIGKILL) at its point; then the same work is asked for again. The
table that is printed at the end is counted in the simulator and in MLflow, not in our code.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from deployments.simulators import serve
from flows import sweep
from flows.sweep import refresh
from tasks.backends.contract import Link
from tasks.core import settings
from tasks.record import ledger, names
from tests.kit import paid

# What `make test` runs of the table; `make test-all` runs all of it.
FEW = {
    ("openai bare", "answered, not yet written"),
    ("gemini", "after upload, before the call"),
    "create lost after the effect",
    "create answered by half",
    "upload 500 after the effect",
}
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(
    ["tests.kit.paid", "tasks.backends.openai.backend", "tasks.backends.gemini.backend", "matplotlib.figure"]
    + ["matplotlib.backends.backend_agg", "sacrebleu.metrics.chrf", "rouge_score.rouge_scorer", "mlflow.data"]
    + ["mlflow.store.tracking.sqlalchemy_store", "openai.resources.fine_tuning.jobs", "openai.resources.chat"]
)
SEEDS = count()  # each case has a key of its own
ROWS: list[tuple[str, str, int, int, int]] = []  # point, provider, jobs made, uploads left behind, rows in MLflow


def cases(table: Sequence[Any], known: Callable[[Any], Any] = lambda case: case) -> list[Any]:
    """The cases of a table, those that `make test` leaves out marked."""
    return [case if known(case) in FEW else pytest.param(*case, marks=pytest.mark.whole) for case in table]


def die(*_: Any, **__: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def before(owner: Any, name: str) -> None:
    """Die instead of calling it."""
    setattr(owner, name, die)


def after(owner: Any, name: str) -> None:
    """Die when it has done its work."""
    real, held = getattr(owner, name), vars(owner)[name]

    def deadly(*args: Any, **more: Any) -> None:
        real(*args, **more)
        die()

    setattr(owner, name, staticmethod(deadly) if isinstance(held, staticmethod) else deadly)


def in_the_middle_of_a_file() -> None:
    """Die when some of the file has been read for sending."""
    from tasks.backends.uploads import Upload

    real = Upload._lines

    def cut(self: Upload) -> Iterator[bytes]:
        yield from list(real(self))[:3]
        die()

    Upload._lines = cut  # type: ignore[method-assign]


def creator(provider: str) -> tuple[Any, str]:
    """The SDK's create call."""
    if provider == "openai":
        from openai.resources.fine_tuning.jobs import Jobs

        return Jobs, "create"
    from google.genai.tunings import Tunings

    return Tunings, "tune"


def arm(point: str, provider: str) -> None:
    """Prepare this process to die at the point."""
    from tasks.record import evidence

    points: dict[str, Callable[[], None]] = {
        "before the intent": lambda: before(ledger.MlflowLedger, "open"),
        "after the intent": lambda: after(ledger.MlflowLedger, "open"),
        "during upload": in_the_middle_of_a_file,
        "after upload, before the call": lambda: before(*creator(provider)),
        "answered, not yet written": lambda: before(ledger.MlflowLedger, "record"),
        "written": lambda: after(ledger.MlflowLedger, "record"),
        "while polling": lambda: after(evidence, "progress"),
        "before finishing": lambda: before(evidence, "finish"),
        "while finishing": lambda: after(evidence, "_tables"),
    }
    points[point]()


def bare(simulators: serve.Simulators) -> None:
    """An endpoint that only speaks the protocol: it keeps neither metadata nor suffix nor labels, has no events, and
    tells nothing of models. Its jobs are found by the names of their files."""
    always = {"fault": "bare", "when": "mode", "times": None}
    simulators.state.faults += [{"route": "openai.jobs", **always}, {"route": "vertex.jobs", **always}]
    for route in ("jobs.events", "models.retrieve", "models.list"):
        gone = {"fault": "status", "status": 404, "times": None}
        simulators.state.faults.append({"route": f"openai.{route}", **gone})


KILLS = (
    "before the intent",
    "after the intent",
    "during upload",
    "after upload, before the call",
    "answered, not yet written",
    "written",
    "while polling",
    "before finishing",
    "while finishing",
)


def child(place: str, link: str, point: str | None, provider: str) -> None:
    if point:
        arm(point, provider)
    paid.work(Path(place), Link.model_validate_json(link))


def run(place: Path, link: Link, point: str | None = None) -> int | None:
    """The work in a process of its own; its exit status, negative where a signal ended it."""
    process = started(place, link, point)
    process.join(120)
    return process.exitcode


def started(place: Path, link: Link, point: str | None = None) -> Any:
    """The work, begun in a process of its own."""
    process = PROCESSES.Process(target=entered, args=(dict(os.environ), str(place), link.model_dump_json(), point))
    process.start()
    return process


def entered(environment: dict[str, str], place: str, link: str, point: str | None) -> None:
    """In the child: this test's environment, which the server of children has never seen."""
    os.environ.clear()
    os.environ.update(environment)
    child(place, link, point, Link.model_validate_json(link).backend)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One root for all cases: MLflow's store is made once."""
    return tmp_path_factory.mktemp("once") / "root"


@pytest.fixture
def simulators(monkeypatch: pytest.MonkeyPatch, shared: Path) -> Iterator[serve.Simulators]:
    monkeypatch.setenv("SHARDTUNE_ROOT", str(shared))
    with paid.simulated(monkeypatch) as running:
        yield running


@pytest.fixture(scope="module", autouse=True)
def table() -> Iterator[None]:
    yield
    print(f"\n{'kill point or fault':44}{'provider':14}{'jobs made':>10}{'uploads left':>14}{'rows in MLflow':>16}")
    for point, provider, made, left, rows in ROWS:
        print(f"{point:44}{provider:14}{made:>10}{left:>14}{rows:>16}")


def proven(point: str, simulators: serve.Simulators, link: Link, provider: str = "") -> None:
    """One job made, nothing left behind, one finished run with every loss once."""
    made = serve.seen(simulators.state)["creates"][paid.SERVICE[link.backend]]
    left = paid.left_behind(simulators)
    api = ledger.client()
    runs = api.search_runs([ledger.experiment(api)], f"tags.`{names.KEY}` = '{link.key}'")
    ROWS.append((point, provider or link.backend, made, len(left), len(runs)))
    assert (made, left, len(runs)) == (1, [], 1)
    (found,) = runs
    assert found.info.status == "FINISHED"
    steps = [m.step for m in api.get_metric_history(found.info.run_id, "loss")]
    assert steps and sorted(steps) == list(range(1, len(steps) + 1))
    assert ledger.unfinished() == []


# Where a provider keeps nothing of the key but a file's name, every point is tried; where it keeps more, those at
# which that is looked for. The others run the same code.
POINTS = [("openai bare", point) for point in KILLS] + [("gemini", point) for point in KILLS]
POINTS += [("openai", "during upload"), ("openai", "answered, not yet written"), ("openai", "while finishing")]
POINTS += [("gemini bare", "answered, not yet written")]


@pytest.mark.parametrize(("provider", "point"), cases(POINTS))
def test_killed_at_any_point_it_is_one_job_and_one_run(point, provider, simulators, tmp_path):
    name, _, keeps = provider.partition(" ")
    if keeps == "bare":
        bare(simulators)
    link = paid.linked(tmp_path, paid.TUNES[name], seed=next(SEEDS))
    assert run(tmp_path, link, point) == -signal.SIGKILL
    assert run(tmp_path, link) == 0
    proven(f"killed {point}", simulators, link, provider)


@pytest.mark.parametrize("provider", ["openai", "gemini"])
def test_two_at_once_on_one_key_are_one_job(provider, simulators, tmp_path):
    link = paid.linked(tmp_path, paid.TUNES[provider], seed=next(SEEDS))
    both = [started(tmp_path / name, link) for name in ("one", "two")]
    for process in both:
        process.join(120)
    assert [process.exitcode for process in both] == [0, 0]
    proven("two processes at once", simulators, link)


@pytest.mark.whole
@pytest.mark.parametrize("provider", ["openai", "gemini"])
def test_two_machines_at_once_on_one_key_are_one_job(provider, simulators, tmp_path, monkeypatch):
    link = paid.linked(tmp_path, paid.TUNES[provider], seed=next(SEEDS))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", settings.tracking_uri())
    both = []
    for name in ("one", "two"):  # a root of its own is what a machine has; MLflow is what they share
        monkeypatch.setenv("SHARDTUNE_ROOT", str(tmp_path / name))
        both.append(started(tmp_path / name, link))
    for process in both:
        process.join(120)
    assert [process.exitcode for process in both] == [0, 0]
    proven("two machines at once", simulators, link)


@pytest.mark.whole
@pytest.mark.parametrize("provider", ["openai", "gemini"])
def test_a_sweep_removes_what_a_start_that_died_has_sent(provider, simulators, tmp_path, monkeypatch):
    link = paid.linked(tmp_path, paid.TUNES[provider], seed=next(SEEDS))
    assert run(tmp_path, link, "after upload, before the call") == -signal.SIGKILL
    assert paid.left_behind(simulators)
    waits = refresh(link.key)  # a provider may list a job late, so one look decides nothing
    assert (waits.concluded, bool(paid.left_behind(simulators))) == (False, True)
    monkeypatch.setattr(sweep, "ABSENT", 0)
    swept = refresh(link.key)
    assert (swept.state, swept.concluded, paid.left_behind(simulators)) == ("failed", True, [])
    assert run(tmp_path, link) == 0
    proven("swept after upload, then again", simulators, link)


CREATE = {"openai": "jobs.create", "gemini": "tune"}
READ = {"openai": "jobs.retrieve", "gemini": "get"}
LIST = {"openai": "jobs.list", "gemini": "list"}
ASK = {"openai": "chat", "gemini": "generate"}
BUSY = {"status": 429, "code": "rate_limit_exceeded", "retry_after": 1}
FAULTS: list[tuple[str, list[tuple[dict[str, str], dict[str, Any]]]]] = [
    ("create lost before the effect", [(CREATE, {"fault": "lost"})]),
    ("create lost after the effect", [(CREATE, {"fault": "lost", "when": "after"})]),
    ("create answered by a proxy after the effect", [(CREATE, {"fault": "html", "when": "after"})]),
    ("create reset after the effect", [(CREATE, {"fault": "reset", "when": "after"})]),
    ("create answered by half", [(CREATE, {"fault": "cut", "when": "after"})]),
    ("create refused: still preparing", [(CREATE, {"fault": "status", "status": 400, "message": "not ready"})]),
    ("create 500 after the effect", [(CREATE, {"fault": "status", "status": 500, "when": "after"})]),
    ("create 429 before the effect", [(CREATE, {"fault": "status", **BUSY})]),
    ("create 429 after the effect", [(CREATE, {"fault": "status", **BUSY, "when": "after"})]),
    ("create slow", [(CREATE, {"fault": "slow", "seconds": 1, "when": "after"})]),
    (
        "create lost, then the list fails twice",
        [(CREATE, {"fault": "lost", "when": "after"}), (LIST, {"fault": "lost", "times": 2, "skip": 2})],
    ),
    (
        "create lost where no filter is supported",
        [
            (CREATE, {"fault": "lost", "when": "after"}),
            (LIST, {"fault": "no_filter", "when": "answer", "times": None}),
        ],
    ),
    ("job not readable for a while", [(READ, {"fault": "status", "status": 503, "times": 3})]),
    ("job not found for a moment", [(READ, {"fault": "vanished", "when": "answer", "times": 2})]),
    ("unknown state", [(READ, {"fault": "unknown_state", "word": "defragmenting", "when": "answer", "times": 2})]),
    ("nulls in the job", [(READ, {"fault": "nulls", "when": "answer", "times": 2})]),
    ("fresh model not found", [(ASK, {"fault": "status", "status": 404, "times": 2, "skip": 4})]),
    ("succeeded without a model at first", [(READ, {"fault": "nameless", "when": "answer", "times": 3})]),
]
OPENAI_FAULTS: list[tuple[str, str, dict[str, Any]]] = [
    ("upload lost after the effect", "files.create", {"fault": "lost", "when": "after"}),
    ("upload 500 after the effect", "files.create", {"fault": "status", "status": 500, "when": "after", "times": 3}),
    ("upload reset before the effect", "files.create", {"fault": "reset"}),
    ("filter of jobs refused", "jobs.list", {"fault": "refuse_filter", "when": "answer", "times": None}),
    ("result file cut", "files.content", {"fault": "truncated", "when": "answer", "times": None}),
    ("result file gone", "files.content", {"fault": "status", "status": 404, "times": None}),
    ("events without data", "jobs.events", {"fault": "nulls", "when": "answer", "times": 2}),
    ("keeps nothing, 500 after the effect", "jobs.create", {"fault": "status", "status": 500, "when": "after"}),
    ("checkpoints unknown", "jobs.checkpoints", {"fault": "status", "status": 404, "times": None}),
]


@pytest.mark.parametrize("provider", ["openai", "gemini"])
@pytest.mark.parametrize(("name", "faults"), cases(FAULTS, lambda case: case[0]), ids=[name for name, _ in FAULTS])
def test_whatever_fails_on_the_way_it_is_one_job_and_one_run(name, faults, provider, simulators, tmp_path):
    link = paid.linked(tmp_path, paid.TUNES[provider], seed=next(SEEDS))
    for routes, fault in faults:
        route = f"{paid.SERVICE[provider]}.{routes[provider]}"
        simulators.state.faults.append({**fault, "route": route})
    paid.work(tmp_path, link)
    proven(name, simulators, link)
    assert simulators.state.taken  # else nothing was proven


@pytest.mark.parametrize(
    ("name", "route", "fault"), cases(OPENAI_FAULTS, lambda case: case[0]), ids=[name for name, *_ in OPENAI_FAULTS]
)
def test_what_only_openai_can_fail_at_is_one_job_and_one_run(name, route, fault, simulators, tmp_path):
    link = paid.linked(tmp_path, paid.TUNES["openai"], seed=next(SEEDS))
    simulators.state.faults.append({**fault, "route": f"openai.{route}"})
    if name.startswith("keeps nothing"):
        bare(simulators)
    paid.work(tmp_path, link)
    proven(name, simulators, link)
    assert simulators.state.taken
