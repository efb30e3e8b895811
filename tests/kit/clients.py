"""What a person or a program does with the services of docker-compose.yml, wherever they run."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import boto3
import httpx

PATIENCE = 300  # seconds for one run


class Clients:
    """Clients of Prefect, MLflow, the served models and the object store, with the passwords of .env."""

    values: Mapping[str, str]

    def port(self, number: str) -> int:
        """The port of this machine that leads to a service's `number`."""
        raise NotImplementedError

    def prefect(self, method: str, path: str, auth: Any = "own", prefix: str = "/api", **more: Any) -> httpx.Response:
        """A request to Prefect's API, as the admin unless said otherwise."""
        return self._asked(method, "4200", f"{prefix}{path}", "PREFECT_PASSWORD", auth, more)

    def mlflow(self, method: str, path: str, auth: Any = "own", **more: Any) -> httpx.Response:
        """A request to MLflow, as the admin unless said otherwise."""
        return self._asked(method, "5000", path, "MLFLOW_PASSWORD", auth, more)

    def models(self, method: str, path: str, auth: Any = "own", **more: Any) -> httpx.Response:
        """A request to the served models, as the admin unless said otherwise."""
        return self._asked(method, "8000", path, "SERVE_PASSWORD", auth, more)

    def _asked(self, method: str, port: str, path: str, word: str, auth: Any, more: dict[str, Any]) -> httpx.Response:
        who = ("admin", self.values[word]) if auth == "own" else auth
        return httpx.request(method, f"http://127.0.0.1:{self.port(port)}{path}", auth=who, timeout=60, **more)

    def bucket(self) -> Any:
        """A client of the object store with the keys of .env."""
        return boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{self.port('7070')}",
            region_name="us-east-1",
            aws_access_key_id=self.values["STORE_ACCESS_KEY"],
            aws_secret_access_key=self.values["STORE_SECRET_KEY"],
        )

    def objects(self, bucket: str, prefix: str = "") -> list[str]:
        """Names of what lies in a bucket."""
        pages = self.bucket().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return [item["Key"] for page in pages for item in page.get("Contents", [])]

    def ran(self, deployment: str, parameters: dict[str, Any], seconds: float = PATIENCE) -> dict[str, Any]:
        """A run of the deployment `flow/name`, made as the UI makes it and watched to its end."""
        flow, name = deployment.split("/")
        wanted = self.prefect("GET", f"/deployments/name/{flow}/{name}").raise_for_status().json()
        made = self.prefect("POST", f"/deployments/{wanted['id']}/create_flow_run", json={"parameters": parameters})
        run, until = made.raise_for_status().json(), time.monotonic() + seconds
        while run["state_type"] not in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED"):
            assert time.monotonic() < until, f"{deployment} is {run['state']['name']} after {seconds} s"
            time.sleep(0.5)
            run = self.prefect("GET", f"/flow_runs/{run['id']}").raise_for_status().json()
        return dict(run)

    def told(self, run: dict[str, Any]) -> str:
        """The log that Prefect keeps of a run."""
        asked = {"logs": {"flow_run_id": {"any_": [run["id"]]}}, "sort": "TIMESTAMP_ASC", "limit": 200}
        return "\n".join(line["message"] for line in self.prefect("POST", "/logs/filter", json=asked).json())
