"""Allowed: the places that a recipe may name. The command line has no limits; run forms on a shared server have.

`SHARDTUNE_ALLOWED` lists, with commas between, what recipes may read and whom they may speak to: folders
(`/data/catalogues`), URIs (`s3://shop/catalogues`, `https://RESOURCE.openai.azure.com`), and the hub, whole (`hf://`)
or in part (`hf://datasets/OWNER/NAME`, `hf://OWNER/NAME`). Workers have it set; where it is not, anything may be named.
A person at the command line may add places for the workers of their own root: `allowed.json` in it.
Python code that comes with a model runs only where the list names that very model.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote

from tasks.core import redaction, settings, store
from tasks.core.errors import RecipeError

VARIABLE = "SHARDTUNE_ALLOWED"
HUB = "hf://"
ADDED = "allowed.json"
CACHED = re.compile(r"models--(.+?)--(.+)")  # how the hub's cache on this machine names a model
URI = re.compile(r"[a-z][a-z0-9+.-]*://.*", re.DOTALL)


def entries() -> tuple[str, ...] | None:
    """What the environment allows; None where it says nothing."""
    listed = os.environ.get(VARIABLE)
    if listed is None:
        return None
    return tuple(place(entry.strip()) for entry in (*listed.split(","), *added()) if entry.strip())


def added() -> list[str]:
    """What a person has added for the workers of this root."""
    path = settings.local_root() / ADDED
    return [str(one) for one in (store.read(str(path)) or {}).get("places", ())] if path.exists() else []


def add(value: str) -> None:
    """From now on the workers of this root may read `value`; they look before each use, so none is started again."""
    path = settings.local_root() / ADDED
    store.write(str(path), {"places": sorted({*added(), place(value, HUB)})})


def usual(root: str) -> str:
    """The list for workers where nobody wrote one: folders `catalogues` and `demo` of the root, and the hub.

    Not the root itself: the databases in it hold what no catalogue shall.
    """
    return ",".join([store.join(root, "catalogues"), store.join(root, "demo"), HUB])


def place(value: str, hub: str = "") -> str:
    """What `value` really means: a path without links and dots, or a URI. `hub` begins names that are no path here.

    Raises RecipeError for a URI that leads through another (`zip://…::…`) or climbs (`..`).
    """
    path = store.local(value)
    if path is None or "::" in value:
        if "::" in value or not URI.fullmatch(value):
            raise RecipeError(f"{value!r} is not allowed: give one plain URI, its scheme in lower case")
        if {"..", "."} & set(re.split(r"[/\\]", unquote(unquote(value)))):
            raise RecipeError(f"{value!r} is not allowed: a URI may not climb with '..' or '.'")
        return value
    if hub and not path.exists():
        return hub + value.strip("/")
    return _of_hub(path.resolve()) or str(path.resolve())


def _of_hub(path: Path) -> str | None:
    """The model that lies at `path` in the hub's cache on this machine; None for any other path."""
    from huggingface_hub.constants import HF_HUB_CACHE

    cache = Path(HF_HUB_CACHE).resolve()
    first = path.relative_to(cache).parts[:1] if path.is_relative_to(cache) else ()
    match = CACHED.fullmatch(first[0]) if first else None
    return f"{HUB}{match[1]}/{match[2]}" if match else None


def reached(value: str, root: str) -> bool:
    """Whether workers of `up` on this root may read `value` already."""
    entries = [*(os.environ.get(VARIABLE) or usual(root)).split(","), *added()]
    return any(_under(place(value, HUB), place(entry.strip())) for entry in entries if entry.strip())


def check(what: str, value: str, *ours: str | None, hub: str = "") -> None:
    """Raise RecipeError where `value`, which `what` names, holds a secret or lies neither in the list nor in `ours`."""
    if refused := redaction.refusal(what, value):
        raise RecipeError(refused)
    listed = entries()
    if listed is None:
        return
    target = place(value, hub)
    if not any(_under(target, entry) for entry in (*listed, *(place(own) for own in ours if own))):
        raise RecipeError(
            f"{what} = {value!r} leads to {target!r}, which {VARIABLE} does not allow: "
            "choose one of its places, or have whoever runs the workers add it"
        )


def model(what: str, name: str) -> None:
    """Raise RecipeError where this base model may not be opened; what was made from one lies under the root."""
    check(what, name, str(settings.local_root() / "models"), hub=HUB)


def code(name: str) -> None:
    """Raise RecipeError where Python code that comes with this model may not run: the list does not name it itself."""
    listed = entries()
    if listed is not None and place(name, HUB) not in listed:
        raise RecipeError(
            f"trust_remote_code is not allowed for {name!r}: {VARIABLE} must name {place(name, HUB)!r} itself"
        )


def _under(target: str, entry: str) -> bool:
    """Whether `found` is `entry`, or lies in it: never merely begins with the same letters."""
    if entry.endswith("://"):
        return target.startswith(entry)
    ends = "/@" if entry.startswith(HUB) else "/"  # a revision follows the name of a repository
    return any(f"{target}{end}".startswith(entry.rstrip("/") + end) for end in ends)


def inside(folder: Path, name: str) -> Path:
    """`folder`/`name`; RecipeError where that is not below `folder`."""
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise RecipeError(f"{name!r} is not allowed: name a file below {str(folder)!r}")
    return folder / name
