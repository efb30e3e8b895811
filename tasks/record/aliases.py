"""Aliases: which version of a registered model is champion, and which versions were champion before.

A decision is recorded in the registry first; the alias is set last, under a lock. So a killed process can be repeated.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stderr
from typing import TYPE_CHECKING

from filelock import FileLock

from tasks.core import settings
from tasks.core.errors import AnswerError
from tasks.core.models import Finetuned, Promotion
from tasks.record import ledger, names

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHAMPION, CHALLENGER = "champion", "challenger"
HISTORY = "shardtune.champions"  # versions that were champion, oldest first
REASON, DECIDED = "shardtune.reason", "shardtune.promotion"


def register(name: str, result: Finetuned) -> str:
    """Register this run's model under `name`, once per run. Returns the version as NAME/VERSION."""
    import mlflow

    api = ledger.client()
    with _turn(name):
        for version in api.search_model_versions(f"name = '{name}'"):
            if version.run_id == result.mlflow_run_id:
                return f"{name}/{version.version}"
        run = api.get_run(result.mlflow_run_id)
        run_tags = run.data.tags
        uri = run_tags.get(names.KEPT)
        if not uri:
            raise AnswerError(
                f"run {result.mlflow_run_id!r} has no model to register: finish it with `shardtune finetune`"
            )
        tags = {
            "shardtune.key": result.key,
            "shardtune.model": result.model or "",
            "shardtune.parent": run_tags.get(names.PARENT, ""),
        }
        tags |= {"shardtune.model_digest": result.model_digest or "", "shardtune.simulated": result.simulated or ""}
        mlflow.set_tracking_uri(settings.tracking_uri())
        with redirect_stderr(io.StringIO()):  # it prints what the caller is told anyway
            made = mlflow.register_model(uri, name, tags=tags)
        return f"{name}/{made.version}"


def decided(name: str, run_id: str) -> bool:
    """Whether the gate has decided about the model of this run."""
    registered = ledger.client().search_model_versions(f"name = '{name}' and run_id = '{run_id}'")
    return any(DECIDED in version.tags for version in registered)


def decisions(versions: Iterable[str | None]) -> tuple[str, ...]:
    """The gate's decisions about these versions (NAME/VERSION), as sentences; none for a version without one."""
    api, sentences = ledger.client(), []
    for name, _, version in (whole.rpartition("/") for whole in versions if whole):
        recorded = api.get_model_version(name, version).tags.get(DECIDED)
        if recorded:
            made = Promotion.model_validate_json(recorded)
            sentences.append(f"{made.version} became {made.alias}: {made.reason}")
    return tuple(sentences)


def champion(name: str) -> str | None:
    """The version that is champion, as NAME/VERSION; None where none is."""
    from mlflow.exceptions import MlflowException

    try:
        return f"{name}/{ledger.client().get_model_version_by_alias(name, CHAMPION).version}"
    except MlflowException:
        return None


def settle(name: str, decided: Promotion, expected: str | None) -> bool:
    """Record the decision, then set the alias. Does nothing and returns False where `expected` is not champion now."""
    api, version = ledger.client(), decided.version.rpartition("/")[2]
    with _turn(name):
        if champion(name) != expected:
            return False
        for tag, value in ((DECIDED, decided.model_dump_json()), (REASON, decided.reason)):
            api.set_model_version_tag(name, version, tag, value)
        api.update_model_version(name, version, f"{decided.alias}: {decided.reason}")
        if decided.alias == CHALLENGER:
            api.set_registered_model_alias(name, CHALLENGER, version)
            return True
        if expected and expected != decided.version:
            _remember(api, name, [*_history(api, name), expected.rpartition("/")[2]])
        if str(api.get_registered_model(name).aliases.get(CHALLENGER)) == version:
            api.delete_registered_model_alias(name, CHALLENGER)
        api.set_registered_model_alias(name, CHAMPION, version)
    return True


def rollback(name: str) -> str:
    """Make the champion before the present one champion again; returns it as NAME/VERSION."""
    api = ledger.client()
    with _turn(name):
        now = champion(name)
        if now is None:
            raise AnswerError(f"model {name!r} has no champion: `shardtune finetune --promote` makes one")
        present = now.rpartition("/")[2]
        before = [version for version in _history(api, name) if version != present]
        if not before:
            raise AnswerError(f"model {name!r} has had no champion before {now}: there is nothing to go back to")
        api.set_model_version_tag(name, present, REASON, f"rolled back to {name}/{before[-1]}")
        # The alias first: killed before the history is written, the next call finds the present champion in it.
        api.set_registered_model_alias(name, CHAMPION, before[-1])
        _remember(api, name, before[:-1])
    return f"{name}/{before[-1]}"


def _history(api: MlflowClient, name: str) -> list[str]:
    return [str(v) for v in json.loads(api.get_registered_model(name).tags.get(HISTORY, "[]"))]


def _remember(api: MlflowClient, name: str, versions: list[str]) -> None:
    last = dict.fromkeys(reversed(versions))  # a version that was champion twice was so last when it was last
    api.set_registered_model_tag(name, HISTORY, json.dumps(list(last)[::-1]))


@contextmanager
def _turn(name: str) -> Iterator[None]:
    """Lock the registered model `name` among all processes that share this store."""
    folder = settings.local_root() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f"registry-{name}.lock"), ledger.MlflowLedger.turn(f"registry.{name}"):
        yield
