"""Lineage: the history of a model, and the models that were trained on a product, read back from MLflow runs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tasks.backends.contract import Link
from tasks.core.errors import AnswerError
from tasks.core.models import Export, Frozen
from tasks.evaluation.comparison import GUARD, Compared
from tasks.evaluation.report import told
from tasks.examples.export import read_rows
from tasks.record import aliases, attempts, comparisons, ledger, names, registry
from tasks.record.names import JOB, KEY, PARENT

if TYPE_CHECKING:
    from mlflow.entities import Run


class LinkHistory(Frozen):
    """One link of a model's history. `shards` and `exports` are their records as they were then."""

    key: str
    mlflow_run_id: str
    recipe: str
    commit: str | None
    backend: str
    base_model: str
    parent: str | None  # key
    catalogue: str | None
    shards: tuple[dict[str, Any], ...]
    exports: tuple[Export, ...]
    near_duplicates: int | None
    state: str
    job: str | None
    attempts: tuple[dict[str, Any], ...]
    cost: dict[str, Any]
    heldout_loss: dict[str, float | None]
    scores: dict[str, Any]
    model: str | None
    model_digest: str | None


class Version(Frozen):
    """A registered version of a model, what it is called, and why."""

    name: str  # NAME/VERSION
    aliases: tuple[str, ...]
    reason: str


class Explained(Frozen):
    """The history of a model: its links, first to last, its verdicts, and its names in the registry."""

    model: str
    links: tuple[LinkHistory, ...]
    verdicts: tuple[str, ...]
    versions: tuple[Version, ...]


class Trained(Frozen):
    """A link with this product among its training examples; `models` are its own name and those of later links."""

    key: str
    mlflow_run_id: str
    recipe: str
    shard: int
    line: int  # of the catalogue
    example: int  # line of the export
    export: str
    state: str
    heirs: tuple[str, ...]  # keys of links that go on from it
    versions: tuple[Version, ...]  # of it and its heirs


def explain(spec: str) -> Explained:
    """Shards -> rows -> exports -> jobs -> metrics -> verdicts -> aliases of the model that `spec` names."""
    target, _ = registry.target(spec)
    links: list[LinkHistory] = []
    key: str | None = target.key
    while key:
        run = ledger.run_of(key)
        if run is None:
            break  # its parent's run was deleted
        links.insert(0, _link(run))
        key = links[0].parent
    return Explained(
        model=spec,
        links=tuple(links),
        verdicts=_verdicts(str(target.key)),
        versions=tuple(versions(str(target.run_id))),
    )


def _link(run: Run) -> LinkHistory:
    run_id, tags = run.info.run_id, run.data.tags
    link = ledger.load(run_id, "link.json", Link)
    if link is None:
        raise AnswerError(f"MLflow run {run_id!r} has no link.json: run the command again that started it")
    prepared, result = ledger.read(run_id, "prepared.json") or {}, ledger.read(run_id, "result.json") or {}
    near = names.value(tags, names.NEAR)
    return LinkHistory(
        key=link.key,
        mlflow_run_id=run_id,
        recipe=names.value(tags, names.RECIPE, link.name),
        commit=tags.get("mlflow.source.git.commit"),
        backend=link.backend,
        base_model=link.base_model,
        parent=link.parent_key,
        catalogue=prepared.get("catalogue"),
        shards=tuple(prepared.get("shards", ())),
        exports=(*link.train, *link.holdout),
        near_duplicates=int(near) if near else None,
        state=names.value(tags, names.STATE),
        job=json.loads(tags[JOB])["id"] if tags.get(JOB) else None,
        attempts=tuple(attempts.ended(run)),
        cost=result.get("cost", {}),
        heldout_loss=result.get("heldout_loss", {}),
        scores=result.get("scores", {}),
        model=result.get("model"),
        model_digest=result.get("model_digest"),
    )


def _verdicts(key: str) -> tuple[str, ...]:
    """Every recorded verdict over another model, newest first."""
    api = ledger.client()
    place = ledger.experiment(api)
    sentences: list[str] = []
    for run in api.search_runs([str(place)], f"tags.`{comparisons.KEY}` != '' and attributes.status = 'FINISHED'"):
        compared = Compared.model_validate(ledger.read(run.info.run_id, "compared.json"))
        names = {t.name for t in compared.targets if t.key == key}
        mine = {arm for name in names for arm in (name, f"{name} with rows", f"{name} + retrieval")}
        sentences += [told(v) for v in compared.verdicts if v.new in mine and v.old not in mine and v.measure != GUARD]
    return tuple(dict.fromkeys(sentences))


def versions(run_id: str) -> list[Version]:
    """The registered versions of this run's model."""
    from mlflow.exceptions import MlflowException

    api = ledger.client()
    try:
        registered = api.search_model_versions(f"run_id = '{run_id}'")
    except MlflowException:
        return []
    listed = []
    for version in registered:
        names = api.get_registered_model(version.name).aliases
        mine = tuple(sorted(name for name, number in names.items() if str(number) == str(version.version)))
        reason = version.tags.get(aliases.REASON, "")
        listed.append(Version(name=f"{version.name}/{version.version}", aliases=mine, reason=reason))
    return listed


def who_trained_on(uid: str) -> tuple[Trained, ...]:
    """Every link whose training examples hold the product, with the links and registered models that go on from it."""
    api = ledger.client()
    place = ledger.experiment(api)
    runs = [] if place is None else api.search_runs([place], f"tags.`{KEY}` != ''", max_results=50_000)
    children: dict[str, list[Run]] = {}
    for run in runs:
        children.setdefault(run.data.tags.get(PARENT, ""), []).append(run)
    trained = []
    for run in runs:
        link = ledger.load(run.info.run_id, "link.json", Link)
        for export in link.train if link else ():
            trained += [_trained(run, export, *where, children) for where in _where(export, uid)]
    return tuple(trained)


def _where(export: Export, uid: str) -> list[tuple[int, int]]:
    """Lines of the export, and of the catalogue, at which the product stands."""
    rows = read_rows(export, ["uid", "line"]).to_pylist()
    return [(number, row["line"]) for number, row in enumerate(rows, 1) if row["uid"] == uid]


def _trained(run: Run, export: Export, example: int, line: int, children: dict[str, list[Run]]) -> Trained:
    heirs, waiting = [], [run]
    while waiting:
        heirs.append(waiting.pop())
        waiting += children.get(heirs[-1].data.tags[KEY], [])
    tags = run.data.tags
    return Trained(
        key=tags[KEY],
        mlflow_run_id=run.info.run_id,
        recipe=names.value(tags, names.RECIPE),
        shard=export.shard,
        line=line,
        example=example,
        export=export.uri,
        state=names.value(tags, names.STATE),
        heirs=tuple(heir.data.tags[KEY] for heir in heirs[1:]),
        versions=tuple(version for heir in heirs for version in versions(heir.info.run_id)),
    )
