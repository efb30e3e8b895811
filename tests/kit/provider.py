"""A second provider server, small and apart from `deployments/simulators`: OpenAI's and Vertex' tuning as they are
documented. What both servers and our code believe alike is less likely to be our belief alone.

Storage is another program's: gcp-storage-emulator. Modes that a test sets: `late`, seconds until a list shows a job;
`bare`, neither metadata nor suffix nor labels are kept; `overlap`, a page begins with the last item of the one before;
`after`, what the next create call answers when it has made its job: `500`, `html` or `cut`.
"""

from __future__ import annotations

import base64
import email
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from gcp_storage_emulator.server import create_server

STEPS = 6
PAGE = b"<!DOCTYPE html><html><body>Please log in to this network.</body></html>"
STAGES = ("validating_files", "queued", "running", "running", "succeeded")
VERTEX = ("PENDING", "RUNNING", "RUNNING", "SUCCEEDED")
TUNING = r"/v1beta1/(projects/[^/]+/locations/[^/]+)/tuningJobs"


def loss(step: int) -> float:
    """The training loss of every job at this step."""
    return round(4.0 / step + 0.25, 4)


class Provider:
    """What the server holds, and what was asked of it."""

    def __init__(self) -> None:
        self.files: dict[str, dict[str, Any]] = {}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.tunings: dict[str, dict[str, Any]] = {}
        self.deleted: list[str] = []
        self.modes: set[str] = set()
        self.late, self.after = 0.0, ""  # seconds; what the next create call answers
        self.lock = threading.RLock()
        self.refuses = False

    def stage(self, job: dict[str, Any], names: tuple[str, ...]) -> str:
        """The state, one further at each look."""
        job["_looks"] += 1
        return names[min(job["_looks"], len(names)) - 1]

    def listed(self, jobs: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
        """Jobs that a list shows, newest first."""
        return [job for job in reversed(jobs.values()) if time.monotonic() - job["_made"] >= self.late]

    # OpenAI

    def post_file(self, body: bytes, kind: str) -> dict[str, Any]:
        parts = email.message_from_bytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + body).get_payload()
        (sent,) = (part for part in parts if part.get_filename())  # type: ignore[union-attr]
        data, name = sent.get_payload(decode=True), f"file-{len(self.files) + len(self.deleted)}x"
        described = {
            "object": "file",
            "id": name,
            "bytes": len(data),
            "created_at": int(time.time()),
            "purpose": "fine-tune",
        }
        self.files[name] = described | {"filename": sent.get_filename(), "status": "processed", "_data": data}
        return self.files[name]

    def post_job(self, asked: dict[str, Any]) -> dict[str, Any]:
        name = f"ftjob-{len(self.jobs):04}"
        for file in (asked["training_file"], asked.get("validation_file")):
            assert file is None or file in self.files
        chosen = asked["method"]["supervised"]["hyperparameters"]
        bare = "bare" in self.modes
        self.jobs[name] = {
            "object": "fine_tuning.job", "id": name, "model": asked["model"], "created_at": int(time.time()),
            "finished_at": None, "fine_tuned_model": None, "organization_id": "org-2", "result_files": [],
            "status": "validating_files", "training_file": asked["training_file"],
            "validation_file": asked.get("validation_file"), "hyperparameters": chosen, "trained_tokens": None,
            "error": {}, "seed": asked.get("seed"), "integrations": [],
            "metadata": None if bare else asked.get("metadata"),
            "user_provided_suffix": None if bare else asked.get("suffix"), "method": asked["method"],
            "_looks": 0, "_made": time.monotonic(),
        }  # fmt: skip
        return self.jobs[name]

    def get_job(self, name: str) -> dict[str, Any]:
        job = self.jobs[name]
        if job["status"] != "cancelled":
            job["status"] = self.stage(job, STAGES)
        if job["status"] == "succeeded" and not job["fine_tuned_model"]:
            rows = "".join(f"{n},{loss(n)},0.5,{'' if n % 3 else 1.5},\n" for n in range(1, STEPS + 1))
            head = "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy\n"
            self.files["file-r"] = {"object": "file", "id": "file-r", "bytes": 9, "created_at": 1, "filename": "r.csv",
                                    "purpose": "fine-tune-results", "status": "processed",
                                    "_data": base64.b64encode((head + rows).encode())}  # fmt: skip
            job |= {"fine_tuned_model": "ft:gpt-4o-mini:org-2::a", "trained_tokens": 1_700, "result_files": ["file-r"]}
        return job

    def events(self, name: str) -> list[dict[str, Any]]:
        reached = {"running": 3, "succeeded": STEPS}.get(self.jobs[name]["status"], 0)
        made = [{"message": "Created fine-tuning job", "type": "message", "data": None}]
        for step in range(1, reached + 1):
            data = {"step": step, "train_loss": loss(step), "total_steps": STEPS}
            data |= {"full_valid_loss": 1.25} if step == STEPS else {}
            made.append({"message": f"Step {step}/{STEPS}", "type": "metrics", "data": data})  # type: ignore[dict-item]
        common = {"object": "fine_tuning.job.event", "level": "info"}
        return [common | {"id": f"ftevent-{n}", "created_at": 1_800_000_000 + n} | e for n, e in enumerate(made)][::-1]

    def page(self, items: list[dict[str, Any]], asked: dict[str, str]) -> dict[str, Any]:
        """A page of two, so that everything has several."""
        ids = [item["id"] for item in items]
        begin = ids.index(asked["after"]) + 1 if asked.get("after") in ids else 0
        data = items[max(0, begin - 1) if "overlap" in self.modes else begin : begin + 2]
        return {"object": "list", "data": data, "has_more": begin + 2 < len(items)}

    # Vertex

    def post_tuning(self, place: str, asked: dict[str, Any]) -> dict[str, Any]:
        name = f"{place}/tuningJobs/{len(self.tunings) + 40}"
        spec = json.loads(json.dumps(asked["supervisedTuningSpec"]))
        if "epochCount" in (chosen := spec.get("hyperParameters", {})):
            chosen["epochCount"] = str(chosen["epochCount"])  # int64 arrive as strings
        kept = {} if "bare" in self.modes else {"labels": asked.get("labels")}
        made = time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime())
        self.tunings[name] = {
            "name": name, "state": "JOB_STATE_PENDING", "createTime": made, "updateTime": made,
            "baseModel": asked.get("baseModel"), "supervisedTuningSpec": spec, **kept,
            "_looks": 0, "_made": time.monotonic(),
        }  # fmt: skip
        return self.tunings[name]

    def get_tuning(self, name: str) -> dict[str, Any]:
        job = self.tunings[name]
        if job["state"] != "JOB_STATE_CANCELLED":
            job["state"] = f"JOB_STATE_{self.stage(job, VERTEX)}"
        if job["state"] == "JOB_STATE_SUCCEEDED":
            place = name.partition("/tuningJobs/")[0]
            job["tunedModel"] = {"model": f"{place}/models/9@1", "endpoint": f"{place}/endpoints/77"}
            stats = {"totalBillableTokenCount": "1250", "tuningStepCount": str(STEPS)}
            job["tuningDataStats"] = {"supervisedTuningDataStats": stats}
        return job

    def list_tunings(self, place: str, asked: dict[str, str]) -> dict[str, Any]:
        items = [job for job in self.listed(self.tunings) if job["name"].startswith(f"{place}/")]
        if label := re.fullmatch(r"labels\.(\w+)=(\w+)", asked.get("filter", "")):
            items = [job for job in items if (job.get("labels") or {}).get(label[1]) == label[2]]
        begin = int(asked.get("pageToken") or 0)
        data = items[max(0, begin - 1) if "overlap" in self.modes else begin : begin + 2]
        return {"tuningJobs": data} | ({"nextPageToken": str(begin + 2)} if begin + 2 < len(items) else {})

    # Both

    def answer(self, method: str, path: str, asked: dict[str, str], body: bytes, kind: str) -> Any:
        """The answer to a request: JSON, bytes, or KeyError for what is not there."""
        call = f"{method} {path}"
        json_body = json.loads(body) if body and "json" in kind else {}
        if call == "POST /token":
            return {"access_token": "t", "expires_in": 3_600, "token_type": "Bearer"}
        if call == "POST /v1/files":
            return self.post_file(body, kind)
        if call == "GET /v1/files":
            return self.page([f for f in self.files.values() if f["purpose"] == asked.get("purpose")], asked)
        if call == "POST /v1/fine_tuning/jobs":
            return self.post_job(json_body)
        if call == "GET /v1/fine_tuning/jobs":
            wanted = {k[9:-1]: v for k, v in asked.items() if k.startswith("metadata[")}
            fits = [j for j in self.listed(self.jobs) if wanted.items() <= (j["metadata"] or {}).items()]
            return self.page(fits, asked)
        if call == "GET /v1/models":
            return {"object": "list", "data": [{"id": "gpt-4o-mini-2024-07-18", "object": "model"}]}
        if match := re.fullmatch(r"(GET|DELETE) /v1/files/([^/]+)(/content)?", call):
            if match[1] == "DELETE":
                self.deleted.append(self.files.pop(match[2])["id"])
                return {"id": match[2], "object": "file", "deleted": True}
            return self.files[match[2]]["_data"] if match[3] else self.files[match[2]]
        if match := re.fullmatch(r"(?:GET|POST) /v1/fine_tuning/jobs/([^/]+)(?:/(\w+))?", call):
            if match[2] == "cancel":
                self.jobs[match[1]]["status"] = "cancelled"
                return self.jobs[match[1]]
            return (
                self.page(self.events(match[1]) if match[2] == "events" else [], asked)
                if match[2]
                else self.get_job(match[1])
            )
        if match := re.fullmatch(rf"(GET|POST) {TUNING}", call):
            return self.post_tuning(match[2], json_body) if match[1] == "POST" else self.list_tunings(match[2], asked)
        if match := re.fullmatch(rf"GET ({TUNING}/\d+)", call):
            return self.get_tuning(match[1].removeprefix("/v1beta1/"))
        raise KeyError(call)

    def created(self) -> int:
        return len(self.jobs) + len(self.tunings)


def handler(provider: Provider) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts, body = urlsplit(self.path), self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
            create = self.command == "POST" and parts.path.endswith(("/fine_tuning/jobs", "/tuningJobs"))
            with provider.lock:
                try:
                    if create and provider.refuses:
                        return self.say(403, {"error": {"code": "no", "message": "no", "status": "PERMISSION_DENIED"}})
                    kind = self.headers.get("Content-Type") or ""
                    answer = provider.answer(self.command, unquote(parts.path), asked, body, kind)
                except KeyError as missing:
                    return self.say(404, {"error": {"code": 404, "message": f"no {missing}", "status": "NOT_FOUND"}})
                after, provider.after = (provider.after, "") if create else ("", provider.after)
            if after == "500":
                return self.say(500, {"error": {"code": 500, "message": "internal", "status": "INTERNAL"}})
            if after == "cut":
                return self.connection.close()
            return self.say(200, PAGE if after == "html" else answer)

        def say(self, status: int, answer: Any) -> None:
            data = answer if isinstance(answer, bytes) else json.dumps(shown(answer)).encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/html" if data is PAGE else "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    for method in ("do_POST", "do_DELETE"):
        setattr(Handler, method, Handler.do_GET)
    return Handler


def shown(given: Any) -> Any:
    """Without what the server keeps for itself."""
    if isinstance(given, dict):
        return {name: shown(value) for name, value in given.items() if not name.startswith("_")}
    return [shown(one) for one in given] if isinstance(given, list) else given


@contextmanager
def serving(patch: pytest.MonkeyPatch, place: Path) -> Iterator[Provider]:
    """The server, and an environment that leads to it."""
    provider = Provider()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(provider))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    store = create_server("127.0.0.1", 0, in_memory=True, default_bucket="other")
    store.start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    pem = rsa.generate_private_key(public_exponent=65_537, key_size=2_048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    account = {"type": "service_account", "client_email": "a@b.example", "token_uri": f"{url}/token", "project_id": "p"}
    (place / "account.json").write_text(json.dumps(account | {"private_key": pem.decode()}))
    for name, value in {
        "OPENAI_API_KEY": "sk-other",
        "OPENAI_BASE_URL": f"{url}/v1",
        "GOOGLE_VERTEX_BASE_URL": url,
        "GOOGLE_CLOUD_PROJECT": "p",
        "GOOGLE_APPLICATION_CREDENTIALS": str(place / "account.json"),
        "STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{store._api._httpd.server_address[1]}",
        "SHARDTUNE_BUCKET": "gs://other/folder",
    }.items():
        patch.setenv(name, value)
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()
        store.stop()
