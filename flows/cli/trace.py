"""Commands that show where a model comes from."""

from __future__ import annotations

import json
from typing import Any

import click

from flows.cli import show
from flows.cli.options import AS_JSON, DEBUG, enter, tell


@click.command()
@click.argument("model")
@AS_JSON
@DEBUG
def explain(model: str, as_json: bool) -> None:
    """Show the history of MODEL: shards, rows, exports, jobs, costs, metrics, outcomes, aliases."""
    enter(flows=False)
    from tasks.record import lineage

    tell(lineage.explain(model), _explained, as_json)


def _explained(explained: Any) -> None:
    for number, link in enumerate(explained.links, 1):
        show.echo(f"link {number}  {link.key}  {link.recipe}: {link.base_model} at {link.backend}, {link.state}")
        show.echo(f"  MLflow run {link.mlflow_run_id}, job {link.job}, commit {link.commit or 'unknown'}")
        show.echo(f"  catalogue {link.catalogue}")
        for shard in link.shards:
            dropped = ", ".join(f"{rule} {many}" for rule, many in shard["dropped"].items() if many) or "none"
            show.echo(
                f"  shard {shard['index']}  {shard['source'][:16]}  {shard['lines']:,} lines, {shard['kept']:,} kept"
            )
            show.echo(f"    dropped: {dropped}; quarantined {shard['quarantined']:,}")
        for e in link.exports:
            show.echo(
                f"  export {e.split} of shard {e.shard}: {e.examples:,} examples, {e.style}, {e.format}  {e.digest}"
            )
        show.echo(f"  near duplicates of the holdout in training: {link.near_duplicates}")
        for attempt in link.attempts:
            show.echo(f"  ended attempt {attempt['job']}: {attempt['state']} {attempt['reason']}")
        cost, loss = link.cost.get("usd"), link.heldout_loss
        show.echo(f"  cost {'unknown' if cost is None else f'${cost:.4f}'}, held-out loss {loss or 'unknown'}")
        show.echo(f"  model {link.model}  {link.model_digest or ''}")
    for verdict in explained.verdicts:
        show.echo(f"verdict  {verdict}")
    _versions(explained.versions)


def _versions(versions: Any) -> None:
    for version in versions:
        show.echo(f"registered  {version.name}  {', '.join(version.aliases) or 'no alias'}  {version.reason}")


@click.command(name="who-trained-on")
@click.argument("uid")
@AS_JSON
@DEBUG
def who_trained_on(uid: str, as_json: bool) -> None:
    """List the links, and the models after them, that were trained on the product with this UID."""
    enter(flows=False)
    from tasks.record import lineage

    trained = lineage.who_trained_on(uid)
    if as_json:
        click.echo(json.dumps([one.model_dump(mode="json") for one in trained]))
        return
    for one in trained:
        show.echo(f"{one.key}  {one.recipe}, {one.state}: shard {one.shard}, line {one.line}, example {one.example}")
        show.echo(f"  {one.export}")
        for heir in one.heirs:
            show.echo(f"  continued in {heir}")
        _versions(one.versions)
    if not trained:
        show.echo(f"no model was trained on {uid}")


@click.command()
@click.argument("model")
@AS_JSON
@DEBUG
def reproduce(model: str, as_json: bool) -> None:
    """Make the exports of MODEL again and compare them bit for bit; exit status 1 where they differ."""
    enter()
    from flows.reproduce import reproduce as flow

    tell(flow(model), _reproduced, as_json)


def _reproduced(result: Any) -> None:
    for e in result.exports:
        show.echo(f"{'same' if e.same else 'DIFFERENT'}  shard {e.shard} {e.split}  {e.recorded}  {e.made}")
    for key, same in result.links.items():
        show.echo(f"{'same' if same else 'DIFFERENT'}  key {key}")


COMMANDS = (explain, who_trained_on, reproduce)
