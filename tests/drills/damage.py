"""Damage: what becomes of each kind of state file that is not as it was written. `python -m tests.drills.damage`

One root is prepared, fine-tuned (a tiny model), indexed, recorded and backed up. Then each kind of file is damaged in
five ways, and what reads it is asked again. Prints a table as Markdown; exit status 1 where a cell is BAD: something
else than before was served, or the error does not name the file. It takes one to two minutes.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import shutil
import sys
import tempfile
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tasks.answers import index
from tasks.backends.contract import Link
from tasks.backends.local import backend as local
from tasks.backends.local import jobs
from tasks.backends.local import models as base
from tasks.catalogue import batch
from tasks.catalogue.decode import ChangedError
from tasks.catalogue.growth import find
from tasks.catalogue.plan import plan
from tasks.catalogue.records import Finished
from tasks.core import backup, settings, store
from tasks.core.errors import ShardtuneError
from tasks.orchestrator import results
from tasks.recipe.model import Recipe
from tests.kit import models

Action = Callable[[], Any]


class Kind(NamedTuple):
    """A kind of file: what reads it, and whether it can be made anew (else the error must name it)."""

    file: Path | Callable[[], Path]
    action: Action
    anew: bool = True


def empty(data: bytes, path: Path) -> bytes:
    return b""


def cut(data: bytes, path: Path) -> bytes:
    return data[: len(data) // 2]


def flipped(data: bytes, path: Path) -> bytes:
    """One bit, in the middle, and of the same size."""
    if not data:
        return b"\1"
    where = len(data) // 2
    return data[:where] + bytes([data[where] ^ 4]) + data[where + 1 :]


def gone(data: bytes, path: Path) -> None:
    return None


def other(data: bytes, path: Path) -> bytes:
    """What another version might have written: a sound file of another shape, or other bytes of the same size."""
    if path.suffix == ".json":
        return json.dumps(store.sealed({"format": 99, "entries": []})).encode()
    return random.Random(0).randbytes(len(data))


WAYS: dict[str, Callable[[bytes, Path], bytes | None]] = {
    "empty": empty,
    "cut": cut,
    "one bit": flipped,
    "gone": gone,
    "other version": other,
}


class Root:
    """State of every kind under the root of the settings, made by the project's own code."""

    def __init__(self, place: Path, trains: bool = True) -> None:
        self.place, self.root = place, settings.local_root()
        os.environ["SHARDTUNE_WORKERS"] = "1"
        rows = [
            {"uid": f"U{n}", "title": t, "content": f"{c} It is number {n}."}
            for n, (t, c) in enumerate(models.ROWS * 4)
        ]
        rows += rows[:3] + [{"uid": "bad"}]
        self.catalogue = place / "catalogue.json.gz"  # packed, so that its shards are copied under the root
        self.catalogue.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode(), mtime=0))
        catalogue = {"uri": str(self.catalogue), "lines_per_shard": 60}
        self.recipe = Recipe(name="damage", catalogue=catalogue, export={"formats": ["openai"]})
        self.rendering, self.model = None, str(place / "tiny")
        if trains:
            self.tune = models.tune(models.build(place / "tiny", "llama"), max_steps=3, checkpoint_steps=1)
            exporting = self.recipe.export.model_copy(update={"formats": ("chat",)})
            self.recipe = self.recipe.model_copy(update={"export": exporting, "tune": self.tune})
            self.rendering = base.rendering(self.tune)

    def prepared(self) -> list[Finished]:
        """As the flow does it, without Prefect's own cache."""
        root, rules = str(self.root), batch.rules_of(self.recipe.catalogue, self.recipe.clean, self.recipe.split)
        for attempt in range(3):
            planned = plan(self.recipe.catalogue, root, refresh=attempt > 0)
            try:
                cleaned = batch.cleaned(planned.shards, rules, root)
                pairs = tuple(zip(cleaned, batch.repeats(cleaned, rules, root), strict=True))
                folder = batch.folder_of(planned, self.recipe.catalogue, rules, root)
                return list(batch.finished(pairs, rules, self.recipe.export, self.rendering, folder, root))
            except ChangedError:
                continue
        raise AssertionError("the catalogue has not changed")

    def sure(self) -> Any:
        """What `flows.prepare.sure` gives: digests of all that is handed on, and the bytes behind them."""
        done = self.prepared()
        if batch.doubted([f.shard for f in done], [e for f in done for e in f.exports]):
            done = self.prepared()
        assert not batch.gone(done)
        named = [uri for f in done for uri in f.files]
        return [(Path(uri).name, Path(uri).read_bytes()) for uri in sorted(named)]

    def link(self) -> Link:
        (first, *_) = self.prepared()
        train, holdout = ([e for e in first.exports if e.split == split] for split in ("train", "holdout"))
        values = {"name": "damage", "backend": "local", "base_model": self.model, "style": "describe", "seed": 7}
        held = holdout if holdout[0].examples else train
        return jobs.LocalLink(
            **values, base_digest=base.digest(self.tune), train=train, holdout=held, heldout_rows=4, tune=self.tune
        )

    def trained(self) -> Any:
        """What the job proves, started or gone on with where it has not ended; trained in this process."""
        link, backend = self.link(), local.Local()
        with here():
            job = backend.find(link.key) or backend.submit(link)
            if backend.status(job).state != "succeeded":
                job = backend.submit(link)
            status = backend.status(job)
        assert status.state == "succeeded", status.error
        assert base.stands(status.model, status.model_digest)
        return round(status.heldout_before or 0, 4), round(status.heldout_after or 0, 3), status.model_digest

    def interrupted(self) -> Any:
        """The same, of a job that was killed after its last checkpoint."""
        folder = jobs.Folder.of(self.link().key)
        status = folder.status
        if status.state == "succeeded":
            folder.write("status.json", status.model_copy(update={"state": "running", "model": None}))
        return self.trained()

    def indexed(self) -> Any:
        shards = [f.shard for f in self.prepared()]
        folder = index.folder_of(self.recipe.catalogue, self.recipe.clean, self.recipe.split)
        index.update(folder, shards)
        opened = index.Index(folder)
        return len(opened), [opened.by_uid(f"U{n}") for n in range(96)]


@contextmanager
def here() -> Iterator[None]:
    """Trainers run in this process, which has loaded torch already."""
    from tasks.backends.local.training import trainer

    def run(command: list[str], log: Path, lock: int) -> Any:
        with open(log, "a") as stream:
            before, sys.stdout = sys.stdout, stream
            try:
                trainer.main(command[-1])
            finally:
                sys.stdout = before
        return types.SimpleNamespace(pid=os.getpid())

    spawned, local._spawned = local._spawned, run  # type: ignore[assignment]
    try:
        yield
    finally:
        local._spawned = spawned


def catalogue(root: Root) -> dict[str, Kind]:
    """Kinds that `prepare` makes."""
    root.sure()

    def one(pattern: str) -> Path:
        return sorted(root.root.glob(pattern))[0]

    def again() -> Any:  # what was planned is cleaned again: else nobody reads the copies of the source
        shutil.rmtree(root.root / "catalogue" / "clean", ignore_errors=True)
        shutil.rmtree(root.root / "catalogue" / "settled", ignore_errors=True)
        return root.sure()

    return {
        "plan": Kind(one("catalogue/plans/*.json"), root.sure),
        "copy of a shard's source": Kind(one("catalogue/spool/*.jsonl"), again),
        "clean: record": Kind(one("catalogue/clean/*[0-9a-f].json"), root.sure),
        "clean: hashes": Kind(one("catalogue/clean/*.hash"), root.sure),
        "clean: quarantine": Kind(one("catalogue/clean/*.quarantine.jsonl"), root.sure),
        "duplicates": Kind(one("catalogue/repeats/*.i4"), again),
        "shard: record": Kind(one("catalogue/settled/*.json"), root.sure),
        "shard: Parquet": Kind(one("shards/*/*.parquet"), root.sure),
        "export: record": Kind(one("exports/*train*.json"), root.sure),
        "export: examples": Kind(one("exports/*train*.jsonl"), root.sure),
        "export: rows": Kind(one("exports/*train*.rows.parquet"), root.sure),
    }


def lookups(root: Root) -> dict[str, Kind]:
    """Index, service, waiting shard, a cached result, a converted model, a backup: what is read without a job."""
    root.indexed()
    folder = index.folder_of(root.recipe.catalogue, root.recipe.clean, root.recipe.split)

    def rows() -> Path:
        return max((folder / "rows").glob("*.store"), key=lambda path: path.stat().st_size)

    me = {"pid": os.getpid(), "started": 0.0, "url": "http://127.0.0.1:1/api", "log": ""}
    kept = root.place / "result"
    kept.write_bytes(results.KEPT["result_serializer"].dumps([1, "two"]))
    target = root.place / "backup"
    backup.backup(str(target))
    held = next(p for p in sorted((target / "here").rglob("*.parquet")))
    converted = root.root / "models" / "0123456789abcdef"
    _service(root, {"up": me})
    _converted(root, converted)
    return {
        "index: record": Kind(folder / "shards.json", root.indexed),
        "index: files": Kind(rows, root.indexed),
        "index: meta.json": Kind(folder / "rows" / "meta.json", root.indexed),
        "service.json": Kind(root.root / "service.json", lambda: _service(root, {"up": me})),
        "first sight of a shard": Kind(*_seen(root)),
        "result of a task": Kind(kept, lambda: _result(kept)),
        "converted model": Kind(converted / "model.safetensors", lambda: _converted(root, converted)),
        "converted model: record": Kind(converted / "whole.json", lambda: _converted(root, converted)),
        "backup: manifest": Kind(target / "manifest.json", lambda: len(backup.check(str(target)).files), anew=False),
        "backup: a file": Kind(held, lambda: len(backup.check(str(target)).files), anew=False),
    }


def _seen(root: Root) -> tuple[Path, Action]:
    from datetime import UTC, datetime

    seen = root.root / "retrain" / "damage.json"
    day = datetime(2026, 11, 26, tzinfo=UTC)
    recipe = root.recipe.model_copy(update={"max_wait_hours": 5.0})

    def look() -> Any:
        planned = plan(recipe.catalogue, str(root.root))
        return find(planned, (), recipe.catalogue, recipe.shards, recipe.max_wait_hours, str(seen), day).waiting

    look()
    return seen, look


def _service(root: Root, known: dict[str, Any]) -> Any:
    """As `up` does it at every look at its children."""
    if settings.service() != known:
        store.write(str(root.root / "service.json"), known)
    return settings.service()


def _result(kept: Path) -> Any:
    """As Prefect reads it: what cannot be read is absent, and the task runs again."""
    serializer = results.KEPT["result_serializer"]
    try:
        return serializer.loads(kept.read_bytes())
    except Exception:
        kept.write_bytes(serializer.dumps([1, "two"]))
        return serializer.loads(kept.read_bytes())


def _converted(root: Root, target: Path) -> Any:
    """The converted directory of a GGUF file, the conversion itself played."""
    source = root.place / "tiny.gguf"
    source.write_bytes(b"GGUF" + (3).to_bytes(4, "little") + bytes(16))  # version 3, no tensor, no key

    def convert(command: list[str], **_: Any) -> Any:
        Path(command[-1]).mkdir(parents=True)
        for name in ("config.json", "model.safetensors"):
            Path(command[-1], name).write_text(f"the tiny model's {name}")
        return types.SimpleNamespace(returncode=0)

    before, digest = base.subprocess, base.digest_of
    base.subprocess = types.SimpleNamespace(run=convert, DEVNULL=None)  # type: ignore[assignment]
    base.digest_of = lambda path: target.name * 2 if path == source else digest(path)
    try:
        made = base._converted(source, root.root)
    finally:
        base.subprocess, base.digest_of = before, digest
    return [(path.name, digest(path)) for path in sorted(made.iterdir()) if path.name != "whole.json"]


def job(root: Root) -> dict[str, Kind]:
    """A job's folder, of one that has ended and of one that was killed."""
    root.trained()
    folder = jobs.Folder.of(root.link().key)

    def newest(name: str) -> Callable[[], Path]:
        return lambda: (folder.whole_checkpoint() or folder.checkpoints / "none is whole") / name

    return {
        "job: status": Kind(folder.path / "status.json", root.trained),
        "job: adapter": Kind(folder.adapter / "adapter_model.safetensors", root.trained),
        "job: adapter's settings": Kind(folder.adapter / "adapter_config.json", root.trained),
        "killed job: link": Kind(folder.path / "link.json", root.interrupted),
        "killed job: job": Kind(folder.path / "job.json", root.interrupted),
        "killed job: process": Kind(folder.path / "process.json", root.interrupted),
        "killed job: losses": Kind(folder.path / "losses.jsonl", root.interrupted),
        "killed job: held-out loss": Kind(folder.path / "heldout.json", root.interrupted),
        "killed job: said": Kind(folder.path / "said.json", root.interrupted),
        "killed job: checkpoint's mark": Kind(newest("whole.json"), root.interrupted),
        "killed job: checkpoint": Kind(newest("optimizer.pt"), root.interrupted),
    }


def record(root: Root) -> dict[str, Kind]:
    """What MLflow keeps: a result can be made anew from its job, what a sweep needs of a link cannot."""
    from tasks.record import ledger

    api, key = ledger.client(), "0" * 32
    place = ledger.experiment(api) or ledger.made(api)
    run = api.create_run(place, tags={ledger.KEY: key})
    api.set_terminated(run.info.run_id, "FINISHED")
    values = {"key": key, "state": "succeeded", "job": key, "mlflow_run_id": run.info.run_id, "model": "ft:tiny"}
    told = values | {"heldout_loss": {}, "scores": {}, "cost": {}, "steps": 3, "trained": True, "answers": []}

    def put() -> Any:
        ledger.put(api, run.info.run_id, {"result": told, "link": root.link().model_dump(mode="json")})

    def linked() -> Any:
        return ledger.load(run.info.run_id, "link.json", Link)

    def finished() -> Any:
        if ledger.finished(key) is None:
            put()  # as `conclude` does, from the job
        return ledger.finished(key)

    put()
    files = Path(str(run.info.artifact_uri).removeprefix("file://"))
    reads = {
        "MLflow: result": Kind(files / "result.json", finished),
        "MLflow: link": Kind(files / "link.json", linked, anew=False),
    }
    return reads


def suffered(kind: Kind, way: str) -> str:
    """Damage the file, ask what reads it again, and say what came of it; the file is then as it was."""
    before = kind.action()
    file = kind.file if isinstance(kind.file, Path) else kind.file()
    data, stat = file.read_bytes(), file.stat()
    bad = WAYS[way](data, file)
    file.unlink()  # never in place: an index that this process has mapped would end it by SIGBUS
    if bad is not None:
        file.write_bytes(bad)
    try:
        after = kind.action()
    except ShardtuneError as error:
        named = file.name in str(error) and "\n" not in str(error)
        outcome = "refused with its path" if named else f"BAD: {type(error).__name__}: {str(error)[:200]}"
        return outcome if not kind.anew else f"BAD: not made anew: {str(error)[:200]}"
    except Exception as error:
        return f"BAD: {type(error).__name__}: {str(error)[:200]}"
    finally:
        if not kind.anew:
            file.write_bytes(data)
            os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    now = file.read_bytes() if file.exists() else None
    if not isinstance(kind.file, Path) and now is None:
        now = kind.file().read_bytes()  # made anew under another name
    if after != before:
        return (
            "absent" if not kind.anew and way == "gone" else f"BAD: served {str(after)[:100]} for {str(before)[:100]}"
        )
    return "never served" if now == bad else "made anew"


GROUPS = {"catalogue": catalogue, "lookups": lookups, "job": job, "record": record}


def table(root: Root, groups: tuple[str, ...] = tuple(GROUPS)) -> dict[tuple[str, str], str]:
    """What came of each kind of file, damaged in each way."""
    found = {}
    for group in groups:
        for name, kind in GROUPS[group](root).items():
            for way in WAYS:
                found[name, way] = suffered(kind, way)
    return found


def main() -> int:
    """Print the table; exit status 1 where a cell is BAD."""
    with tempfile.TemporaryDirectory(prefix="shardtune-damage-") as folder:
        os.environ["SHARDTUNE_ROOT"] = f"{folder}/root"
        settings.enter()
        found = table(Root(Path(folder)))
    print(f"| file | {' | '.join(WAYS)} |\n|---|{'---|' * len(WAYS)}")
    for name in dict.fromkeys(name for name, _ in found):
        print(f"| {name} | {' | '.join(' '.join(found[name, way].split()) for way in WAYS)} |")
    return int(any(cell.startswith("BAD") for cell in found.values()))


if __name__ == "__main__":
    sys.exit(main())
