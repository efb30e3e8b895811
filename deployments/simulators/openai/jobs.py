"""Jobs of OpenAI's kind: checked as the provider checks them, moved by the clock, and ended with a model."""

from __future__ import annotations

from math import ceil
from typing import Any

from deployments.simulators import lines, tuned
from deployments.simulators.openai import tokens
from deployments.simulators.openai.wording import refuse
from deployments.simulators.state import State

BASES = {"gpt-4o-mini-2024-07-18", "gpt-4o-2024-08-06", "gpt-4.1-2025-04-14", "gpt-4.1-mini-2025-04-14"}
VALIDATING, QUEUED, STEP = 10.0, 10.0, 0.05  # simulated seconds


class FineTuningJobs:
    """The jobs of one service."""

    def __init__(self, state: State, service: str) -> None:
        self.state, self.service = state, service

    def create(self, asked: dict[str, Any]) -> dict[str, Any]:
        """A new job; refused as the provider refuses, permission first."""
        fault = self.state.fault(f"{self.service}.jobs.create", "mode")
        kind = fault["fault"] if fault else None
        if kind == "winddown":
            raise _wound_down()
        self._check(asked)
        if kind == "winddown_late":
            raise _wound_down()
        chosen = asked.get("method", {}).get("supervised", {}).get("hyperparameters", {})
        chosen = {name: chosen.get(name, "auto") for name in ("n_epochs", "batch_size", "learning_rate_multiplier")}
        number = self.state.number()
        job = {
            "object": "fine_tuning.job",
            "id": f"ftjob-{number:06d}",
            "model": asked["model"],
            "created_at": int(self.state.clock.now()),
            "training_file": asked["training_file"],
            "validation_file": asked.get("validation_file"),
            "seed": asked.get("seed", 0),
            "metadata": asked.get("metadata"),
            "user_provided_suffix": asked.get("suffix"),
            "_service": self.service,
            "_began": self.state.clock.now(),
            "_chosen": chosen,
            "_ended": {"unsafe": "unsafe", "never_ends": "never", "silent": "silent"}.get(str(kind)),
            "_data": self.state.files[asked["training_file"]]["_data"],
        }
        job |= self._plan(job)
        self.state.jobs[str(job["id"])] = job
        self.state.creates[self.service] += 1
        return self.shown(job)

    def _check(self, asked: dict[str, Any]) -> None:
        base = asked["model"].split(":")[1] if asked["model"].startswith("ft:") else asked["model"]
        if base not in BASES or (asked["model"] != base and asked["model"] not in self.state.models):
            raise refuse(400, "model_not_available", f"Model {asked['model']} is not available for fine-tuning", None)
        for name in ("training_file", "validation_file"):
            if asked.get(name) and asked[name] not in self.state.files:
                raise refuse(400, "invalid_request", f"file {asked[name]} does not exist", None, name)
        chosen = asked.get("method", {}).get("supervised", {}).get("hyperparameters", {})
        bounds = {"n_epochs": (1, 50), "batch_size": (1, 256), "learning_rate_multiplier": (1e-9, 1e9)}
        for name, (low, high) in bounds.items():
            value = chosen.get(name, "auto")
            if value != "auto" and not low <= value <= high:
                raise refuse(400, "invalid_hyperparameters", f"{name} {value} is out of range", None, name)
        if len(asked.get("suffix") or "") > 64 or len(asked.get("metadata") or {}) > 16:
            raise refuse(400, "invalid_request", "suffix or metadata too long")

    def _plan(self, job: dict[str, Any]) -> dict[str, Any]:
        """What the job will come to, known when it is made: the clock only uncovers it."""
        examples, error = lines.openai(job["_data"])
        if job["_ended"] in ("unsafe", "silent"):
            message = "The job failed due to an unsafe training file: it was blocked by the moderation system"
            error = ("unsafe_file", message)
        if error:
            return {"_error": error, "_steps": 0}
        many = len(examples)
        resolved = dict(job["_chosen"])
        resolved["n_epochs"] = (
            max(1, min(3, ceil(100 / many))) if resolved["n_epochs"] == "auto" else resolved["n_epochs"]
        )
        resolved["batch_size"] = max(1, many // 500) if resolved["batch_size"] == "auto" else resolved["batch_size"]
        if resolved["learning_rate_multiplier"] == "auto":
            resolved["learning_rate_multiplier"] = 1.8
        steps = ceil(many / resolved["batch_size"]) * resolved["n_epochs"]
        counted = tokens.of_examples(examples) * resolved["n_epochs"]
        pairs = dict(self.state.models.get(job["model"], {}).get("pairs", {})) | tuned.pairs_of(examples)
        curve = tuned.losses(tuned.digest(job["_data"]), steps)
        return {
            "_error": None,
            "_resolved": resolved,
            "_steps": steps,
            "_tokens": counted,
            "_pairs": pairs,
            "_loss": curve,
        }

    def status(self, job: dict[str, Any]) -> str:
        """The state at this moment."""
        if job.get("_moved"):
            return str(job["_moved"])
        past = self.state.clock.now() - job["_began"]
        if past < VALIDATING:
            return "pending" if self.service == "azure" else "validating_files"
        if job["_error"]:
            return "failed"
        if past < VALIDATING + QUEUED:
            return "queued"
        return "succeeded" if self.step(job) >= job["_steps"] and job["_ended"] != "never" else "running"

    def step(self, job: dict[str, Any]) -> int:
        """Steps done by now."""
        past = job.get("_stopped", self.state.clock.now()) - job["_began"] - VALIDATING - QUEUED
        return max(0, min(job["_steps"], int(past / STEP)))

    def shown(self, job: dict[str, Any]) -> dict[str, Any]:
        """The job as it is answered."""
        status, azure = self.status(job), self.service == "azure"
        shown = {name: value for name, value in job.items() if not name.startswith("_")}
        shown |= {"status": status, "error": {}, "finished_at": None, "fine_tuned_model": None, "result_files": []}
        shown |= {
            "organization_id": "org-simulator",
            "trained_tokens": None,
            "integrations": [],
            "simulator": "shardtune",
        }
        shown |= {"estimated_finish": None, "usage_metrics": None, "shared_with_openai": False, "eval_id": None}
        hyperparameters = job["_chosen"]
        if azure and status != "succeeded":
            shown |= {"organization_id": None, "result_files": None}
        if status == "failed" and job["_ended"] != "silent":
            shown["error"] = {"code": job["_error"][0], "message": job["_error"][1], "param": "training_file"}
        if status == "succeeded":
            hyperparameters = job["_resolved"]
            shown |= self._finished(job)
        shown["hyperparameters"] = hyperparameters
        shown["method"] = {"type": "supervised", "supervised": {"hyperparameters": hyperparameters}}
        return self._kept(shown)

    def _kept(self, shown: dict[str, Any]) -> dict[str, Any]:
        """The job without what the service does not keep. Azure was recorded to answer without metadata, with the
        suffix under its own name, and -1 for auto; an endpoint that only speaks the protocol may keep nothing."""
        if self.service == "azure":
            shown["suffix"] = shown.pop("user_provided_suffix")
            auto = {name: -1 if value == "auto" else value for name, value in shown["hyperparameters"].items()}
            shown |= {"hyperparameters": auto, "method": None, "metadata": None}
        if self.bare():
            shown |= {"metadata": None, "seed": None}
            shown.pop("user_provided_suffix", None)
        return shown

    def bare(self) -> bool:
        """Whether the service keeps neither metadata nor suffix of a job."""
        return self.state.fault(f"{self.service}.jobs", "mode") is not None

    def _finished(self, job: dict[str, Any]) -> dict[str, Any]:
        base = job["model"].split(":")[1] if job["model"].startswith("ft:") else job["model"]
        suffix = "" if self.bare() else job["user_provided_suffix"] or ""
        model = f"ft:{base}:simulator:{suffix}:{job['id'][6:]}"
        self.state.models.setdefault(model, {"pairs": job["_pairs"]})
        result = f"file-result-{job['id'][6:]}"
        if result not in self.state.files:
            shown = {
                "id": result,
                "object": "file",
                "created_at": 0,
                "filename": "step_metrics.csv",
                "status": "processed",
            }
            data = self._csv(job)
            shown |= {"purpose": "fine-tune-results", "bytes": len(data)}
            self.state.files[result] = shown | {"_data": data, "_service": self.service}
        ended = int(job["_began"] + VALIDATING + QUEUED + STEP * job["_steps"])
        done = {"fine_tuned_model": model, "result_files": [result], "trained_tokens": job["_tokens"]}
        return done | {"finished_at": ended}

    def _csv(self, job: dict[str, Any]) -> bytes:
        missing = "-1" if self.service == "azure" else ""
        lines = ["step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy"]
        for step, loss in enumerate(job["_loss"], 1):
            heldout = f"{loss + 0.1:.4f}" if job["validation_file"] and step % 10 == 0 else missing
            lines.append(f"{step},{loss},{1 / (1 + loss):.4f},{heldout},{missing}")
        return ("\n".join(lines) + "\n").encode()

    def moved(self, job: dict[str, Any], verb: str) -> dict[str, Any]:
        """Cancel, pause or resume."""
        if self.status(job) in ("succeeded", "failed", "cancelled"):
            raise refuse(400, "invalid_request", f"Job has already ended: {self.status(job)}")
        now = self.state.clock.now()
        if verb == "resume":
            job["_began"] += now - job.pop("_stopped")
            job.pop("_moved")
        else:
            job |= {"_moved": "cancelled" if verb == "cancel" else "paused", "_stopped": now}
        return self.shown(job)

    def events(self, job: dict[str, Any]) -> list[dict[str, Any]]:
        """What happened, oldest first."""
        status, began = self.status(job), job["_began"]
        events: list[tuple[float, str, dict[str, Any] | None]] = [
            (0, f"Created fine-tuning job: {job['id']} (simulator)", {}),
            (0, f"Validating training file: {job['training_file']}", {}),
        ]
        if status not in ("validating_files", "pending", "failed") and not job["_error"]:
            events.append((VALIDATING, "Files validated, moving job to queued state", {}))
            if status != "queued":
                events.append((VALIDATING + QUEUED, "Fine-tuning job started", {}))
        for step in range(1, self.step(job) + 1 if not job["_error"] else 1):
            events.append((VALIDATING + QUEUED + STEP * step, "", self._metrics(job, step)))
        if status == "failed" and job["_error"]:
            events.append((VALIDATING, job["_error"][1], {}))
        if status == "succeeded":
            events.append((VALIDATING + QUEUED + STEP * job["_steps"], "New fine-tuned model created", {}))
            events.append((VALIDATING + QUEUED + STEP * job["_steps"], "The job has successfully completed", {}))
        return [_event(job, number, began + past, text, data) for number, (past, text, data) in enumerate(events)]

    def _metrics(self, job: dict[str, Any], step: int) -> dict[str, Any]:
        loss, total = job["_loss"][step - 1], job["_steps"]
        data = {"step": step, "train_loss": loss, "total_steps": total, "train_mean_token_accuracy": 1 / (1 + loss)}
        if job["validation_file"] and step % 10 == 0:
            data |= {"valid_loss": round(loss + 0.1, 4), "valid_mean_token_accuracy": 1 / (1.1 + loss)}
        if job["validation_file"] and step % (total // job["_resolved"]["n_epochs"]) == 0:
            data |= {"full_valid_loss": round(loss + 0.12, 4), "full_valid_mean_token_accuracy": 1 / (1.12 + loss)}
        return data

    def checkpoints(self, job: dict[str, Any]) -> list[dict[str, Any]]:
        """The last three epochs, oldest first."""
        if self.status(job) != "succeeded":
            return []
        model = self.shown(job)["fine_tuned_model"]
        epochs = job["_resolved"]["n_epochs"]
        made = []
        for epoch in range(max(1, epochs - 2), epochs + 1):
            step = job["_steps"] * epoch // epochs
            made.append(
                {
                    "object": "fine_tuning.job.checkpoint",
                    "id": f"ftckpt_{job['id'][6:]}_{step}",
                    "created_at": int(job["_began"]),
                    "fine_tuned_model_checkpoint": f"{model}:ckpt-step-{step}",
                    "fine_tuning_job_id": job["id"],
                    "step_number": step,
                    "metrics": self._metrics(job, step),
                }
            )
        return made


def _event(job: dict[str, Any], number: int, at: float, text: str, data: dict[str, Any] | None) -> dict[str, Any]:
    metrics = bool(data)
    text = text or f"Step {data['step']}/{data['total_steps']}: training loss={data['train_loss']}" if data else text
    level = "error" if job["_error"] and text == job["_error"][1] else "info"
    kind = {"level": level, "type": "metrics" if metrics else "message", "data": data}
    name = f"ftevent-{job['id'][6:]}-{number:06d}"
    return {"object": "fine_tuning.job.event", "id": name, "created_at": int(at), "message": text, **kind}


def _wound_down() -> Exception:
    message = (
        "OpenAI is winding down the fine-tuning platform and your organization is no longer able to create new "
        "fine-tuning training jobs."
    )
    return refuse(403, "training_not_available", message)
