"""Azure's management of deployments: a tuned model answers only under the name of one."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, request

from deployments.simulators.faults import routed
from deployments.simulators.openai.wording import refuse
from deployments.simulators.state import State

IDENTITY = "simulated-identity"
CREATING = 20.0  # simulated seconds
PATH = (
    "/azure/management/subscriptions/<subscription>/resourceGroups/<group>/providers/Microsoft.CognitiveServices"
    "/accounts/<account>/deployments/<name>"
)


def blueprint(state: State, token: str) -> Blueprint:
    """PUT and GET of deployments; `token` is the only one accepted."""
    app = Blueprint("management", __name__)

    def shown(name: str) -> dict[str, Any]:
        if name not in state.deployments:
            raise refuse(404, "DeploymentNotFound", f"The deployment {name} does not exist")
        made = state.deployments[name]
        ready = state.clock.now() - made["_began"] > CREATING
        made["_model"] = made["model"] if ready else None
        properties = {"provisioningState": "Succeeded" if ready else "Creating", "model": {"name": made["model"]}}
        return {"name": name, "properties": properties}

    def put(name: str, **_: str) -> Any:
        allowed()
        model = request.get_json()["properties"]["model"]["name"]
        if model not in state.models:
            raise refuse(400, "InvalidModel", f"The model {model} does not exist")
        state.deployments.setdefault(name, {"model": model, "_began": state.clock.now()})
        return shown(name), 201

    def get(name: str, **_: str) -> Any:
        allowed()
        return shown(name)

    def allowed() -> None:
        if request.headers.get("authorization") not in (f"Bearer {token}", f"Bearer {IDENTITY}"):
            raise refuse(401, "InvalidAuthenticationToken", "The access token is invalid")

    @app.get("/azure/identity")
    def _identity() -> Any:
        """A managed identity's token, as App Service gives it."""
        if request.headers.get("x-identity-header") != IDENTITY:
            raise refuse(401, "Unauthorized", "The identity header is wrong")
        return {"access_token": IDENTITY, "expires_on": "4102444800", "resource": "", "token_type": "Bearer"}

    app.add_url_rule(PATH, "put", routed(state, "azure", "deploy", refuse)(put), methods=["PUT"])
    app.add_url_rule(PATH, "get", routed(state, "azure", "deployment", refuse)(get), methods=["GET"])
    return app
