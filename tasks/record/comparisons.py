"""Comparisons: one MLflow run each, found again by its key: table, answers, verdicts, picture and report."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from pydantic import ValidationError

from tasks.core import store
from tasks.core.errors import DamagedError
from tasks.core.models import Promotion
from tasks.evaluation import candidacy, report
from tasks.evaluation.candidacy import Candidacy
from tasks.evaluation.comparison import Compared
from tasks.evaluation.trial import Mark
from tasks.record import describe, ledger

log = logging.getLogger(__name__)

KEY = "shardtune.comparison"
NOTE = "mlflow.note.content"
GATE = "shardtune.gate"  # the registered model whose gate asked; the candidacy stands in its own tags
PLACE = {name: f"{GATE}.{name}" for name in Candidacy.model_fields}
DECISION = "decision"  # for people


def finished(key: str) -> Compared | None:
    """The recorded comparison of this key, or None."""
    api = ledger.client()
    place = ledger.experiment(api)
    runs = place and api.search_runs(
        [place], f"tags.`{KEY}` = '{key}' and attributes.status = 'FINISHED'", max_results=1
    )
    try:
        recorded = ledger.read(runs[0].info.run_id, "compared.json") if runs else None
        return Compared.model_validate(recorded | {"again": True}) if recorded else None
    except (DamagedError, ValidationError) as error:  # it is made anew; the answers are cached
        log.warning("%s", " ".join(str(error).split()))
        return None


def next_candidacy(name: str, champion: str | None) -> Candidacy:
    """The place of the next candidate for the champion of `name`: after all whose comparison is recorded."""
    api = ledger.client()
    place = ledger.experiment(api)
    runs = api.search_runs([place], f"tags.`{GATE}` = '{name}'", max_results=50_000) if place else []
    tried = [Candidacy.model_validate({key: r.data.tags.get(tag) for key, tag in PLACE.items()}) for r in runs]
    return candidacy.following(tried, champion)


def decided(promotion: Promotion) -> None:
    """Say in the run of the comparison what the gate made of it, and on how much evidence."""
    api, sentence = ledger.client(), f"{promotion.version} is {promotion.alias}: {promotion.reason}"
    api.set_tag(promotion.comparison, DECISION, sentence[:4_000])
    for name, value in (("evidence", promotion.evidence), ("evidence_needed", promotion.needed)):
        if value is not None:
            api.log_metric(promotion.comparison, name, value)


def record(compared: Compared, marks: Sequence[Mark]) -> Compared:
    """Put a comparison into MLflow; returns it with its run and where its report is."""
    from mlflow.entities import Metric, RunTag
    from mlflow.utils.time import get_current_time_millis

    page, picture = report.html(compared, marks), report.picture(compared)
    api = ledger.client()
    tags = {KEY: compared.key, "mlflow.runName": f"compare {compared.recipe} {compared.key[:8]}"}
    if compared.candidacy:  # another may have been tried while this one was asked
        before = compared.candidacy.champion
        now = next_candidacy(compared.recipe, None if before == candidacy.NOBODY else before)
        compared = compared.model_copy(update={"candidacy": now})
        values = now.model_dump()
        tags |= {GATE: compared.recipe} | {tag: str(values[key]) for key, tag in PLACE.items()}
    run = api.create_run(ledger.experiment(api) or ledger.made(api), tags=tags | describe.source())
    run_id, now = str(run.info.run_id), get_current_time_millis()
    metrics = [
        Metric(_plain(f"{group}/{rate} {arm.name}"), value, now, 0)
        for arm in compared.arms
        for group, rates in arm.groups.items()
        for rate, value in rates.items()
        if value is not None
    ]
    names = {f"shardtune.model.{number}": target.name for number, target in enumerate(compared.targets)}
    run_tags = [RunTag(name, value) for name, value in names.items()]
    note = "\n".join(f"- {line}" for line in report.headlines(compared))
    api.log_batch(
        run_id, metrics=metrics, tags=[*run_tags, RunTag(NOTE, note), RunTag("shardtune.recipe", compared.recipe)]
    )
    columns = list(Mark.model_fields)
    data = [[m.model_dump(mode="json")[name] for name in columns] for m in marks]
    api.log_dict(run_id, {"columns": columns, "data": data}, "marks.json")
    api.set_tag(run_id, "mlflow.loggedArtifacts", '[{"path": "marks.json", "type": "table"}]')
    api.log_figure(run_id, picture, "comparison.png")
    compared = compared.model_copy(update={"mlflow_run_id": run_id, "report": f"{run.info.artifact_uri}/report.html"})
    api.log_text(run_id, page, "report.html")
    api.log_dict(run_id, store.sealed(compared.model_dump(mode="json")), "compared.json")
    api.set_terminated(run_id, "FINISHED")
    return compared


def _plain(name: str) -> str:
    """A name that MLflow takes for a metric."""
    return "".join(c if c.isalnum() or c in "_-. /:" else " " for c in name.replace("+", "with"))
