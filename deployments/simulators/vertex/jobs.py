"""Tuning jobs of Vertex's kind: checked as the provider checks them, moved by the clock, and ended with an endpoint."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from math import ceil
from typing import Any

from deployments.simulators import lines, tuned
from deployments.simulators.faults import Refused
from deployments.simulators.state import State
from deployments.simulators.vertex import storage

BASES = {"gemini-3.5-flash", "gemini-3.5-flash-lite", "gemini-3.1-flash-lite"}
PENDING, STEP, CANCELLING, BATCH = 10.0, 0.05, 5.0, 16  # simulated seconds; examples in a step
SERVED = "projects/123/locations/us"  # tuned Gemini 3 models answer in a multi-region only
PLACE = "projects/123/locations/us-central1"  # the service says a project's number, not its id


def refuse(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> Refused:
    """An error as Google words it."""
    word = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND"}
    word |= {429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE"}
    error = {"code": status, "message": f"{message} (simulator)", "status": word.get(status, code), "details": []}
    return Refused(status, {"error": error}, headers)


class TuningJobs:
    """The tuning jobs of the service."""

    def __init__(self, state: State, store: str) -> None:
        self.state, self.store = state, store

    def create(self, asked: dict[str, Any], location: str) -> dict[str, Any]:
        """A new job in this location; refused as the service refuses."""
        fault = self.state.fault("vertex.tune", "mode")
        spec = _pick(asked, "supervisedTuningSpec") or {}
        chosen = _pick(spec, "hyperParameters") or {}
        parent = _pick(asked, "preTunedModel")
        base = asked.get("baseModel") or self._base(parent)
        if base not in BASES:
            raise refuse(400, "", f"Base model {base} is not supported for tuning")
        for name in ("batchSize", "learningRate"):
            if _pick(chosen, name) is not None:
                raise refuse(400, "", f"{name} is not supported for Gemini models")
        uris = [_pick(spec, f"{name}DatasetUri") for name in ("training", "validation")]
        if not str(uris[0]).startswith("gs://"):
            raise refuse(400, "", f"Dataset {uris[0]} must be in Cloud Storage")
        name = f"projects/123/locations/{location}/tuningJobs/{self.state.number()}"
        job = {
            "name": name,
            "_base": base,
            "_parent": parent,
            "_asked": {k: asked[k] for k in ("labels", "tunedModelDisplayName", "description") if k in asked},
            "_uris": uris,
            "_hyper": {**chosen, "epochCount": str(_pick(chosen, "epochCount") or 3)},
            "_began": self.state.clock.now(),
            "_kind": fault["fault"] if fault else None,
        }
        job |= self._plan(job)
        self.state.tuning[name] = job
        self.state.creates["vertex"] += 1
        return self.shown(job)

    def _base(self, parent: dict[str, Any] | None) -> str | None:
        model = _pick(parent or {}, "tunedModelName")
        known = [j for j in self.state.tuning.values() if j.get("_model") == model]
        if parent and not known:
            raise refuse(404, "", f"Model {model} does not exist")
        checkpoint = _pick(parent or {}, "checkpointId")
        if known and checkpoint and int(checkpoint) > int(known[0]["_hyper"]["epochCount"]):
            raise refuse(400, "", f"Checkpoint {checkpoint} of {model} does not exist")
        return known[0]["_base"] if known else None

    def _plan(self, job: dict[str, Any]) -> dict[str, Any]:
        """What the job will come to; the clock only uncovers it."""
        data = storage.read(self.store, job["_uris"][0])
        examples, error = lines.gemini(data)
        epochs = int(job["_hyper"]["epochCount"])
        steps = ceil(len(examples) / BATCH) * epochs
        parent = _pick(job["_parent"] or {}, "tunedModelName")
        number = job["name"].rpartition("/")[2]
        model = f"{PLACE}/models/{number}@1"
        pairs: dict[str, str] = {}
        for known in self.state.tuning.values():
            if parent and known["_model"] == parent:
                stem, _, version = parent.partition("@")
                model, pairs = f"{stem}@{int(version) + 1}", dict(known["_pairs"])
        pairs |= dict(examples)
        characters = sum(len(q) + len(a) for q, a in examples)
        plan = {"_steps": steps, "_error": error, "_model": model, "_pairs": pairs, "_characters": characters}
        plan |= {"_examples": len(examples), "_endpoint": f"{SERVED}/endpoints/{number}"}
        return plan | {"_loss": tuned.losses(tuned.digest(data or b""), steps)}

    def state_of(self, job: dict[str, Any]) -> str:
        """The state at this moment."""
        now = self.state.clock.now()
        if "_cancelled" in job:
            return "JOB_STATE_CANCELLED" if now - job["_cancelled"] > CANCELLING else "JOB_STATE_CANCELLING"
        if now - job["_began"] < PENDING:
            return "JOB_STATE_PENDING"
        if job["_error"]:
            return "JOB_STATE_FAILED"
        done = self.step(job) >= job["_steps"] and job["_kind"] != "never_ends"
        kinds = {"partially_succeeded": "JOB_STATE_PARTIALLY_SUCCEEDED", "expired": "JOB_STATE_EXPIRED"}
        ended = kinds.get(str(job["_kind"]), "JOB_STATE_SUCCEEDED")
        return "JOB_STATE_PAUSED" if job["_kind"] == "paused" else ended if done else "JOB_STATE_RUNNING"

    def step(self, job: dict[str, Any]) -> int:
        """Steps done by now."""
        past = job.get("_cancelled", self.state.clock.now()) - job["_began"] - PENDING
        return max(0, min(job["_steps"], int(past / STEP)))

    def shown(self, job: dict[str, Any]) -> dict[str, Any]:
        """The job as it is answered; 64-bit numbers are strings."""
        state, step = self.state_of(job), self.step(job)
        spec = {"trainingDatasetUri": job["_uris"][0], "hyperParameters": job["_hyper"]}
        spec |= {"validationDatasetUri": job["_uris"][1]} if job["_uris"][1] else {}
        shown = {"name": job["name"], "state": state, **job["_asked"], "supervisedTuningSpec": spec}
        shown |= {"createTime": _time(job["_began"]), "updateTime": _time(self.state.clock.now())}
        shown |= {"experiment": f"{PLACE}/metadataStores/default/contexts/tuning-experiment-simulated"}
        shown |= {"preTunedModel": job["_parent"]} if job["_parent"] else {"baseModel": job["_base"]}
        if state == "JOB_STATE_RUNNING":
            epochs = int(job["_hyper"]["epochCount"])
            shown["tuningJobState"] = "TUNING_JOB_STATE_TUNING"
            done = {"completedEpochCount": str(step * epochs // max(1, job["_steps"])), "completedStepCount": str(step)}
            shown["tuningJobMetadata"] = done
        if state == "JOB_STATE_FAILED":
            shown["error"] = {"code": 3, "message": job["_error"], "details": []}
        if state in ("JOB_STATE_SUCCEEDED", "JOB_STATE_PARTIALLY_SUCCEEDED"):
            shown |= self._finished(job)
        return shown

    def _finished(self, job: dict[str, Any]) -> dict[str, Any]:
        epochs, steps = int(job["_hyper"]["epochCount"]), job["_steps"]
        checkpoints = [
            {"checkpointId": str(n), "epoch": str(n), "step": str(steps * n // epochs), "endpoint": job["_endpoint"]}
            for n in range(1, epochs + 1)
        ]
        self.state.endpoints[job["_endpoint"]] = {"pairs": job["_pairs"], "base": job["_base"]}
        metrics = f"{job['_uris'][0].rpartition('/')[0]}/simulated-metrics/{job['name'].rpartition('/')[2]}"
        if not job.get("_written"):
            lines = [
                {"step": n, "epoch": n * epochs / steps, "/train_total_loss": loss, "/eval_total_loss": loss + 0.1}
                for n, loss in enumerate(job["_loss"], 1)
            ]
            data = "".join(json.dumps(line) + "\n" for line in lines).encode()
            storage.write(self.store, f"{metrics}/metrics.jsonl", data)
            job["_written"] = True
        counts = {
            "tuningDatasetExampleCount": str(job["_examples"]),
            "totalTuningCharacterCount": str(job["_characters"]),
            # "Number of billable tokens in the tuning dataset": epochs are not in it.
            "totalBillableTokenCount": str(round(job["_characters"] / 4)),
            "tuningStepCount": str(steps),
            "totalTruncatedExampleCount": "0",
        }
        tuned_model = {"model": job["_model"], "endpoint": job["_endpoint"], "checkpoints": checkpoints}
        ended = _time(job["_began"] + PENDING + STEP * steps)
        stats = {"tuningDataStats": {"supervisedTuningDataStats": counts}, "gcsMetricsUri": metrics}
        return {"tunedModel": tuned_model, "startTime": _time(job["_began"]), "endTime": ended, **stats}


def _pick(values: dict[str, Any], name: str) -> Any:
    """A key in camel case, or in snake case as the SDK sends some."""
    snake = "".join(f"_{c.lower()}" if c.isupper() else c for c in name)
    return values.get(name, values.get(snake))


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
