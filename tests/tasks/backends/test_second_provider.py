"""The paid backends against a server that shares no line with our simulators: one create, its files, its losses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.backends import get_backend, lifecycle
from tasks.backends.contract import Link
from tasks.backends.gemini import bucket
from tasks.core.errors import BackendError
from tests.kit import paid, provider
from tests.kit.contract import Memory
from tests.kit.provider import Provider

KINDS = ("openai", "gemini")
FEW = {("openai", "html", 2.0, "bare overlap"), ("gemini", "500", 2.0, "bare overlap")}  # what `make test` runs
CASES = [
    pytest.param(*case, marks=() if case in FEW else pytest.mark.whole)
    for case in (
        (kind, after, late, modes)
        for kind in KINDS
        for after in ("", "500", "html", "cut")
        for late in (0.0, 2.0)
        for modes in ("", "bare", "overlap", "bare overlap")
    )
]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Provider, pytest.MonkeyPatch]]:
    with (
        pytest.MonkeyPatch.context() as patch,
        provider.serving(patch, tmp_path_factory.mktemp("provider")) as server,
    ):
        yield server, patch


@pytest.fixture
def server(shared: tuple[Provider, pytest.MonkeyPatch]) -> Provider:
    lock = shared[0].lock
    shared[0].__init__()  # type: ignore[misc]
    shared[0].lock = lock
    return shared[0]


def uploads(server: Provider, link: Link) -> set[str]:
    """Names of the files that are there for this link."""
    sent = {file["filename"] for file in server.files.values() if file["purpose"] == "fine-tune"}
    there = {uri.rpartition("/")[2] for uri in bucket.there("", "gs://other/folder")}
    return {name for name in sent | there if link.key in name}


def others(place: Path, kind: str) -> None:
    """Jobs of other links, so that lists have several pages."""
    for seed in (91, 92, 93):
        link = paid.linked(place, paid.TUNES[kind], seed=seed)
        lifecycle.start(link, get_backend(link.tune), Memory())


@pytest.mark.parametrize(("kind", "after", "late", "modes"), CASES)
def test_one_create_whatever_comes_back_with_its_files_and_losses(
    kind, after, late, modes, server, tmp_path, monkeypatch
):
    server.modes = {*modes.split()}
    others(tmp_path, kind)
    server.late, server.after = late, after
    mine = paid.linked(tmp_path, paid.TUNES[kind])
    backend = get_backend(mine.tune)
    job = lifecycle.start(mine, backend, Memory()).job
    assert lifecycle.start(mine, get_backend(mine.tune), Memory()).job.id == job.id  # the ledger was lost
    assert server.created() == 4
    server.late = 0.0
    monkeypatch.setenv("SHARDTUNE_ROOT", str(tmp_path / "another"))  # and all that was under the root
    assert lifecycle.start(mine, get_backend(mine.tune), Memory()).job.id == job.id
    ended = lifecycle.watch(job, mine, backend, lambda status: None)
    assert server.created() == 4 and ended.state == "succeeded" and ended.model
    assert len(uploads(server, mine)) == 2
    backend.tidy(mine, job)
    backend.tidy(mine)
    assert len(uploads(server, mine)) == 2 and not server.deleted
    if kind == "openai":
        steps = range(1, provider.STEPS + 1)
        assert [(p.step, p.loss) for p in ended.points] == [(n, provider.loss(n)) for n in steps]
        assert ended.heldout_after == 1.25 and ended.billed_tokens == 1_700
    else:
        assert ended.step == provider.STEPS and ended.facts["billable_tokens"] == 1_250 and not ended.points


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_sent_for_a_refused_call_is_removed(kind, server, tmp_path):
    others(tmp_path, kind)
    kept = paid.linked(tmp_path, paid.TUNES[kind], seed=92)
    server.refuses, mine = True, paid.linked(tmp_path, paid.TUNES[kind], seed=94)
    with pytest.raises(BackendError):
        lifecycle.start(mine, get_backend(mine.tune), Memory())
    assert server.created() == 3 and not uploads(server, mine) and len(uploads(server, kept)) == 2
