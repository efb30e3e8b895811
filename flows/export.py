"""Export: a tuned model leaves the house as files that other programs open. `shardtune export` runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.backends.local import models
from tasks.core.errors import ExportError
from tasks.portable import card, exporting
from tasks.portable.exporting import ExportedModel, Form
from tasks.recipe.tuning import LocalTune
from tasks.record import lineage, registry

if TYPE_CHECKING:
    from tasks.answers.reply import Target


def export(spec: str, form: Form, place: str | None = None) -> ExportedModel:
    """Write the model that `spec` means to `place` (by default a folder here, named after it).

    Raises ExportError for a provider's model, AnswerError where there is none of this name.
    """
    target, recipe = registry.target(spec)
    facts = described(spec, target, recipe.name)
    place = place or f"./{recipe.name}-{facts.result.key[:8]}-{form}"
    return exporting.export(spec, facts, str(target.model), form, place)


def described(spec: str, target: Target, name: str) -> card.CardFacts:
    """What the page of the model says of it. ExportError for a provider's model: its weights are not ours."""
    tune = target.tune
    if not isinstance(tune, LocalTune) or target.model is None:
        raise ExportError(f"model {spec!r} stays with its provider ({tune.kind!r}): only local models can be exported")
    explained = lineage.explain(spec)
    result = registry.result(str(target.run_id))
    links = [
        card.LinkFacts(
            key=link.key,
            shards=tuple((s["index"], s["source"], s["lines"], s["kept"]) for s in link.shards),
            exports=link.exports,
        )
        for link in explained.links
    ]
    source = models.locate(tune.base_model)
    return card.CardFacts(
        title=f"{name} {result.key[:8]}",
        tune=tune,
        base=models.portable(tune),
        base_digest=registry.base_digest(str(target.run_id)),
        license=card.license_of(str(source)) if source else card.UNKNOWN,
        style=target.style,
        links=tuple(links),
        result=result,
        verdicts=explained.verdicts,
        simulated=target.simulated,
    )
