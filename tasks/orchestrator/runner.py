"""Runner: where the data tasks of prepare run, in this process's pool or on a Dask cluster.

Both give the same bytes. So the choice is an environment variable (`SHARDTUNE_DASK`, the address of a scheduler) and no
part of a recipe or a key: a recipe is reproducible on any machines.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.settings import PREFECT_API_URL
from prefect.tasks import Task
from prefect.utilities.callables import get_call_parameters

from tasks.catalogue import batch, pool
from tasks.core import settings
from tasks.core.errors import MissingExtraError, RunnerError
from tasks.examples.templates import Rendering
from tasks.orchestrator import server

ROUNDS = 4  # batches for each thread of the cluster: the last to end is then not far behind the first
PATIENCE = 60  # seconds until the first worker is there
SAME = ("shardtune", "msgspec", "numpy", "prefect", "pyarrow", "transformers", "xxhash")  # they make the bytes


class Runner(Protocol):
    """Runs one task on every batch."""

    def size(self, count: int) -> int:
        """Shards in a batch, of `count` in all."""
        ...

    def run(self, verb: Task[..., Any], batches: Sequence[tuple[Any, ...]], *rest: Any) -> Iterator[Any]:
        """`verb(batch, *rest)` of each, side by side; results in order."""
        ...


class Here:
    """In this process, with its pool and Prefect's cache of whole batches."""

    def size(self, count: int) -> int:
        return batch.SIZE

    def run(self, verb: Task[..., Any], batches: Sequence[tuple[Any, ...]], *rest: Any) -> Iterator[Any]:
        futures = [verb.submit(part, *rest) for part in batches]
        for part, future in zip(batches, futures, strict=True):
            made = future.result()
            if batch.gone(made):  # a cached result that names a file that is gone
                made = verb.with_options(refresh_cache=True)(part, *rest)
            yield made


class Cluster:
    """On Dask. Prefect's cache lies on one machine's disk, so only the shards' own cache, in the root, counts here."""

    def __init__(self, tasks: Any) -> None:
        self._tasks = tasks

    def size(self, count: int) -> int:
        threads = sum(self._tasks.client.nthreads().values())
        return max(1, min(batch.SIZE, count // (ROUNDS * max(1, threads))))

    def run(self, verb: Task[..., Any], batches: Sequence[tuple[Any, ...]], *rest: Any) -> Iterator[Any]:
        bare = task(name=verb.name, cache_policy=NO_CACHE, persist_result=False)(verb.fn)
        futures = [self._tasks.submit(bare, get_call_parameters(verb.fn, (part, *rest), {})) for part in batches]
        for future in futures:
            yield future.result()


@contextmanager
def opened() -> Iterator[Runner]:
    """The runner that the environment names. RunnerError where its cluster cannot do the work."""
    address = settings.dask()
    with pool.opened():
        if not address:
            yield Here()
            return
        _possible()
        try:
            from prefect_dask import DaskTaskRunner
        except ImportError as error:
            raise MissingExtraError("prefect-dask", "dask") from error
        with DaskTaskRunner(address=address, client_kwargs={"timeout": PATIENCE}) as tasks:
            _alike(tasks, address)
            yield Cluster(tasks)


def near(runner: Runner, rendering: Rendering | None) -> Runner:
    """The runner for exports: this process where they need a tokenizer that is a folder of this machine."""
    return Here() if rendering and Path(rendering.tokenizer).is_dir() else runner


def _possible() -> None:
    if not PREFECT_API_URL.value() or server.mine():
        raise RunnerError(
            f"{settings.DASK_VARIABLE} = {settings.dask()!r} needs a Prefect server that every worker reaches, and "
            "there is none but that of this machine's commands: set PREFECT_API_URL (`shardtune up` prints one)"
        )
    if "://" not in settings.root():
        raise RunnerError(
            f"{settings.DASK_VARIABLE} = {settings.dask()!r} needs a root that every worker reaches, and "
            f"{settings.ROOT_VARIABLE} is {settings.root()!r}: name object storage (s3://…, gs://…), or a folder that "
            "all machines share as file:///…"
        )


def versions() -> dict[str, str]:
    """What decides the bytes of a shard, as installed where this is called."""
    return {"python": platform.python_version()} | {name: _version(name) for name in SAME}


def _version(name: str) -> str:
    try:
        return version(name)
    except ImportError:
        return "none"


def _alike(tasks: Any, address: str) -> None:
    """A worker is there, and all of them have what this process has."""
    try:
        tasks.client.wait_for_workers(1, timeout=PATIENCE)
        reported = tasks.client.run(versions)
    except (OSError, ImportError) as error:  # no answer in time, too; or a worker without shardtune
        raise RunnerError(
            f"no worker of the Dask scheduler {address!r} can be used ({error}): start one with shardtune installed, "
            f"`dask worker {address} --nthreads 1`"
        ) from error
    ours = versions()
    for worker, theirs in reported.items():
        if other := {n: f"{theirs.get(n)} there, {v} here" for n, v in ours.items() if theirs.get(n) != v}:
            raise RunnerError(f"the Dask worker {worker!r} would make other bytes ({other!r}): install the same")
