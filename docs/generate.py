"""Write the pages that are made from the code: command-line.md, json.md and recipe.md.

Run it by `make docs`, or by `python -m docs.generate`; `tests/docs/test_docs.py` fails where a page is not current.
"""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from flows.cli.main import cli
from flows.reproduce import Reproduced
from tasks.answers.reply import Replied
from tasks.answers.verify import Verified
from tasks.core import models, quotes
from tasks.evaluation.comparison import Compared
from tasks.orchestrator.status import MachineStatus
from tasks.portable.exporting import ExportedModel
from tasks.recipe import tuning
from tasks.recipe.model import Recipe
from tasks.record import lineage

FOLDER = Path(__file__).parent
MADE = "<!-- Made by docs/generate.py from the code: change the code, then run `make docs`. -->\n"

COMMAND_LINE = """
Exit status 0 means that all went well, 1 an error (one line on stderr; `--debug` adds the traceback), 2 wrong usage,
130 stopped by hand. Wherever a command takes KEY, its first digits will do.

Shell completion: put `eval "$(_SHARDTUNE_COMPLETE=bash_source shardtune)"` into `~/.bashrc` (zsh: `zsh_source` and
`~/.zshrc`; fish: `_SHARDTUNE_COMPLETE=fish_source shardtune | source` into
`~/.config/fish/completions/shardtune.fish`).
""".lstrip()
JSON = """
With `--json` a command prints one JSON value and nothing else; `verify` prints one a line. A field is neither renamed
nor taken away without an entry in CHANGELOG.md; fields may be added. `or null` says that a field may be empty.
""".lstrip()
RECIPE = """
A recipe is one validated run: a YAML file, `--set` overrides, and the parameters of the Prefect form. Unknown keys are
refused. `--set tune.lora.r=64` sets one field; a field of a section is `section.field`.
""".lstrip()

# What a command prints with --json: a model, an iterator of models (one a line), or words where it prints no model.
RESULTS: dict[str, Any] = {
    "prepare": models.Prepared,
    "report": models.CatalogueReport,
    "finetune": models.Finetuned,
    "retrain": models.Retrained,
    "rehearse": models.Rehearsed,
    "check": models.Checked,
    "quote": quotes.Quoted,
    "ask": Replied,
    "verify": Iterator[Verified],
    "compare": Compared,
    "explain": lineage.Explained,
    "who-trained-on": list[lineage.Trained],
    "reproduce": Reproduced,
    "export": ExportedModel,
    "sweep": list[models.Swept],
    "status": MachineStatus,
    "recipes": "an object: name of a recipe to its description",
    "arrived": "an object with `event`, `resource` and `uri`",
    "schedule": "an object with `name`, `pool`, `times`, `catalogue`, `budget_usd`, `notifies`, `on` and `url`",
    "cancel": "an object with `key` and `state`",
    "down": "an object with `ended`, a list of `name` and `pid`, and `users`, the commands that still run",
    "rollback": "an object with `champion`, the version that is champion now, or null",
    "init": "an object with `recipe`, `catalogue`, `notes`, `looked_at`, `kept`, `dropped`, `quarantined` and `rows`",
    "review": "a list of the disliked answers, each an object with `mend`; with --approve the answer; with --ask a "
    "list of `trace`, `question`, `before`, `now`, `text`, `right`; with --forget an object with `forgotten`",
    "backup": "an object with `made`, `root`, `files`, `bytes` and `elsewhere`",
    "restore": "an object with `made`, `root`, `files`, `bytes` and `elsewhere`",
}


def _cell(text: Any) -> str:
    """Text for one cell of a Markdown table."""
    return " ".join(str(text).split()).replace("|", "\\|").replace("<", "&lt;")


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> Iterator[str]:
    if rows:
        yield "| " + " | ".join(head) + " |\n|" + "---|" * len(head) + "\n"
        yield from ("| " + " | ".join(row) + " |\n" for row in rows)
        yield "\n"


def command_line() -> str:
    """Every command with its help, its arguments and its options."""
    return "".join(_commands())


def _commands() -> Iterator[str]:
    yield f"{MADE}# Command line\n\n{COMMAND_LINE}\n"
    for name, command in sorted(_named(cli)):
        with click.Context(command, info_name=f"shardtune {name}") as context:
            yield f"## {name}\n\n{inspect.cleandoc(command.help or '')}\n\n"
            yield f"```\n{' '.join([context.command_path, *command.collect_usage_pieces(context)])}\n```\n\n"
            yield from _table(("option", "meaning"), [_option(p, context) for p in command.params if _shown(p)])


def _named(group: click.Group, before: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command by its name; those of a group follow it, under both names."""
    for name, command in group.commands.items():
        yield f"{before}{name}", command
        if isinstance(command, click.Group):
            yield from _named(command, f"{before}{name} ")


def _shown(parameter: click.Parameter) -> bool:
    return isinstance(parameter, click.Option) and not parameter.hidden


def _option(parameter: click.Parameter, context: click.Context) -> tuple[str, str]:
    spelled, told = parameter.get_help_record(context) or ("", "")  # type: ignore[attr-defined]
    return f"`{spelled.replace('|', chr(0x2758))}`".replace(chr(0x2758), "\\|"), _cell(told)


def json_output() -> str:
    """The fields of what each command prints with --json."""
    return "".join(_outputs())


def _outputs() -> Iterator[str]:
    yield f"{MADE}# JSON output\n\n{JSON}\n"
    pending: list[Any] = []
    for command in sorted(name for name, one in cli.commands.items() if any(p.name == "as_json" for p in one.params)):
        if command not in RESULTS:
            raise SystemExit(f"say in RESULTS of docs/generate.py what `shardtune {command} --json` prints")
        result = RESULTS[command]
        yield f"## {command}\n\n"
        if isinstance(result, str):
            yield f"Prints {result}.\n\n"
            continue
        yield f"Prints {_kind(result)}.\n\n"
        pending += _fresh(result, pending)
    yield "## Objects\n\n"
    for one in pending:  # grows while it is walked: the classes that fields name
        yield f"### {one.__name__}\n\n{_summary(one)}\n\n"
        rows = []
        for name, annotation, told in _fields(one):
            rows.append((f"`{name}`", _kind(annotation), _cell(told)))
            pending += _fresh(annotation, pending)
        yield from _table(("field", "type", "meaning"), rows)


def _fresh(annotation: Any, known: list[Any]) -> list[Any]:
    """The classes of an annotation that have no section yet; those of a recipe have theirs in recipe.md."""
    return [one for one in _classes(annotation) if one not in known and not _is_of_recipe(one)]


def _summary(one: type) -> str:
    """What a class says of itself; named tuples say only their own signature where nobody wrote more."""
    told = inspect.cleandoc(one.__doc__ or "").split("\n\n")[0]
    return "" if told.startswith(f"{one.__name__}(") else " ".join(told.split())


def _fields(one: Any) -> Iterator[tuple[str, Any, str]]:
    """Name, annotation and description of each field of a model or a named tuple."""
    if issubclass(one, BaseModel):
        fields: Mapping[str, FieldInfo] = one.model_fields
        for name, field in fields.items():
            yield name, field.annotation, field.description or _comment(one, name)
    else:
        yield from ((name, hint, _comment(one, name)) for name, hint in typing.get_type_hints(one).items())


def _comment(one: type, name: str) -> str:
    """What stands beside a field in the code."""
    for base in one.__mro__[:-1]:
        found = re.search(rf"^    {name}: .*?  # (.+)$", inspect.getsource(base), re.M) if _is_ours(base) else None
        if found:
            return found[1]
    return ""


def _is_ours(one: Any) -> bool:
    return isinstance(one, type) and (issubclass(one, BaseModel) or hasattr(one, "_fields"))


def _is_of_recipe(one: Any) -> bool:
    return _is_ours(one) and one.__module__.startswith("tasks.recipe.")


def _classes(annotation: Any) -> list[Any]:
    """The models and named tuples that an annotation names."""
    if _is_ours(annotation):
        return [annotation]
    return [found for inner in typing.get_args(annotation) for found in _classes(inner)]


def _kind(annotation: Any) -> str:
    """An annotation in the words of JSON."""
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_kind(one) for one in inner)
    if origin is typing.Literal:
        return " or ".join(f"`{one}`" for one in inner)
    if origin is typing.Annotated:
        return _kind(inner[0])
    if origin is Iterator:
        return f"one line for each: {_kind(inner[0])}"
    if origin in (tuple, list) or (inspect.isclass(origin) and issubclass(origin, typing.Sequence)):  # type: ignore[arg-type]
        return f"list of {_kind(inner[0])}"
    if origin is not None and inspect.isclass(origin) and issubclass(origin, Mapping):
        return f"object of {_kind(inner[1])}"
    if _is_of_recipe(annotation):
        return f"[section `{annotation.__name__}` of a recipe](recipe.md)"
    if _is_ours(annotation):
        return f"[{annotation.__name__}](#{annotation.__name__.lower()})"
    names = {str: "text", int: "number", float: "number", bool: "true or false", type(None): "null", dict: "object"}
    return names.get(annotation, "text" if "datetime" in str(annotation) else "value")


def recipe() -> str:
    """Every field of a recipe with its default, bounds and description."""
    return "".join(_recipe())


def _recipe() -> Iterator[str]:
    yield f"{MADE}# Recipe\n\n{RECIPE}\n"
    sections = [(name, field.annotation) for name, field in Recipe.model_fields.items()]
    yield "## Top level\n\n"
    yield from _options(Recipe)
    for name, annotation in sections:
        if name == "tune":
            continue
        for one in _classes(annotation):
            yield f"## {name}\n\n{_summary(one)}\n\n"
            yield from _options(one)
    for one in (tuning.LocalTune, tuning.OpenAITune, tuning.GeminiTune):
        yield f"## tune, kind: {one.model_fields['kind'].default}\n\n{_summary(one)}\n\n"
        yield from _options(one)
        for name, field in one.model_fields.items():
            for inner in _classes(field.annotation):
                yield f"### {name} of {one.model_fields['kind'].default}\n\n{_summary(inner)}\n\n"
                yield from _options(inner)


def _options(one: type[BaseModel]) -> Iterator[str]:
    rows = []
    for name, field in one.model_fields.items():
        if _classes(field.annotation):
            rows.append((f"`{name}`", "", _cell(field.description or "a section of its own, below")))
            continue
        default = "required" if field.is_required() else f"`{_default(field)}`"
        rows.append((f"`{name}`", _cell(default), _cell(" ".join([field.description or "", *_bounds(field)]))))
    yield from _table(("field", "default", "meaning"), rows)


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    if value is None:
        return "null"
    return str(list(value) if isinstance(value, tuple) else value).replace("True", "true").replace("False", "false")


def _bounds(field: FieldInfo) -> Iterator[str]:
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    found = [f"{words[k]} {v:,}" for m in field.metadata for k in words if (v := getattr(m, k, None)) is not None]
    if found:
        yield f"({', '.join(found)})"


PAGES = {"command-line.md": command_line, "json.md": json_output, "recipe.md": recipe}


def page(name: str) -> str:
    """The text that a made page must have."""
    return re.sub(r"\n{3,}", "\n\n", PAGES[name]()).rstrip() + "\n"


def main() -> None:
    for name in PAGES:
        (FOLDER / name).write_text(page(name), encoding="utf-8")


if __name__ == "__main__":
    main()
