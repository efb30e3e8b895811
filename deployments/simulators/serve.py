"""Serve: every simulator on this machine, with the environment that leads the real SDKs to it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from flask import Flask, request
from werkzeug.serving import WSGIRequestHandler, make_server

from deployments.simulators import openai
from deployments.simulators.state import State

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
    state: State
    bucket: str
    environment: dict[str, str]

    @property
    def openai(self) -> str:
        return f"{self.address}/openai/v1"

    @property
    def azure(self) -> str:
        return f"{self.address}/azure/openai/v1"


def application(state: State) -> Flask:
    """All services, and the control of their faults and their clock."""
    app = Flask("simulators")
    app.config["PROPAGATE_EXCEPTIONS"] = True  # so that a closed connection is not answered
    app.register_blueprint(openai.blueprint(state, "openai", "/openai/v1", KEY))
    app.register_blueprint(openai.blueprint(state, "azure", "/azure/openai/v1", KEY))

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
        return {"creates": dict(state.creates), "jobs": jobs, "files": files, "requests": list(state.requests)}


@contextmanager
def running(speed: float = 60.0, port: int = 0) -> Iterator[Simulators]:
    """Run the simulators in threads of this process; `speed` simulated seconds pass in a real one."""
    state = State(speed)
    server = make_server("127.0.0.1", port, application(state), threaded=True, request_handler=Quiet)
    thread = threading.Thread(target=server.serve_forever, name="simulators", daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    environment = {"OPENAI_BASE_URL": f"{address}/openai/v1", "OPENAI_API_KEY": KEY, "AZURE_OPENAI_API_KEY": KEY}
    try:
        yield Simulators(address, state, "gs://rehearsal/shardtune", environment)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
