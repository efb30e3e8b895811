"""Compare: the same questions to several models; one table, and who is better. `shardtune compare` runs it."""

from __future__ import annotations

from prefect import flow

from flows.prepare import ready
from tasks import compare as verbs
from tasks import respond
from tasks.answers.index import Index
from tasks.core.errors import AnswerError
from tasks.core.models import Prepared
from tasks.evaluation.candidacy import Candidacy
from tasks.evaluation.comparison import Compared
from tasks.orchestrator import runs
from tasks.recipe.model import Recipe
from tasks.record import aliases, comparisons, registry


@flow(name="compare", flow_run_name="compare {models}", on_running=[runs.sign], on_failure=[runs.lost])
def compare(
    models: tuple[str, ...] = ("base", "champion"), recipe: Recipe | None = None, backends: tuple[str, ...] = ()
) -> Compared:
    """Each model by itself and with rows from the index, and the index alone; seen, unseen and absent products.

    Without a `recipe` it is the one that the first tuned model was tuned by. `backends` leaves out models of others.
    A comparison that was made is served from its record.
    """
    if recipe is None:
        recipe = next((registry.target(name)[1] for name in models if name != "base"), None)
    if recipe is None:
        raise AnswerError("model 'base' needs a recipe: name one, or add a model that was tuned by it")
    recipe, prepared = ready(recipe)
    compared = between(recipe, models, prepared, backends)
    return compared.model_copy(update={"decisions": aliases.decisions(t.version for t in compared.targets)})


def between(
    recipe: Recipe,
    models: tuple[str, ...],
    prepared: Prepared,
    backends: tuple[str, ...] = (),
    candidacy: Candidacy | None = None,
) -> Compared:
    """Compare the models on what was prepared; with a `candidacy` as the gate does: the last is the candidate."""
    targets = [respond.target(name, recipe)[0] for name in dict.fromkeys(models)]
    targets = [t for t in targets if not backends or t.tune.kind in backends]
    if not targets:
        raise AnswerError(f"no model to compare: {models!r} have none of the backends {backends!r}")
    opened = Index(respond.index(recipe, prepared))
    asked = verbs.questions(recipe, prepared, opened, candidacy)
    compared = comparisons.finished(verbs.key_of(recipe, targets, asked, candidacy))
    compared = compared or verbs.run(recipe, targets, asked, opened, prepared.catalogue, candidacy)
    verbs.show(compared)
    return compared
