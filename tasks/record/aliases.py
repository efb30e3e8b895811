"""Aliases: which version of a recipe's registered model is champion, and which were before.

The alias is set last, under a lock, from a decision that is recorded in the registry first.
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
    """The version of `name` that this run's model is, as NAME/VERSION; made where there is none. One per run."""
    import mlflow

    api = ledger.client()
    with _turn(name):
        for held in api.search_model_versions(f"name = '{name}'"):
            if held.run_id == result.mlflow_run_id:
                return f"{name}/{held.version}"
        run = api.get_run(result.mlflow_run_id)
        told = run.data.tags
        uri = told.get(names.KEPT)
        if not uri:
            raise AnswerError(f"run {result.mlflow_run_id!r} holds no model to register: finish it with finetune")
        tags = {
            "shardtune.key": result.key,
            "shardtune.model": result.model or "",
            "shardtune.parent": told.get(names.PARENT, ""),
        }
        tags |= {"shardtune.model_digest": result.model_digest or "", "shardtune.simulated": result.simulated or ""}
        mlflow.set_tracking_uri(settings.tracking_uri())
        with redirect_stderr(io.StringIO()):  # it prints what the caller is told anyway
            made = mlflow.register_model(uri, name, tags=tags)
        return f"{name}/{made.version}"


def decided(name: str, run_id: str) -> bool:
    """Whether the gate has decided of the model of this run."""
    held = ledger.client().search_model_versions(f"name = '{name}' and run_id = '{run_id}'")
    return any(DECIDED in version.tags for version in held)


def decisions(versions: Iterable[str | None]) -> tuple[str, ...]:
    """What the gate made of these versions, NAME/VERSION each, and why; nothing of those that it never saw."""
    api, found = ledger.client(), []
    for name, _, version in (whole.rpartition("/") for whole in versions if whole):
        told = api.get_model_version(name, version).tags.get(DECIDED)
        if told:
            made = Promotion.model_validate_json(told)
            found.append(f"{made.version} became {made.alias}: {made.reason}")
    return tuple(found)


def champion(name: str) -> str | None:
    """The version that is champion, as NAME/VERSION; None where none is."""
    from mlflow.exceptions import MlflowException

    try:
        return f"{name}/{ledger.client().get_model_version_by_alias(name, CHAMPION).version}"
    except MlflowException:
        return None


def settle(name: str, decided: Promotion, expected: str | None) -> bool:
    """Record what was decided, then set the alias. False, and nothing done, where `expected` is champion no more."""
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
    """Held by one process of all that share this store."""
    folder = settings.local_root() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f"registry-{name}.lock"), ledger.MlflowLedger.turn(f"registry.{name}"):
        yield
