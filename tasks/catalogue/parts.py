"""Parts: which files of a folder, an archive or a data set are the catalogue, by split and configuration.

Files made for tests and labels are left out wherever there are others, in every kind of place. A data set's card may
name configurations and splits; its files lie within the data set, and a card that points elsewhere is refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import yaml
from fsspec.utils import glob_translate

from tasks.core.errors import CatalogueError

ALIASES = {
    "train": ("train", "training", "trn"),
    "validation": ("validation", "valid", "val", "dev", "eval", "evaluation"),
    "test": ("test", "testing", "tst"),
    "labels": ("lbl", "label", "labels"),
}
SPLITS = {alias: split for split, aliases in ALIASES.items() for alias in aliases}
# train.json, train-00000-of-00001.parquet, products_train.csv.gz; `label-makers.json` is a catalogue like any other.
NAMED = re.compile(rf"(?:.*[-_. ])?({'|'.join(SPLITS)})(?:[-_. ]?\d+)?(?:-of-\d+)?")
ABOUT = {"dataset_infos.json", "dataset_info.json", "dataset_dict.json", "state.json", "package.json"}
CARD = "README.md"


def split_of(name: str) -> str | None:
    """The split that a file's name or folder tells (`train`, `validation`, `test`, `labels`), or None."""
    *folders, base = name.lower().split("/")
    stem = re.sub(r"\.(json|jsonl|ndjson|csv|tsv|parquet|arrow|txt)(\.\w+)?$", "", base)
    if found := NAMED.fullmatch(stem):
        return SPLITS[found[1]]
    return next((SPLITS[folder] for folder in reversed(folders) if folder in SPLITS), None)


def chosen(names: Sequence[str], split: str | None = None) -> list[str]:
    """The names of this `split` ("train+validation": of both); by default all but those of tests and labels.

    Where nothing but tests and labels is there, whoever named the place means them. Raises CatalogueError where a split
    was asked for and no file's name tells it.
    """
    found = {name: split_of(name) for name in names if name.rpartition("/")[2] not in ABOUT}
    if split is not None:
        return _asked(found, split)
    plain = [name for name, part in found.items() if part in (None, "train")]
    return plain or list(found)


def _asked(found: dict[str, str | None], split: str) -> list[str]:
    wanted = [SPLITS.get(part, part) for part in split.split("+")]
    there = sorted({part for part in found.values() if part})
    if lacking := [part for part in wanted if part not in there]:
        raise CatalogueError(
            f"catalogue.split = {split!r}: no file is named after {lacking[0]!r}; "
            f"those here tell {', '.join(there) or 'no split at all'}"
        )
    return [name for name, part in found.items() if part in wanted]


def of_card(text: str, names: Sequence[str], config: str | None, split: str | None) -> list[str] | None:
    """The names that a card gives to this configuration and split, or None where it says nothing of files."""
    configs = _configs(text)
    if not configs:
        if config is not None:
            raise CatalogueError(f"catalogue.config = {config!r}: the data set's card names no configurations")
        return None
    splits = _splits(_config(configs, config), names)
    if split is None:
        if "train" not in splits and len(splits) > 1:
            raise CatalogueError(f"the data set has the splits {', '.join(splits)}: name one as catalogue.split")
        split = "train" if "train" in splits else next(iter(splits))
    if lacking := [part for part in split.split("+") if part not in splits]:
        raise CatalogueError(f"catalogue.split = {lacking[0]!r}: the data set has {', '.join(splits)}")
    return [name for part in split.split("+") for name in splits[part]]


def _configs(text: str) -> list[dict[str, Any]]:
    """The configurations with files of a card's YAML header."""
    header = re.match(r"\ufeff?---\s*\n(.*?)\n---", text, re.DOTALL)
    try:
        said = yaml.safe_load(header[1]) if header else None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        told = str(error).split("\n")[0]
        raise CatalogueError(f"the header of the data set's card {CARD!r} is no YAML ({told}): mend it") from error
    configs = said.get("configs") if isinstance(said, dict) else None
    found = configs if isinstance(configs, list) else []
    return [one for one in found if isinstance(one, dict) and one.get("data_files")]


def _config(configs: list[dict[str, Any]], wanted: str | None) -> dict[str, Any]:
    named = {str(one.get("config_name", "default")): one for one in configs}
    default = [name for name, one in named.items() if name == "default" or one.get("default")]
    choice = wanted or (default[0] if default else next(iter(named)) if len(named) == 1 else None)
    if choice not in named:
        told = f"catalogue.config = {wanted!r}: " if wanted else ""
        raise CatalogueError(
            f"{told}the data set has the configurations {', '.join(named)}: name one as catalogue.config"
        )
    return named[choice]


def _splits(config: dict[str, Any], names: Sequence[str]) -> dict[str, list[str]]:
    """{split: names} of one configuration. `data_files` is a pattern, several, or says the split of each."""
    files = config["data_files"]
    if isinstance(files, dict):
        parts = list(files.items())
    else:
        entries = files if isinstance(files, list) else [files]
        parts = [(e.get("split", "train"), e.get("path")) if isinstance(e, dict) else ("train", e) for e in entries]
    found: dict[str, list[str]] = {}
    for split, paths in parts:
        for pattern in paths if isinstance(paths, list) else [paths]:
            matched = _matching(str(pattern), str(config.get("data_dir") or ""), names)
            known = found.setdefault(str(split), [])
            known += [name for name in matched if name not in known]
    if empty := [split for split, some in found.items() if not some]:
        raise CatalogueError(
            f"the data set's card names files for {', '.join(empty)} that are not there: fetch it again"
        )
    return found


def _matching(pattern: str, folder: str, names: Sequence[str]) -> list[str]:
    if "://" in pattern or "::" in pattern or pattern.startswith(("/", "~")) or ".." in re.split(r"[/\\]", pattern):
        raise CatalogueError(
            f"the data set's card names {pattern!r} as its data, which does not lie in the data set: "
            "fetch that yourself, and name the file"
        )
    full = "/".join(part.strip("/") for part in (folder, pattern.removeprefix("./")) if part.strip("/."))
    if full in names:  # a name may hold brackets
        return [full]
    expression = re.compile(glob_translate(full))
    return [name for name in names if expression.match(name)]
