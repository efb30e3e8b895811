"""Init: the command that looks at a person's own catalogue and writes the recipe that reads it."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flows.cli import show
from flows.cli.options import AS_JSON, DEBUG

if TYPE_CHECKING:
    from tasks.catalogue.preview import Preview
    from tasks.catalogue.propose import Proposal
    from tasks.recipe.fields import Fields
    from tasks.recipe.model import Recipe

ASKED = ("uid", "title", "content")
SHOWN = 300  # characters of a text
HEAD = """# Written by `shardtune init`: how {uri} is read. Change what you like, then
#   shardtune prepare --recipe {file}
#   shardtune ask --recipe {file} "Your question"    # quotes the catalogue's rows; no model is needed
#   shardtune finetune --recipe {file}               # the small model below runs on a CPU; name a larger base for more
"""


@click.command()
@click.argument("file", metavar="FILE")
@click.option("--name", help="Of the recipe; by default the file's.")
@click.option("--out", metavar="YAML", help="The file to write; by default NAME.yaml.")
@click.option("--yes", "-y", is_flag=True, help="Take what is proposed, and ask nothing.")
@click.option("--set", "overrides", multiple=True, metavar="A.B=VALUE", help="Set one key of the recipe.")
@click.option("--force", is_flag=True, help="Write over a recipe that is there.")
@AS_JSON
@DEBUG
def init(
    file: str, name: str | None, out: str | None, yes: bool, overrides: tuple[str, ...], force: bool, as_json: bool
) -> None:
    """Look at the catalogue FILE (a file, folder, URI or data set), and write a recipe that reads it."""
    from tasks.catalogue.propose import propose
    from tasks.core import store
    from tasks.core.errors import RecipeError
    from tasks.recipe import loader

    name = _name(name or file)
    target = Path(out or f"{name}.yaml")
    if target.exists() and not force:
        raise RecipeError(f"{str(target)!r} is there: give --name, --out, or --force to write over it")
    path = store.local(file)
    uri = str(path.resolve()) if path is not None and path.exists() else file
    given = loader.load(None, overrides)
    found = propose(given.catalogue.model_copy(update={"uri": uri}))
    fields = given.catalogue.fields or (found.fields if yes or not _interactive() else _asked(found))
    recipe, values, made = _made(uri, name, given, found, fields, overrides)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(HEAD.format(uri=_plain(uri), file=_plain(str(target))) + values, encoding="utf-8")
    _told(found, fields, made, recipe, target, as_json)


def _interactive() -> bool:
    return sys.stdin.isatty()


def _plain(text: str) -> str:
    return re.sub(r"[^\x20-\x7e\u00a1-\ufefe]", "?", text)


def _name(text: str) -> str:
    """A recipe's name from that of a file."""
    stem = text.rstrip("/").rpartition("/")[2].lower()
    stem = re.sub(r"(\.(jsonl?|ndjson|csv|tsv|txt|parquet|arrow|xlsx|xlsm|gz|bz2|xz|zst|zip|tar|tgz))+$", "", stem)
    return re.sub(r"[^a-z0-9._-]+", "-", stem).strip("-._")[:60] or "catalogue"


def _asked(found: Proposal) -> Fields:
    """The mapping that a person agrees to."""
    from pydantic import ValidationError

    from tasks.core import limits
    from tasks.recipe.fields import Fields

    show.echo(f"columns: {', '.join(found.columns)}")
    values: dict[str, Any] = found.fields.model_dump(mode="json")
    while True:
        try:
            for field in ASKED:
                proposed = ", ".join(values[field])
                told = click.prompt(f"{field} ({found.why.get(field, 'as you say')})", default=proposed)
                if told != proposed:
                    values[field] = limits.yaml_value(f"[{told}]")
            chosen = Fields.model_validate(values)
        except (ValidationError, ValueError) as error:
            show.echo(str(error))
            continue
        known = {*found.columns}
        missing = [n for n in chosen.named if n not in known and n.partition(".")[0] not in known]
        if not missing:
            return chosen
        show.echo(f"no column is called {', '.join(map(repr, missing))}")


def _made(
    uri: str, name: str, given: Recipe, found: Proposal, fields: Fields, overrides: tuple[str, ...]
) -> tuple[Recipe, str, Preview]:
    """The recipe, its YAML, and what it makes of the sample."""
    import yaml

    from tasks.catalogue import batch
    from tasks.catalogue.preview import needed, preview
    from tasks.catalogue.propose import link
    from tasks.core import limits
    from tasks.recipe import loader
    from tasks.recipe.names import FOLDER

    own: dict[str, Any] = {"uri": uri}
    own |= {"encoding": found.how.encoding} if found.how.encoding else {}
    mapped = fields if needed(found.records, fields) else None
    if mapped:
        own["fields"] = {k: v[0] if len(v) == 1 else list(v) for k, v in mapped if k != "facts"}
        own["fields"] |= {"facts": {k: v[0] for k, v in mapped.facts.items()}} if mapped.facts else {}
    small = limits.yaml_value((FOLDER / "demo.yaml").read_text(encoding="utf-8"))
    values: dict[str, Any] = {"name": name, "description": f"Products of {uri.rpartition('/')[2]}", "catalogue": own}
    values |= {key: small[key] for key in ("export", "tune", "evaluate")}
    del values["export"]["formats"]  # each backend has its own
    values["ask"] = {"product_url": link(found, fields.uid[0], uri)}
    changed = loader.over(loader.Recipe.model_validate(values), overrides)
    for override in overrides:
        loader._set(values, override)
    rules = batch.rules_of(changed.catalogue, changed.clean, changed.split)
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=120)
    return changed, text, preview(found.records, changed.catalogue.fields, rules)


def _told(found: Proposal, fields: Fields, made: Preview, recipe: Recipe, target: Path, as_json: bool) -> None:
    import json

    from tasks.core import plain

    if as_json:
        told = {
            "recipe": str(target), "catalogue": recipe.catalogue.model_dump(mode="json"), "notes": found.notes,
            "looked_at": found.looked, "kept": made.kept, "dropped": made.dropped, "quarantined": made.reasons,
            "rows": made.rows,
        }  # fmt: skip
        click.echo(plain.escaped(json.dumps(told, ensure_ascii=False, default=str)))
        return
    for field in ASKED:
        show.echo(f"{field:8} <- {', '.join(getattr(fields, field))}  ({found.why.get(field, 'as you say')})")
    for fact, parts in fields.facts.items():
        show.echo(f"{'fact':8} <- {fact}: {', '.join(parts)}")
    for row in made.rows:
        show.echo(f"\n{row['uid']}  {row['title'][:SHOWN]}")
        show.echo(f"  {row['content'][:SHOWN]}{'…' if len(row['content']) > SHOWN else ''}")
        if row.get("facts", "{}") != "{}":
            show.echo(f"  {', '.join(f'{k}: {v[:SHOWN]}' for k, v in json.loads(row['facts']).items())}")
    show.echo()
    dropped = [f"{rule} {many:,}" for rule, many in {**made.dropped, **made.reasons}.items()]
    show.echo(f"of the first {found.looked:,} records {made.kept:,} are kept; left out: {', '.join(dropped) or 'none'}")
    for note in found.notes:
        show.echo(f"note: {note}")
    show.echo(f"\n{target} is written. Next:\n  shardtune prepare --recipe {target}")
    show.echo(f'  shardtune ask --recipe {target} "..."\n  shardtune finetune --recipe {target}')


COMMANDS = (init,)
