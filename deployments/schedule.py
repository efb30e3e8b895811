"""Schedule: a deployment that a person makes for a recipe of their own; no file holds it, the Prefect server does.

It is made as those of prefect.yaml are and carries the tag `scheduled`. `register` neither deletes nor resets it, and
gives it the run form of the version that registers.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from deployments import register, steps
from tasks.catalogue import arrival
from tasks.core import settings
from tasks.core.errors import ShardtuneError
from tasks.orchestrator import api, switches
from tasks.recipe import allowed
from tasks.recipe.model import Recipe

TAG, PREFIX, SLUG = register.SCHEDULED, "scheduled-", "scheduled"
BAD = ["prefect.flow-run.Failed", "prefect.flow-run.Crashed", "prefect.flow-run.TimedOut"]


class Times(NamedTuple):
    """When a retrain starts: at the times of a cron line, or where its catalogue has grown, or both."""

    cron: str | None
    timezone: str = "UTC"
    arrived: bool = False


class Scheduled(NamedTuple):
    """One schedule as it is now."""

    name: str  # of its recipe
    pool: str
    times: Times
    catalogue: str | None
    budget_usd: float | None
    notifies: bool
    on: bool
    url: str


def make(recipe: Recipe, times: Times, pool: str, notify: str | None = None) -> Scheduled:
    """Make the schedule of this recipe, or set it anew. ShardtuneError where the server or `notify` says no."""
    from prefect.utilities.templating import apply_values

    block = _block(notify) if notify else None
    written, values = register.declared()["definitions"], _values(recipe)
    kind = recipe.tune.kind if recipe.tune else "local"
    one = written["retrain"] | {"name": f"{PREFIX}{recipe.name}", "work_pool": {"name": pool}}
    one |= {"tags": ["shardtune", "retrain", kind, TAG]}
    one |= {"parameters": {"recipe": "{{ recipe }}", "wait": kind == "local"}}
    id = _deployed(register.made(one, values))
    if times.cron:
        body = {"schedule": {"cron": times.cron, "timezone": times.timezone}, "active": True, "slug": SLUG}
        api.ask("POST", f"/deployments/{id}/schedules", [body])
    if times.arrived:
        api.ask("POST", "/automations/", _trigger(id, one["name"], dict(apply_values(written["arrived"], values))))
    if block:
        api.ask("POST", "/automations/", _notice(id, one["name"], block))
    return _known(recipe.name)


def valid(times: Times) -> Times:
    """These times; ShardtuneError where the cron line or the time zone is none."""
    from prefect.client.schemas.schedules import CronSchedule
    from pydantic import ValidationError

    try:
        if times.cron:
            CronSchedule(cron=times.cron, timezone=times.timezone)
    except (ValidationError, ValueError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise ShardtuneError(
            f"--cron {times.cron!r} --timezone {times.timezone!r} is no time ({reason}): write minute, hour, day, "
            "month and weekday, as '0 3 * * *', and a zone as Europe/Berlin"
        ) from error
    return times


def listed() -> Iterator[Scheduled]:
    """Every schedule that was made on this server."""
    automations = list(api.every("/automations/filter"))
    page = (api.address() or "").removesuffix("/api")
    for one in api.every("/deployments/filter", {"deployments": {"tags": {"all_": [TAG]}}, "sort": "NAME_ASC"}):
        recipe = one["parameters"]["recipe"]
        own = [automation for automation in automations if _of(automation, one["id"])]
        starts = [automation for automation in own if switches.starts(automation)]
        times = [each for each in one["schedules"] if each["active"]]
        when = (one["schedules"] or [{}])[0].get("schedule", {})
        yield Scheduled(
            name=one["name"].removeprefix(PREFIX),
            pool=one["work_pool_name"] or "",
            times=Times(when.get("cron"), when.get("timezone") or "UTC", bool(starts)),
            catalogue=recipe["catalogue"].get("uri"),
            budget_usd=recipe.get("budget_usd"),
            notifies=len(own) > len(starts),
            on=not one["paused"] and (bool(times) or any(automation["enabled"] for automation in starts)),
            url=f"{page}/deployments/deployment/{one['id']}",
        )


def switch(name: str, on: bool) -> Scheduled:
    """Let the schedule of the recipe called `name` rest, or go on."""
    id = _id(name)
    api.ask("PATCH", f"/deployments/{id}", {"paused": not on})
    for automation in api.every("/automations/filter"):
        if _of(automation, id) and switches.starts(automation):
            api.ask("PATCH", f"/automations/{automation['id']}", {"enabled": on})
    return _known(name)


def remove(name: str) -> None:
    """Delete the schedule of the recipe called `name`, with its trigger and its notification; runs of it stay."""
    id = _id(name)
    _clear(id)
    api.ask("DELETE", f"/deployments/{id}")


def pool(recipe: Recipe) -> str:
    """Where its runs go: `gpu` where the model is trained here and a worker polls that pool, else `cpu`."""
    pools = {one["name"]: one for one in api.every("/work_pools/filter")}
    if "cpu" not in pools:
        raise ShardtuneError(
            f"the server at {api.address()!r} has no pool 'cpu': run `python -m deployments.register`, which makes it"
        )
    local = recipe.tune is not None and recipe.tune.kind == "local"
    return "gpu" if local and pools.get("gpu", {}).get("status") == "READY" else "cpu"


def absolute(uri: str) -> str:
    """A path of this machine means the same wherever a worker runs its flows; a URI and a set of the hub stay."""
    place = arrival.resource(uri).removeprefix(f"{arrival.RESOURCE}:")
    return place if Path(place).is_absolute() else uri


def reads(recipe: Recipe) -> list[str]:
    """What workers of this root must be allowed to read, and are not: the place of the catalogue, a model's folder."""
    uri = recipe.catalogue.uri or ""
    if glob.has_magic(uri) and not uri.startswith("http"):
        uri = uri[: re.search(r"[*?\[]", uri).start()].rpartition("/")[0]  # type: ignore[union-attr]
    model = getattr(recipe.tune, "base_model", "") if recipe.tune and recipe.tune.kind == "local" else ""
    wanted = [uri, *([model] if model and Path(model).exists() else [])]
    return [one for one in wanted if one and not allowed.reached(one, settings.root())]


def _values(recipe: Recipe) -> dict[str, Any]:
    description = recipe.description or f"Recipe {recipe.name}."
    place = arrival.resource(recipe.catalogue.uri or "")
    return steps.checkout() | {"recipe": recipe.model_dump(mode="json"), "description": description, "place": place}


def _deployed(body: dict[str, Any]) -> str:
    """The id of the deployment, made or set anew, without times, trigger and notification."""
    limit, flow = body.pop("concurrency_limit"), body.pop("flow")
    body |= {"concurrency_limit": limit["limit"], "paused": False}
    body["concurrency_options"] = {"collision_strategy": limit["collision_strategy"]}
    there = _found(body["name"])
    if there is None:
        body["flow_id"] = api.ask("POST", "/flows/", {"name": flow})["id"]
        return str(api.ask("POST", "/deployments/", body)["id"])
    api.ask("PATCH", f"/deployments/{there['id']}", {key: value for key, value in body.items() if key != "name"})
    for old in there["schedules"]:
        api.ask("DELETE", f"/deployments/{there['id']}/schedules/{old['id']}")
    _clear(there["id"])
    return str(there["id"])


def _found(name: str) -> dict[str, Any] | None:
    criteria = {"deployments": {"name": {"any_": [name]}, "tags": {"all_": [TAG]}}}
    return next(api.every("/deployments/filter", criteria), None)


def _known(name: str) -> Scheduled:
    return next(one for one in listed() if one.name == name)


def _id(name: str) -> str:
    if there := _found(f"{PREFIX}{name}"):
        return str(there["id"])
    known = ", ".join(one.name for one in listed()) or "none"
    raise ShardtuneError(f"no schedule of a recipe called {name!r}: choose one of {known}")


def _of(automation: dict[str, Any], deployment: str) -> bool:
    """Whether it starts this deployment, or tells of its runs."""
    related = (automation["trigger"].get("match_related") or {}) if isinstance(automation["trigger"], dict) else {}
    named = related.get("prefect.resource.id") if isinstance(related, dict) else None
    return switches.starts(automation) == deployment or named == f"prefect.deployment.{deployment}"


def _clear(deployment: str) -> None:
    for automation in list(api.every("/automations/filter")):
        if _of(automation, deployment):
            api.ask("DELETE", f"/automations/{automation['id']}")


def _trigger(deployment: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    from prefect.events import DeploymentEventTrigger

    spec |= {"name": f"{name} when the catalogue grew"}
    made = DeploymentEventTrigger.model_validate({n: v for n, v in spec.items() if n != "type"})
    made.set_deployment_id(UUID(deployment))
    return made.as_automation().model_dump(mode="json")


def _notice(deployment: str, name: str, block: str) -> dict[str, Any]:
    """The automation that tells of a run that failed. Prefect puts in what stands in double braces."""
    page = "{{ flow_run|ui_url }}"
    return {
        "name": f"{name} failed",
        "description": "Made by `shardtune schedule --notify`.",
        "trigger": {
            "type": "event",
            "posture": "Reactive",
            "expect": BAD,
            "match": {"prefect.resource.id": "prefect.flow-run.*"},
            "match_related": {
                "prefect.resource.id": f"prefect.deployment.{deployment}",
                "prefect.resource.role": "deployment",
            },
            "threshold": 1,
        },
        "actions": [
            {
                "type": "send-notification",
                "block_document_id": block,
                "subject": f"{name}: {{{{ flow_run.name }}}} {{{{ flow_run.state.name }}}}",
                "body": f"{{{{ flow_run.state.message }}}}\n{page}",
            }
        ],
    }


def _block(slug: str) -> str:
    """The id of the notification block TYPE/NAME."""
    criteria = {"block_schemas": {"block_capabilities": {"all_": ["notify"]}}, "include_secrets": False}
    blocks = {f"{one['block_type']['slug']}/{one['name']}": one["id"] for one in _blocks(criteria)}
    if slug in blocks:
        return str(blocks[slug])
    there = ", ".join(sorted(blocks)) or "none yet"
    raise ShardtuneError(
        f"no notification block {slug!r} on the server ({there}): make one in Prefect under Blocks (Slack Webhook, "
        "Email, Custom Webhook, …), then name it as TYPE/NAME, such as slack-webhook/shop"
    )


def _blocks(criteria: dict[str, Any]) -> Iterator[dict[str, Any]]:
    return api.every("/block_documents/filter", criteria)
