"""Reproduce: make a model's exports again from the catalogue, in an empty folder, and compare them bit for bit."""

from __future__ import annotations

import tempfile

from prefect import flow

from flows.prepare import ready
from tasks import links
from tasks.core.errors import AnswerError
from tasks.core.models import Frozen
from tasks.orchestrator import runs
from tasks.record import lineage, registry


class Rebuilt(Frozen):
    """One export's digest then and now; `made` is None where the catalogue no longer gives this export."""

    link: str
    shard: int
    split: str
    recorded: str
    made: str | None

    @property
    def same(self) -> bool:
        return self.recorded == self.made


class Reproduced(Frozen):
    """The result of the flow `reproduce`. `links` tells of each link whether its key came out again."""

    model: str
    exports: tuple[Rebuilt, ...]
    links: dict[str, bool]
    errors: int  # exports or keys that differ


@flow(name="reproduce", flow_run_name="reproduce {model}", on_running=[runs.sign], on_failure=[runs.lost])
def reproduce(model: str) -> Reproduced:
    """Prepare the model's catalogue again, from its lines, with no cache; digests and keys must come out the same."""
    explained = lineage.explain(model)
    if not explained.links:
        raise AnswerError(f"model {model!r} has no recorded link: its MLflow run was deleted")
    made: dict[tuple[str, int, str], str] = {}
    with tempfile.TemporaryDirectory(prefix="shardtune-") as root:
        for link in explained.links:  # each by the recipe that it was made by
            recipe, prepared = ready(registry.target(link.key)[1], root=root)
            shards = sorted({e.shard for e in link.exports})
            for again in links.further(recipe, prepared, shards, link.parent, 0):
                made |= {(again.key, e.shard, e.split): e.digest for e in (*again.train, *again.holdout)}
    exports = tuple(
        Rebuilt(
            link=link.key, shard=e.shard, split=e.split, recorded=e.digest, made=made.get((link.key, e.shard, e.split))
        )
        for link in explained.links
        for e in link.exports
    )
    keys = {link.key: any(key == link.key for key, _, _ in made) for link in explained.links}
    errors = sum(not e.same for e in exports) + sum(not same for same in keys.values())
    return Reproduced(model=model, exports=exports, links=keys, errors=errors)
