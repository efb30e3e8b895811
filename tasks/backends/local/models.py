"""Base models: a hub name, a directory, or a GGUF file, which is turned once into a directory that everything opens."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import xxhash
from filelock import FileLock

from tasks.backends.local import convert
from tasks.core import processes, settings, store
from tasks.core.errors import BackendError, RecipeError, ShardtuneError
from tasks.core.models import Frozen
from tasks.examples.templates import Kind, Rendering, load_tokenizer
from tasks.recipe import allowed
from tasks.recipe.tuning import LocalTune

PACKAGE = "package:"


class Converted(Frozen):
    """What a directory of `models/` was made from; kept with the digests of its files."""

    source: str


def locate(name: str) -> Path | None:
    """The directory or GGUF file on this machine that `name` means; None where it is a hub name.

    Raises BackendError where `name` means a place on this machine at which nothing is.
    """
    if name.startswith(PACKAGE):
        return _inside(name)
    path = Path(name).expanduser()
    allowed.model("tune.base_model", str(path))
    if path.is_dir() or (path.suffix == ".gguf" and path.is_file()):
        return path.resolve()
    if path.suffix == ".gguf" or path.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
        raise BackendError(f"base model {name!r}: there is no such directory or GGUF file on this machine")
    return None


def _inside(name: str) -> Path:
    package, _, file = name.removeprefix(PACKAGE).partition("/")
    package = package.replace("-", "_")  # as pip spells it
    # The package is only looked at, never imported: importing it may load a runtime nobody asked for.
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    folders = list(spec.submodule_search_locations or []) if spec else []
    if not folders:
        install = package.replace("_", "-")
        raise BackendError(f"base model {name!r}: no package {package!r} is installed; try `pip install {install}`")
    path = allowed.inside(Path(folders[0]), file)
    if not file or not path.is_file():
        there = sorted(p.name for p in Path(folders[0]).glob("*.gguf"))
        raise BackendError(f"base model {name!r}: the package holds no file {file!r}; it holds {there!r}")
    return path


def digest(tune: LocalTune) -> str | None:
    """32 hex digits of the files of the base model; None where it lies on the hub."""
    path = locate(tune.base_model)
    return None if path is None else digest_of(path)


def digest_of(path: Path) -> str:
    """32 hex digits of a file, or of all files of a folder with their names."""
    hasher = xxhash.xxh3_128()
    for file in sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]:
        hasher.update(f"{file.relative_to(path) if path.is_dir() else 'file'}\n{file.stat().st_size}\n".encode())
        with file.open("rb") as stream:
            while block := stream.read(1 << 22):
                hasher.update(block)
    return hasher.hexdigest()


def stands(model: str | None, digest: str | None) -> bool:
    """Whether a model that is a folder is there, and where its digest is known and it lies here, as it was written."""
    if model is None or not store.exists(model):
        return False
    path = store.local(model)
    return path is None or digest is None or digest_of(path) == digest


def resolve(tune: LocalTune, root: str | None = None) -> str:
    """A directory or hub name that transformers opens. A GGUF file is converted once, under the root.

    Raises BackendError where the base model is not there or cannot be converted.
    """
    if tune.trust_remote_code:
        allowed.code(tune.base_model)
    path = locate(tune.base_model)
    if path is None:
        return _snapshot(tune) if tune.revision else tune.base_model
    if path.is_dir() and not (path / "config.json").exists():
        raise BackendError(f"base model {tune.base_model!r}: the directory holds no config.json; name one of a model")
    return str(_converted(path, _home(root)) if path.is_file() else path)


def portable(tune: LocalTune) -> str:
    """The base model's name as it is found on any machine: of the hub, or package:…; else as the recipe gives it."""
    name = tune.base_model
    place = "" if name.startswith(PACKAGE) or not Path(name).expanduser().exists() else allowed.place(name)
    return place.removeprefix(allowed.HUB) if place.startswith(allowed.HUB) else name


def _home(root: str | None) -> Path:
    return settings.local_root() if root is None or "://" in root else Path(root)


def _snapshot(tune: LocalTune) -> str:
    from huggingface_hub import snapshot_download

    with _asking_hub(tune.base_model):
        return str(snapshot_download(tune.base_model, revision=tune.revision))


@contextmanager
def _asking_hub(name: str) -> Iterator[None]:
    """Whatever keeps the hub from giving `name` is a BackendError of one line."""
    try:
        yield
    except ShardtuneError:
        raise
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise BackendError(
            f"base model {name!r} is not on this machine and the hub did not give it ({reason}): "
            "name a directory or a GGUF file, or check the name and the network"
        ) from error


def _converted(source: Path, home: Path) -> Path:
    target = home / "models" / digest_of(source)[:16]
    whole = str(target / "whole.json")
    if store.kept(whole, Converted):
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{target}.lock"):
        if store.kept(whole, Converted):
            return target
        shutil.rmtree(target, ignore_errors=True)  # damaged, or of a version that wrote down no digests
        for left in target.parent.glob(f".{target.name}.*.part"):
            shutil.rmtree(left, ignore_errors=True)  # by a conversion that was killed
        convert.examine(source)
        made = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.part")
        # A process of its own: it holds all weights in full precision, and gives the memory back when it ends.
        command = [sys.executable, "-m", "tasks.backends.local.convert", str(source), str(made)]
        env = processes.environment()
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, env=env)
        try:
            if done.returncode != 0:
                last = (done.stderr.strip().splitlines() or ["no output"])[-1]
                raise BackendError(f"base model {str(source)!r} cannot be converted: {last}")
            os.rename(made, target)
            store.keep(whole, Converted(source=str(source)), *map(str, sorted(target.iterdir())))
        finally:
            shutil.rmtree(made, ignore_errors=True)
    return target


def rendering(tune: LocalTune, root: str | None = None) -> Rendering:
    """How conversations are rendered for this base: its chat template, or Alpaca where it has none."""
    name = resolve(tune, root)
    has_template = _has_template(name, tune)
    if tune.template == "chat" and not has_template:
        raise RecipeError(f"tune.template is 'chat' but {tune.base_model!r} has no chat template: use auto or alpaca")
    kind: Kind = "chat" if has_template and tune.template != "alpaca" else "alpaca"
    return Rendering(
        template=kind, tokenizer=name, max_length=tune.max_length, trust_remote_code=tune.trust_remote_code
    )


def _has_template(name: str, tune: LocalTune) -> bool:
    folder = Path(name)
    if folder.is_dir():
        # By its files: loading a tokenizer only to ask this would cost every run seconds.
        if (folder / "chat_template.jinja").exists() or (folder / "additional_chat_templates").exists():
            return True
        known = folder / "tokenizer_config.json"
        return known.exists() and bool(json.loads(known.read_text()).get("chat_template"))
    plain = Rendering(
        template="alpaca", tokenizer=name, max_length=tune.max_length, trust_remote_code=tune.trust_remote_code
    )
    with _asking_hub(name):
        return bool(load_tokenizer(plain).chat_template)


def config(tune: LocalTune, root: str | None = None) -> dict[str, object]:
    """The base model's config.json; raises BackendError where neither this machine nor the hub has it."""
    name = resolve(tune, root)
    if Path(name).is_dir():
        return dict(store.read_json(str(Path(name) / "config.json")))
    from huggingface_hub import hf_hub_download

    with _asking_hub(name):
        return dict(store.read_json(hf_hub_download(name, "config.json")))
