"""Pool: light worker processes, shared by all tasks of this process.

They import what cleaning needs and nothing else: neither the orchestrator nor this process's main module. A worker
that is killed takes its pool with it; the work that had not ended is then done by a new pool.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from multiprocessing import context
from types import ModuleType
from typing import Any, TypeVar

from tasks.core import imports
from tasks.core.errors import CatalogueError

ATTEMPTS = 3
WORKERS_VARIABLE = "SHARDTUNE_WORKERS"

Result = TypeVar("Result")

_lock = threading.RLock()
_pool: ProcessPoolExecutor | None = None
_users = 0


class _Process(context.SpawnProcess):
    @staticmethod
    def _Popen(process_obj: Any) -> Any:
        # A spawned child imports its parent's main module, here the command line with all of Prefect. Workers are
        # handed functions by their names alone, so an empty main module does.
        with _lock:
            main, sys.modules["__main__"] = sys.modules["__main__"], ModuleType("__main__")
            try:
                return context.SpawnProcess._Popen(process_obj)  # type: ignore[attr-defined]
            finally:
                sys.modules["__main__"] = main


class _Context(context.SpawnContext):
    Process = _Process  # type: ignore[assignment]


class _WithoutPandas(MetaPathFinder):
    """Says that pandas is not there: pyarrow would import it to look at any list, two seconds and 80 MB for nothing."""

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> None:
        if fullname == "pandas":
            raise ModuleNotFoundError("workers do without pandas", name=fullname)


def _start() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends its workers itself
    imports.seldom()
    sys.meta_path.insert(0, _WithoutPandas())
    imports.hide("torch")  # transformers would import it to open a tokenizer: three seconds for nothing
    os.environ["TRANSFORMERS_NO_ADVISORY_WARNINGS"] = "1"  # it says that there is no torch


def workers() -> int:
    """How many worker processes: `SHARDTUNE_WORKERS`, else one for each processor this process may use.

    A daemonic process (a Dask worker) may have no children: it does its work itself.
    """
    if multiprocessing.current_process().daemon:
        return 1
    return int(os.environ.get(WORKERS_VARIABLE) or len(os.sched_getaffinity(0)))


@contextmanager
def opened() -> Iterator[None]:
    """Keep one pool for all that runs inside; its processes end with the outermost `with`."""
    global _users, _pool
    with _lock:
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            last, pool = _users == 0, _pool
            if last:
                _pool = None
        if last and pool:
            pool.shutdown()


def run(function: Callable[..., Result], arguments: Sequence[tuple[Any, ...]]) -> list[Result]:
    """`function(*each)` for each of `arguments`, in that order, in worker processes.

    An error of `function` is raised as it is; a worker that dies is replaced, and CatalogueError says when that
    happened too often.
    """
    if workers() == 1:
        return [function(*each) for each in arguments]
    results: dict[int, Result] = {}
    with opened():
        for _ in range(ATTEMPTS):
            pool, waiting = _current(), dict[int, Future[Result]]()
            try:
                for n, each in enumerate(arguments):
                    if n not in results:
                        waiting[n] = pool.submit(function, *each)
                for n, future in waiting.items():
                    results[n] = future.result()
                return [results[n] for n in range(len(arguments))]
            except BrokenProcessPool:
                _forget(pool)
            except BaseException:
                for future in waiting.values():
                    future.cancel()
                raise
    raise CatalogueError(
        f"worker processes died {ATTEMPTS} times (killed, or out of memory): set {WORKERS_VARIABLE} to fewer than "
        f"{workers()!r}, or use fewer `catalogue.lines_per_shard`"
    )


def _current() -> ProcessPoolExecutor:
    global _pool
    with _lock:
        if _pool is None:
            _pool = ProcessPoolExecutor(workers(), mp_context=_Context(), initializer=_start)
        return _pool


def _forget(broken: ProcessPoolExecutor) -> None:
    global _pool
    with _lock:
        if _pool is broken:
            _pool = None
    broken.shutdown(wait=False)
