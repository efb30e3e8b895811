"""Vertex: tuning jobs and answers of Gemini models, as the google-genai SDK asks for them, and the token service.

Wire shapes: google-genai's `tunings.py` and what its requests look like. One catch-all route, since every resource is
known by a long name and verbs are a colon behind it.
"""

from __future__ import annotations

import re
from typing import Any

from flask import Blueprint, request

from deployments.simulators import tuned
from deployments.simulators.faults import routed
from deployments.simulators.state import State
from deployments.simulators.vertex.jobs import BASES, TuningJobs, refuse

TOKEN = "simulated-token"
FILTER = re.compile(r'labels\.([a-z0-9_-]+)\s*=\s*"?([^"\s]+)"?')


def blueprint(state: State, store: str) -> Blueprint:
    """The service; its data lies in the storage at `store`."""
    app = Blueprint("vertex", __name__)
    shop = TuningJobs(state, store)

    def allowed() -> None:
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            raise refuse(401, "", "Request had invalid authentication credentials")

    def tune(place: str) -> Any:
        allowed()
        return shop.create(request.get_json(), place.rpartition("/locations/")[2])

    def listed(place: str) -> Any:
        allowed()
        wanted = FILTER.findall(request.args.get("filter", ""))
        fault = state.fault("vertex.list", "answer")
        if fault and wanted:
            raise refuse(400, "", "Invalid filter")
        here = f"/locations/{place.rpartition('/locations/')[2]}/"
        jobs = [shop.shown(job) for name, job in reversed(state.tuning.items()) if here in name]
        if state.fault("vertex.jobs", "mode"):
            jobs = [job | {"labels": None} for job in jobs]
        jobs = jobs[1:] if state.fault("vertex.list", "late") else jobs
        jobs = [j for j in jobs if all((j.get("labels") or {}).get(name) == value for name, value in wanted)]
        first, size = int(request.args.get("pageToken") or 0), int(request.args.get("pageSize") or 100)
        more = {"nextPageToken": str(first + size)} if first + size < len(jobs) else {}
        return {"tuningJobs": jobs[first : first + size], **more}

    def get(name: str) -> Any:
        allowed()
        fault = state.fault("vertex.get", "answer")
        if name not in state.tuning or (fault and fault["fault"] == "vanished"):
            raise refuse(404, "", f"Tuning job {name} not found")
        body = shop.shown(state.tuning[name])
        if fault and fault["fault"] == "nulls":
            body |= dict.fromkeys(("labels", "supervisedTuningSpec", "experiment", "updateTime"))
        if fault and fault["fault"] == "nameless":
            body.pop("tunedModel", None)
        return body | ({"state": fault["word"]} if fault and fault["fault"] == "unknown_state" else {})

    def cancel(name: str) -> Any:
        allowed()
        job = state.tuning.get(name)
        if job is None:
            raise refuse(404, "", f"Tuning job {name} not found")
        if shop.state_of(job) in ("JOB_STATE_SUCCEEDED", "JOB_STATE_FAILED", "JOB_STATE_CANCELLED"):
            raise refuse(400, "", f"Tuning job {name} has already ended")
        job.setdefault("_cancelled", state.clock.now())
        return {}

    def generate(name: str) -> Any:
        allowed()
        base = name.rpartition("publishers/google/models/")[2]
        endpoint = state.endpoints.get(name)
        if endpoint is None and base not in BASES:
            raise refuse(404, "", f"{name} was not found")
        body = request.get_json()
        asked = [c for c in body["contents"] if c.get("role") == "user"][-1]["parts"][0]["text"]
        chosen = body.get("generationConfig", {})
        pairs = endpoint["pairs"] if endpoint else None
        text = tuned.answer(pairs, asked, chosen.get("temperature", 1.0), chosen.get("seed") or 0)
        words = len(text.split())
        fault = state.fault("vertex.generate", "answer")
        if fault and chosen.get("maxOutputTokens", 0) < fault["tokens"]:  # thinking took them all
            return {"candidates": [{"content": {"role": "model"}, "finishReason": "MAX_TOKENS"}]}
        return {
            "candidates": [{"content": {"role": "model", "parts": [{"text": text}]}, "finishReason": "STOP"}],
            "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": words, "totalTokenCount": 9 + words},
            "modelVersion": f"{endpoint['base'] if endpoint else base}-simulated",
        }

    def route(path: str, name: str, view: Any, method: str) -> None:
        made = routed(state, "vertex", name, refuse)(view)
        app.add_url_rule(path, name, made, methods=[method])

    route("/vertex/v1beta1/<path:place>/tuningJobs", "tune", tune, "POST")
    route("/vertex/v1beta1/<path:place>/tuningJobs", "list", listed, "GET")
    route("/vertex/v1beta1/<path:name>", "get", get, "GET")
    route("/vertex/v1beta1/<path:name>:cancel", "cancel", cancel, "POST")
    route("/vertex/v1beta1/<path:name>:generateContent", "generate", generate, "POST")

    @app.post("/oauth/token")
    def _token() -> Any:
        return {"access_token": TOKEN, "expires_in": 3600, "token_type": "Bearer"}

    return app
