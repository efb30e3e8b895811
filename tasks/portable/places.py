"""Places: where an exported model goes: a folder, a repository of the hub (`hf://OWNER/NAME`), any URI of fsspec.

It is written to a folder of this machine first. What arrives elsewhere is read back and compared by its digest.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks.catalogue import card
from tasks.core import store
from tasks.core.errors import ExportError
from tasks.recipe import allowed

PAGE = "README.md"
REPOSITORY = re.compile(r"hf://(?:models/)?([\w.-]+/[\w.-]+)/?")


def check(place: str) -> None:
    """ExportError where something else lies at `place` already; RecipeError where this process may not write there."""
    allowed.check("--to", place)
    page = store.join(place, PAGE)
    path = store.local(place)
    try:
        filled = store.exists(page) if path is None else path.is_file() or (path.is_dir() and any(path.iterdir()))
        ours = not filled or (store.exists(page) and card.is_ours(card.read(page)))
    except (OSError, ValueError, ImportError) as error:
        raise ExportError(f"cannot look at {place!r} ({error}): check the address and your rights") from error
    if not ours:
        raise ExportError(f"{place!r} holds something that shardtune did not export: name another place with --to")


@contextmanager
def beside(place: str, temporary: str) -> Iterator[Path]:
    """A new folder on this machine; beside `place` where that is here, so that it appears whole by one rename."""
    path = store.local(place)
    folder = (path.parent / f".{path.name}.{os.getpid()}.part") if path else Path(temporary) / "export"
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def put(folder: Path, place: str) -> str:
    """Bring the files of `folder` to `place`; the page comes last. ExportError where they do not arrive as they are."""
    path = store.local(place)
    if path is not None:
        if path.exists():  # an earlier export of ours: see `check`
            shutil.rmtree(path)
        os.rename(folder, path)
        return str(path)
    files = sorted((f for f in folder.rglob("*") if f.is_file()), key=lambda f: (f.name == PAGE, str(f)))
    try:
        if found := REPOSITORY.fullmatch(place):
            _upload(folder, found[1])
        else:
            for file in files:
                with file.open("rb") as held, store.writing(store.join(place, _name(file, folder))) as out:
                    shutil.copyfileobj(held, out, 1 << 22)
        changed = [n for f in files if store.file_digest(store.join(place, n := _name(f, folder))) != _digest(f)]
    except (OSError, ValueError, ImportError) as error:
        raise ExportError(f"cannot export to {place!r} ({error}): check the address and your rights") from error
    if changed:
        raise ExportError(f"{changed!r} did not arrive at {place!r} as they were sent: run the same command again")
    return place


def _name(file: Path, folder: Path) -> str:
    return file.relative_to(folder).as_posix()


def _digest(file: Path) -> str:
    return store.file_digest(str(file))


def _upload(folder: Path, repository: str) -> None:
    """One commit to a repository of the hub, which is made private where there is none."""
    from huggingface_hub import HfApi, HfFileSystem

    api = HfApi()
    api.create_repo(repository, private=True, exist_ok=True)
    api.upload_folder(repo_id=repository, folder_path=folder, commit_message="Export by shardtune")
    HfFileSystem.clear_instance_cache()  # it remembers that there was no such repository
