"""OpenAI's fine-tuning service, and Azure's which speaks the same protocol: files, jobs, models and answers.

Wire shapes: the openai SDK's types, its OpenAPI description, and the fine-tuning guide.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from flask import Blueprint, Response, request

from deployments.simulators import tuned
from deployments.simulators.faults import routed
from deployments.simulators.openai import jobs
from deployments.simulators.openai.wording import refuse
from deployments.simulators.state import State

SHUTDOWN = {"gpt-4o-mini-2024-07-18": "2027-01-14", "gpt-4o-2024-08-06": "2027-01-14"}
SHUTDOWN |= {"gpt-4.1-2025-04-14": "2027-01-14", "gpt-4.1-mini-2025-04-14": "2027-01-14"}


def blueprint(state: State, service: str, prefix: str, key: str) -> Blueprint:
    """The service under `prefix`; `service` is openai or azure, `key` the only one it accepts."""
    app = Blueprint(service, __name__, url_prefix=prefix)
    shop = jobs.FineTuningJobs(state, service)

    def route(path: str, name: str, method: str = "GET") -> Any:
        def decorate(view: Any) -> Any:
            def authorised(**arguments: Any) -> Any:
                if request.headers.get("authorization") != f"Bearer {key}":
                    raise refuse(401, "invalid_api_key", "Incorrect API key provided: find yours in your account")
                return view(**arguments)

            made = routed(state, service, name, refuse)(authorised)
            app.add_url_rule(path, f"{name}-{method}".replace(".", "-"), made, methods=[method])
            return view

        return decorate

    @route("/files", "files.create", "POST")
    def _(**_: Any) -> Any:
        sent = request.files["file"]
        data = sent.read()
        made: dict[str, Any] = {
            "id": f"file-{state.number():06d}",
            "object": "file",
            "bytes": len(data),
            "created_at": int(state.clock.now()),
            "filename": sent.filename,
            "purpose": request.form["purpose"],
            "status": "processed",
        }
        state.files[made["id"]] = {**made, "_data": data, "_service": service}
        return made

    @route("/files", "files.list")
    def _(**_: Any) -> Any:
        mine = [f for f in state.files.values() if f["_service"] == service]
        purpose = request.args.get("purpose")
        return _page([_shown(f) for f in mine if purpose in (None, f["purpose"])][::-1])

    @route("/files/<name>", "files.retrieve")
    def _(name: str) -> Any:
        return _shown(_known(state.files, name, "file"))

    @route("/files/<name>", "files.delete", "DELETE")
    def _(name: str) -> Any:
        _known(state.files, name, "file")
        del state.files[name]
        return {"id": name, "object": "file", "deleted": True}

    @route("/files/<name>/content", "files.content")
    def _(name: str) -> Any:
        data = _known(state.files, name, "file")["_data"]
        data = data if service == "azure" or not name.startswith("file-result") else base64.b64encode(data)
        fault = state.fault(f"{service}.files.content", "answer")
        return Response(data[: len(data) * 2 // 3] if fault else data, content_type="application/octet-stream")

    @route("/fine_tuning/jobs", "jobs.create", "POST")
    def _(**_: Any) -> Any:
        return shop.create(request.get_json())

    @route("/fine_tuning/jobs", "jobs.list")
    def _(**_: Any) -> Any:
        wanted = {n[9:-1]: v for n, v in request.args.items() if n.startswith("metadata[")}
        fault = state.fault(f"{service}.jobs.list", "answer") if wanted else None
        if fault and fault["fault"] == "refuse_filter":
            raise refuse(400, "unknown_parameter", "Unknown parameter: metadata")
        # A service that knows no filter gives every job; Azure's list takes none.
        wanted = {} if fault or service == "azure" or shop.bare() else wanted
        mine = [shop.shown(j) for j in state.jobs.values() if j["_service"] == service]
        late = state.fault(f"{service}.jobs.list", "late")
        mine = mine[:-1] if late else mine
        return _page([j for j in mine if wanted.items() <= (j["metadata"] or {}).items()][::-1])

    @route("/fine_tuning/jobs/<name>", "jobs.retrieve")
    def _(name: str) -> Any:
        fault = state.fault(f"{service}.jobs.retrieve", "answer")
        kind = fault["fault"] if fault else None
        if kind == "vanished":
            raise refuse(404, "fine_tune_not_found", f"Could not find fine tune: {name}")
        body = shop.shown(_known(state.jobs, name, "fine tune"))
        if kind == "nulls":
            body |= dict.fromkeys(("hyperparameters", "organization_id", "result_files", "method", "metadata", "seed"))
        if kind == "nameless" and body["status"] == "succeeded":
            body["fine_tuned_model"] = None
        return body | ({"status": fault["word"]} if fault and kind == "unknown_state" else {})

    for verb in ("cancel", "pause", "resume"):

        @route(f"/fine_tuning/jobs/<name>/{verb}", f"jobs.{verb}", "POST")
        def _(name: str, verb: str = verb) -> Any:
            return shop.moved(_known(state.jobs, name, "fine tune"), verb)

    @route("/fine_tuning/jobs/<name>/events", "jobs.events")
    def _(name: str) -> Any:
        events = shop.events(_known(state.jobs, name, "fine tune"))
        if state.fault(f"{service}.jobs.events", "answer"):
            events = [event | {"data": None} for event in events]
        return _page(events[::-1])

    @route("/fine_tuning/jobs/<name>/checkpoints", "jobs.checkpoints")
    def _(name: str) -> Any:
        return _page(shop.checkpoints(_known(state.jobs, name, "fine tune"))[::-1])

    @route("/models/<name>", "models.retrieve")
    def _(name: str) -> Any:
        base = name.split(":")[1] if name.startswith("ft:") else name
        if base not in SHUTDOWN or (name != base and name not in state.models):
            raise refuse(404, "model_not_found", f"The model '{name}' does not exist or you do not have access to it.")
        return {"id": name, "object": "model", "created": 0, "owned_by": "simulator", "shutdown_date": SHUTDOWN[base]}

    @route("/models", "models.list")
    def _(**_: Any) -> Any:
        return _page([{"id": name, "object": "model", "created": 0, "owned_by": "simulator"} for name in SHUTDOWN])

    @route("/chat/completions", "chat", "POST")
    def _(**_: Any) -> Any:
        body = _completion(state, service, request.get_json())
        fault = state.fault(f"{service}.chat", "answer")
        if fault and fault["fault"] == "cut" and request.get_json()["max_tokens"] < fault["tokens"]:
            body["choices"][0] |= {"finish_reason": "length", "message": {"role": "assistant", "content": None}}
        if fault and fault["fault"] == "no_choice":
            body["choices"] = []
        return body

    return app


def _completion(state: State, service: str, asked: dict[str, Any]) -> dict[str, Any]:
    """An answer of a base or of a tuned model; Azure knows tuned ones by their deployment only."""
    name = asked["model"]
    deployed = state.deployments.get(name, {}).get("_model")
    model = state.models.get(deployed or name)
    if service == "azure" and deployed is None:
        raise refuse(404, "DeploymentNotFound", "The API deployment for this resource does not exist.")
    if model is None and (deployed or name) not in SHUTDOWN:
        raise refuse(404, "model_not_found", f"The model '{name}' does not exist or you do not have access to it.")
    question = [m["content"] for m in asked["messages"] if m["role"] == "user"][-1]
    text = tuned.answer(model and model["pairs"], question, asked.get("temperature", 1.0), asked.get("seed") or 0)
    words = len(text.split())
    return {
        "id": f"chatcmpl-{state.number()}",
        "object": "chat.completion",
        "created": int(state.clock.now()),
        "model": deployed or name,
        "system_fingerprint": "fp_simulator",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
        "usage": {"prompt_tokens": 9, "completion_tokens": words, "total_tokens": 9 + words},
    }


def _known(things: dict[str, Any], name: str, what: str) -> dict[str, Any]:
    if name not in things:
        raise refuse(404, "not_found", f"Could not find {what}: {name}")
    return dict(things[name]) if what == "file" else things[name]


def _shown(thing: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in thing.items() if not name.startswith("_")}


def _page(things: list[dict[str, Any]]) -> Response:
    """A part of a list, newest first, as `after` and `limit` ask for it."""
    after, limit = request.args.get("after"), int(request.args.get("limit", 20))
    first = next((n + 1 for n, thing in enumerate(things) if thing["id"] == after), 0)
    part = things[first : first + limit]
    ends = {"first_id": part[0]["id"], "last_id": part[-1]["id"]} if part else {}
    body = {"object": "list", "data": part, **ends, "has_more": first + limit < len(things)}
    return Response(json.dumps(body), content_type="application/json")
