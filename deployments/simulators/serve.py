"""Serve: every simulator on this machine, with the environment that leads the real SDKs to it."""

from __future__ import annotations

import json
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from flask import Flask, request
from werkzeug.serving import WSGIRequestHandler, make_server

from deployments.simulators.guard import guarded
from deployments.simulators.openai import azure, routes
from deployments.simulators.state import State
from deployments.simulators.vertex import routes as vertex
from deployments.simulators.vertex import storage

KEY = "sk-simulated"


class Quiet(WSGIRequestHandler):
    """Keeps connections open and writes no log: the state has the record of requests."""

    protocol_version = "HTTP/1.1"

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:  # a connection that a fault has closed
            self.close_connection = True

    def log(self, *_: Any) -> None:
        return


@dataclass(frozen=True)
class Simulators:
    """Addresses of what runs, its state, and what a person would set to be led there."""

    address: str
    store: str
    state: State
    bucket: str
    environment: dict[str, str]

    @property
    def openai(self) -> str:
        return f"{self.address}/openai/v1"

    @property
    def objects(self) -> list[str]:
        """Every gs://… object that was uploaded, and not written by the simulator itself."""
        return [name for name in storage.names(self.store) if "/simulated-metrics/" not in name]

    @property
    def azure(self) -> str:
        return f"{self.address}/azure/openai/v1"


def application(state: State, store: str) -> Flask:
    """All services, and the control of their faults and their clock."""
    app = Flask("simulators")
    app.config["PROPAGATE_EXCEPTIONS"] = True  # so that a closed connection is not answered
    app.register_blueprint(routes.blueprint(state, "openai", "/openai/v1", KEY))
    app.register_blueprint(routes.blueprint(state, "azure", "/azure/openai/v1", KEY))
    app.register_blueprint(azure.blueprint(state, KEY))
    app.register_blueprint(vertex.blueprint(state, store))

    @app.post("/simulator/faults")
    def _switch() -> Any:
        state.faults.append(request.get_json())
        return {"faults": state.faults}

    @app.delete("/simulator/faults")
    def _clear() -> Any:
        state.faults.clear()
        return {"faults": []}

    @app.post("/simulator/clock")
    def _advance() -> Any:
        state.clock.advance(request.get_json()["advance"])
        return {"now": state.clock.now()}

    @app.get("/simulator/state")
    def _shown() -> Any:
        return seen(state)

    return app


def seen(state: State) -> dict[str, Any]:
    """What a person at the provider would see: jobs made, files kept and which jobs use them, requests."""
    with state.lock:
        used = [(j["id"], {j["training_file"], j["validation_file"]}) for j in state.jobs.values()]
        files = [
            {"id": f["id"], "filename": f["filename"], "used_by": [job for job, names in used if f["id"] in names]}
            for f in state.files.values()
            if f["purpose"] == "fine-tune"
        ]
        jobs = [{"id": j["id"], "metadata": j["metadata"], "model": j["model"]} for j in state.jobs.values()]
        for job in state.tuning.values():
            jobs.append({"id": job["name"], "metadata": job["_asked"].get("labels"), "model": job["_base"]})
        return {"creates": dict(state.creates), "jobs": jobs, "files": files, "requests": list(state.requests)}


@contextmanager
def running(
    speed: float = 60.0, port: int = 0, host: str = "127.0.0.1", store_port: int = 0, public: str | None = None
) -> Iterator[Simulators]:
    """Run the simulators in threads of this process; `speed` simulated seconds pass in a real one.

    `public` is the address by which other machines reach them, where `host` is not this one alone.
    """
    state = State(speed)
    names = ("127.0.0.1", "localhost", *([urlsplit(public).hostname or ""] if public else []))
    with storage.running(host, store_port, names) as store, tempfile.TemporaryDirectory() as folder:
        server = make_server(
            host, port, application(state, store), threaded=True, request_handler=guarded(Quiet, names)
        )
        thread = threading.Thread(target=server.serve_forever, name="simulators", daemon=True)
        thread.start()
        address = public or f"http://127.0.0.1:{server.server_port}"
        try:
            yield Simulators(
                address, store, state, f"gs://{storage.BUCKET}/shardtune", _environment(address, store, folder)
            )
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


def _environment(address: str, store: str, folder: str) -> dict[str, str]:
    """What a person would set to be led to the simulators, with credentials that are good for nothing else."""
    return {
        "OPENAI_BASE_URL": f"{address}/openai/v1",
        "OPENAI_API_KEY": KEY,
        "AZURE_OPENAI_API_KEY": KEY,
        "AZURE_MANAGEMENT_TOKEN": KEY,
        "GOOGLE_VERTEX_BASE_URL": f"{address}/vertex",
        "GOOGLE_CLOUD_PROJECT": "simulated-project",
        "GOOGLE_APPLICATION_CREDENTIALS": _account(address, folder),
        "STORAGE_EMULATOR_HOST": store,
    }


def _account(address: str, folder: str) -> str:
    """A service account with a key made a moment ago, whose tokens come from the simulator."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form = serialization.PrivateFormat.PKCS8
    account = {
        "type": "service_account",
        "project_id": "simulated-project",
        "private_key_id": "simulated",
        "private_key": key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode(),
        "client_email": "simulator@simulated-project.iam.gserviceaccount.com",
        "client_id": "1",
        "token_uri": f"{address}/oauth/token",
    }
    path = Path(folder) / "account.json"
    path.write_text(json.dumps(account))
    path.chmod(0o600)
    return str(path)
