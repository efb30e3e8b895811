"""The pool: results in order, errors as they are, light workers, and a killed one costs nothing but time."""

from __future__ import annotations

import os
import subprocess
import sys
from multiprocessing import active_children
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from tasks.catalogue import pool
from tasks.core.errors import CatalogueError
from tests.kit import work


@pytest.fixture(autouse=True)
def two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHARDTUNE_WORKERS", "2")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_results_are_in_order_and_errors_are_raised_as_they_are(monkeypatch, workers):
    monkeypatch.setenv("SHARDTUNE_WORKERS", workers)
    with pool.opened():
        assert pool.run(work.double, [(n,) for n in range(20)]) == list(range(0, 40, 2))
        assert pool.run(work.double, []) == []
        with pytest.raises(LookupError, match="no 3 here"):
            pool.run(work.refuse, [(n,) for n in range(6)])
        assert pool.run(work.double, [(1,)]) == [2]


def test_workers_are_other_processes_and_import_little():
    heavy = ("prefect", "mlflow", "pandas", "torch", "pytest", "datasets", "pyarrow")
    found = pool.run(work.loaded, [heavy] * 4)
    assert os.getpid() not in {pid for pid, _ in found}
    assert [names for _, names in found] == [["pyarrow"]] * 4


def test_workers_do_not_import_the_main_module(tmp_path):
    script = tmp_path / "main.py"
    script.write_text(
        "import wave\nfrom tasks.catalogue import pool\nfrom tests.kit import work\n"
        "if __name__ == '__main__':\n    print([names for _, names in pool.run(work.loaded, [('wave',)] * 2)])\n"
    )
    top = Path(__file__).parents[3]
    call = [sys.executable, str(script)]
    told = subprocess.run(call, cwd=top, env=os.environ | {"PYTHONPATH": str(top)}, capture_output=True, text=True)
    assert (told.stdout.strip(), told.stderr) == ("[[], []]", "")


def test_one_worker_works_here(monkeypatch):
    monkeypatch.setenv("SHARDTUNE_WORKERS", "1")
    assert {pid for pid, _ in pool.run(work.loaded, [()])} == {os.getpid()}


def test_the_outermost_with_ends_the_workers():
    before = set(active_children())
    with pool.opened():
        with pool.opened():
            first = {pid for pid, _ in pool.run(work.loaded, [()] * 8)}
        assert {pid for pid, _ in pool.run(work.loaded, [()] * 8)} <= {p.pid for p in active_children() if p.pid}
        assert first
    assert set(active_children()) <= before


def test_what_a_killed_worker_left_is_done_by_another(tmp_path):
    assert pool.run(work.die_once, [(str(tmp_path), n) for n in range(2)]) == [0, 1]
    assert (tmp_path / "1").exists()


def test_workers_that_always_die_are_an_error_that_says_what_to_do():
    with pytest.raises(CatalogueError, match=r"died 3 times .* set SHARDTUNE_WORKERS to fewer than 2"):
        pool.run(os._exit, [(3,)])


def test_workers_open_a_tokenizer_without_torch_and_one_with_code_of_its_own_finds_it(tmp_path, monkeypatch):
    monkeypatch.setenv("SHARDTUNE_ALLOWED", str(tmp_path))
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.train_from_iterator(["A red drum of screws"], trainers.BpeTrainer(vocab_size=300))
    made.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    wanted = made.encode("A red drum of 12 screws.").ids
    assert wanted
    with pool.opened():
        assert pool.run(work.opens_tokenizer, [(str(tmp_path), False)]) == [(wanted, False)]
        assert pool.run(work.opens_tokenizer, [(str(tmp_path), True)] * 2) == [(wanted, True)] * 2
