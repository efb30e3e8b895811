"""Keys of links stay what they are: a key that moves pays for a finished job again, and every chain loses its past.

The keys in `keys.json` were recorded with the code of 2026-11-26 (0d4b7d1). Never record one anew to make this pass: a
field that did not exist then stays out of the key while it has its default (`tasks.recipe.tuning.SINCE`, `Link.key`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest

from tasks.backends import get_backend
from tasks.backends.contract import Link
from tasks.core.models import Export, Format, Split, StyleName
from tasks.recipe import loader
from tasks.recipe.model import Recipe
from tasks.recipe.tuning import GeminiTune, LocalTune, OpenAITune, Tune

KEYS: dict[str, str] = json.loads((Path(__file__).parent / "keys.json").read_text())
TUNES: dict[str, Tune] = {
    "local": LocalTune(base_model="org/model"),
    "openai": OpenAITune(base_model="gpt-4o-mini-2024-07-18"),
    "gemini": GeminiTune(base_model="gemini-3.1-flash-lite"),
}


def exported(shard: int, format: Format, style: StyleName, split: Split) -> Export:
    return Export(
        shard=shard, format=format, style=style, split=split, uri=f"{shard}-{split}.jsonl", rows_uri="rows.parquet",
        examples=3, tokens=9, truncated=0, digest=f"{shard}{len(split)}" * 8,
    )  # fmt: skip


def link(tune: Tune, style: StyleName, **changes: Any) -> Link:
    format: Format = "chat" if tune.kind == "local" else get_backend(tune).format(tune)
    values = {
        "name": "n", "backend": tune.kind, "base_model": tune.base_model, "base_digest": "c" * 32, "tune": tune,
        "train": (exported(0, format, style, "train"), exported(1, format, style, "train")),
        "holdout": (exported(0, format, style, "holdout"),), "heldout_rows": 4, "style": style, "seed": 1,
    }  # fmt: skip
    return Link(**(values | changes))


def of_recipe(recipe: Recipe) -> Link:
    assert recipe.tune is not None
    rows = recipe.evaluate.heldout_rows
    return link(recipe.tune, recipe.export.style, name=recipe.name, heldout_rows=rows, seed=recipe.seed)


def keys() -> dict[str, str]:
    """What `keys.json` holds, by the code as it is."""
    made = {f"recipe {name}": of_recipe(loader.load(name)).key for name in loader.names()}
    made |= {f"{kind} {style}": link(t, style).key for kind, t in TUNES.items() for style in get_args(StyleName)}
    for kind, tune in TUNES.items():
        made[f"{kind} after a parent"] = link(tune, "describe", parent_key="d" * 32, parent="left").key
        made[f"{kind} elsewhere"] = link(tune, "describe", endpoint="http://127.0.0.1/v1").key
    made["local cut"] = link(TUNES["local"], "describe", too_long="split", course=(3, 9)).key
    reads = exported(0, "chat", "describe", "train").model_copy(update={"reading": "e" * 16})
    made["local reading"] = link(TUNES["local"], "describe", train=(reads,)).key
    return made


def test_no_key_has_moved():
    assert keys() == KEYS


@pytest.mark.parametrize("name", ["name", "retrain_days", "asked"])
def test_what_is_for_people_or_money_is_in_no_key(name):
    plain = link(TUNES["local"], "describe")
    assert plain.model_copy(update={name: 7}).key == plain.key
