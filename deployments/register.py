"""Register: work pools and deployments of prefect.yaml on the Prefect server of the settings, where they have changed.

python -m deployments.register           # what `prefect deploy --all` does, and what people switched stays
python -m deployments.register --begin   # then what a start of the service begins with: see tasks.orchestrator.runs
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import yaml

from deployments import steps
from tasks.core import settings
from tasks.orchestrator import switches
from tasks.recipe import form, loader

TOP = Path(__file__).parent.parent
FILE = Path(__file__).parent / "prefect.yaml"
PROCESS = Path(__file__).parent / "pools" / "process.json"
# What deployments and their forms are made from.
SOURCES = (
    "deployments/*.yaml",
    "deployments/*.py",
    "deployments/service/*.py",
    "deployments/pools/*.json",
    "deployments/recipes/*.yaml",
    "flows/*.py",
    "tasks/*.py",
    "tasks/core/*.py",
    "tasks/orchestrator/*.py",
    "tasks/recipe/*.py",
)
SCHEDULED = "scheduled"  # the tag of deployments that people made for recipes of their own
TIMES = ("cron", "interval", "anchor_date", "timezone")


def register() -> list[str] | None:
    """Make or update pools, deployments, schedules and triggers; None where the server has this very state already.

    Returns what people have changed and what therefore stays as it is, in words. The record of what the files set is a
    variable of the server, so it goes where the deployments go. Raises the HTTP error where the server refuses one.
    """
    from prefect.client.orchestration import get_client

    state = digest()
    with get_client(sync_client=True) as client:
        server = Server(client)
        record = server.record()
        if record.get("state") == state:
            return None
        server.look(record)
        for name, wanted in declared()["pools"].items():
            server.pool(name, wanted)
        made = deployments()
        for one in made:
            server.deployment(one)
        server.forms(made)
        server.write(state)
    return [f"{name}: {now}, the files say {files}" for name, (files, now) in server.kept.items()]


class Server:
    """The Prefect server as it is, and changes to it; what a person switched since the files last set it is kept."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.files: dict[str, Any] = {}  # switches as the files set them now
        self.before: dict[str, Any] = {}  # as they did last time
        self.kept: dict[str, tuple[Any, Any]] = {}

    def ask(self, method: str, path: str, **about: Any) -> Any:
        reply = self.client.request(method, path, **about)
        return reply.json() if reply.content else None

    def record(self) -> dict[str, Any]:
        """What was written last time; empty where nothing was. The first version wrote no switches: `since` is when."""
        variables = self.ask("POST", "/variables/filter", json={"variables": {"name": {"any_": [switches.RECORD]}}})
        if not variables:
            return {}
        return variables[0]["value"] if isinstance(variables[0]["value"], dict) else {"since": variables[0]["updated"]}

    def look(self, record: dict[str, Any]) -> None:
        """See what is there, and what of it people have changed since the `record` of the last time."""
        self.there = {one["name"]: one for one in self.all("/deployments/filter")}
        self.pools = {one["name"]: one for one in self.all("/work_pools/filter")}
        automations = self.all("/automations/filter")
        self.automations = {(switches.starts(one), one["name"]): one for one in automations}
        ours = {*declared()["pools"]}
        pools = [one for name, one in self.pools.items() if name in ours]
        self.now = switches.now(self.there.values(), automations, pools)
        self.before = record.get("switches", {})
        if "since" in record:
            # That version set every schedule and trigger each time, so those that are older are as it left them. Limits
            # carry no time that tells; they are those of the files still.
            since = datetime.fromisoformat(record["since"])
            times = switches.times(self.there.values(), automations)
            self.before = {name: self.now[name] for name, at in times.items() if datetime.fromisoformat(at) <= since}
        self.changed = switches.changed(self.before, self.now)

    def all(self, path: str) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = []
        while page := self.ask("POST", path, json={"limit": 200, "offset": len(listed)}):
            listed += page
        return listed

    def mine(self, switch: str, value: Any, exists: bool) -> bool:
        """Whether this switch is set to what the files say; one that a person changed or removed is left alone."""
        self.files[switch] = value
        if switch in self.changed and (exists or switch in self.before):
            if self.now.get(switch) != value:
                self.kept[switch] = (value, self.now.get(switch))
            return False
        return True

    def pool(self, name: str, wanted: dict[str, Any]) -> None:
        body = {"base_job_template": template(), "description": wanted["description"]}
        limit = wanted.get("concurrency_limit")
        if self.mine(switches.pool(name), limit, name in self.pools):
            body["concurrency_limit"] = limit
        if name in self.pools:
            self.ask("PATCH", f"/work_pools/{name}", json=body)
        else:
            self.ask("POST", "/work_pools/", json={"name": name, "type": wanted["type"]} | body)

    def deployment(self, one: dict[str, Any]) -> None:
        there = self.there.get(one["name"])
        limit = one.pop("concurrency_limit", None) or {}
        schedules, triggers = one.pop("schedules", []), one.pop("triggers", [])
        if self.mine(switches.limit(one["name"]), limit.get("limit"), there is not None):
            one["concurrency_limit"] = limit.get("limit")
            one["concurrency_options"] = {"collision_strategy": limit["collision_strategy"]} if limit else None
        flow = one.pop("flow")
        if there is None:
            one["flow_id"] = self.ask("POST", "/flows/", json={"name": flow})["id"]
            there = self.ask("POST", "/deployments/", json=one) | {"schedules": []}
        else:
            self.ask("PATCH", f"/deployments/{there['id']}", json={n: v for n, v in one.items() if n != "name"})
        self.schedules(there, schedules)
        for spec in triggers:
            self.trigger(there["id"], spec)

    def forms(self, made: list[dict[str, Any]]) -> None:
        """Deployments that people made for recipes of their own (`shardtune schedule`) get the form of this version."""
        ours = {one["name"] for one in made}
        entries = {one["entrypoint"] for one in made}
        for name, one in self.there.items():
            if name not in ours and SCHEDULED in one["tags"] and one["entrypoint"] in entries:
                body = {"parameter_openapi_schema": schema(one["entrypoint"], one["parameters"])}
                self.ask("PATCH", f"/deployments/{one['id']}", json=body)

    def schedules(self, there: dict[str, Any], wanted: list[dict[str, Any]]) -> None:
        at = f"/deployments/{there['id']}/schedules"
        known = {switches.schedule(there["name"], one): one for one in there["schedules"]}
        for one in wanted:
            switch = switches.schedule(there["name"], one)
            if not self.mine(switch, switches.timing(one), switch in known):
                continue
            times = {name: one[name] for name in TIMES if name in one}
            body = {"schedule": times, "active": one["active"], "slug": one["slug"]}
            if switch not in known:
                self.ask("POST", at, json=[body])
            elif self.now[switch] != self.files[switch]:
                self.ask("PATCH", f"{at}/{known[switch]['id']}", json=body)
        for switch, one in known.items():  # an earlier file had it, and nobody has touched it since
            if switch in self.before and switch not in self.files and switch not in self.changed:
                self.ask("DELETE", f"{at}/{one['id']}")

    def trigger(self, deployment: str, spec: dict[str, Any]) -> None:
        from prefect.events import DeploymentEventTrigger

        switch, there = switches.trigger(spec["name"]), self.automations.get((deployment, spec["name"]))
        mine = self.mine(switch, switches.state(spec["enabled"]), there is not None)
        if there is None and not mine:
            return
        made = DeploymentEventTrigger.model_validate({n: v for n, v in spec.items() if n != "type"})
        made.set_deployment_id(UUID(deployment))
        body = made.as_automation().model_dump(mode="json")
        if there is None:
            self.ask("POST", "/automations/", json=body)
        else:
            body["enabled"] = body["enabled"] if mine else there["enabled"]
            del body["owner_resource"]
            self.ask("PUT", f"/automations/{there['id']}", json=body)

    def write(self, state: str) -> None:
        """Keep what the files set now."""
        value = {"state": state, "switches": self.files}
        variables = self.ask("POST", "/variables/filter", json={"variables": {"name": {"any_": [switches.RECORD]}}})
        if variables:
            self.ask("PATCH", f"/variables/{variables[0]['id']}", json={"value": value})
        else:
            self.ask("POST", "/variables/", json={"name": switches.RECORD, "value": value})


def deployments() -> list[dict[str, Any]]:
    """Every deployment of the file as the server wants it: build steps run, their values put in, the form made."""
    from prefect.utilities.importtools import import_object

    listed = []
    written = declared()
    for one in written["deployments"]:
        values: dict[str, Any] = {}
        for step in one.get("build", written["build"]):
            for function, inputs in step.items():
                values |= import_object(function)(**inputs)
        listed.append(made(one, values))
    return listed


def made(one: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """One deployment, as prefect.yaml writes it, as the server wants it: `values` put in, and the form made."""
    from prefect.utilities.importtools import import_object
    from prefect.utilities.templating import apply_values

    given = dict(apply_values({name: value for name, value in one.items() if name != "build"}, values))
    parameters = given.get("parameters", {})
    shown = schema(given["entrypoint"], parameters)
    given |= {"flow": import_object(given["entrypoint"]).name, "parameters": form.given(parameters, shown)}
    given |= {"parameter_openapi_schema": shown, "enforce_parameter_schema": True}
    given["work_pool_name"] = given.pop("work_pool")["name"]
    return given | {"pull_steps": declared()["pull"], "job_variables": {}}


def schema(entrypoint: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """The schema of a flow's parameters, as its form shows it."""
    from prefect.utilities.callables import parameter_schema
    from prefect.utilities.importtools import import_object

    flow = import_object(entrypoint)
    return form.shown(parameter_schema(flow).model_dump(mode="json"), flow.name, parameters.get("recipe"))


def template() -> dict[str, Any]:
    """What a process of a pool is given, whole: no variable is left to a form or a deployment.

    Flows run in this folder, so that relative paths mean what they mean here.
    """
    made = dict(json.loads(PROCESS.read_text(encoding="utf-8")))
    made["job_configuration"]["working_dir"] = os.getcwd()
    return made


def declared() -> dict[str, Any]:
    """prefect.yaml as it is written."""
    return dict(yaml.safe_load(FILE.read_text(encoding="utf-8")))


def digest() -> str:
    """What tells one state of the deployments from another; the folder is part of it, since flow runs work there."""
    there = [steps.recipe(name)["there"] for name in loader.names()]
    hasher = hashlib.sha256(f"{os.getcwd()}{there}".encode())
    for path in sorted(path for pattern in SOURCES for path in TOP.glob(pattern)):
        hasher.update(path.read_bytes())
    return hasher.hexdigest()[:32]


def listening() -> None:
    """Wait until the Prefect server of the settings answers; `up` starts it at the same moment as this process."""
    from deployments.service.children import answers

    url = f"{os.environ['PREFECT_API_URL']}/health"
    while not answers(url):
        time.sleep(0.2)


def main(begin: bool) -> None:
    """Register at the server of the environment, or the one of this root; with `begin`, as a process of `up`."""
    settings.find()
    if begin:
        from tasks.orchestrator import runs

        if not (Path(os.environ["PREFECT_HOME"]) / "prefect.db").exists():
            deployments()  # a first start registers all: load the flows while the server makes its database
        listening()
    kept = register()
    print("nothing has changed since these deployments were registered" if kept is None else "registered")
    for one in kept or ():
        print(f"kept as a person left it: {one}")
    if begin:
        runs.begin()


if __name__ == "__main__":
    main("--begin" in sys.argv)
