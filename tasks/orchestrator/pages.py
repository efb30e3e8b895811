"""Pages: the name of a flow run in Prefect, which says what happened, and links to MLflow and the provider."""

from __future__ import annotations

import os

from prefect import runtime
from prefect.artifacts import create_link_artifact
from prefect.client.orchestration import get_client

from tasks.backends.contract import Job, Link
from tasks.orchestrator import server
from tasks.record import address, evidence, ledger


def about(link: Link) -> None:
    """Name this flow run after its link: "finetune gpt-4o-mini shard 1 on its parent"."""
    after = " on its parent" if link.parent_key else ""
    _rename(f"{runtime.flow_run.flow_name} {link.title}{after}")


def outcome(text: str) -> None:
    """Append the outcome to the name of this flow run."""
    if runtime.flow_run.id:
        with get_client(sync_client=True) as client:
            name = client.read_flow_run(runtime.flow_run.id).name
        _rename(f"{name.partition(': ')[0]}: {text}")


def _rename(name: str) -> None:
    if runtime.flow_run.id:
        with get_client(sync_client=True) as client:
            client.update_flow_run(runtime.flow_run.id, name=name)


def started(job: Job) -> None:
    """Link the flow run to MLflow and to the provider's page of the job, and the MLflow run to Prefect."""
    run_id = ledger.run_id(job.key)
    recorded(run_id)
    page = job.url if job.url and job.url.startswith("http") else None  # else a folder
    if page:
        create_link_artifact(page, key="provider-job", link_text="the job", description=f"at {job.backend}")
    lasts = os.environ.get("PREFECT_API_URL") and not server.mine()  # else the page is gone with the server
    evidence.lead(run_id, runtime.flow_run.ui_url if lasts else None, page)


def recorded(run_id: str) -> None:
    """A link to the MLflow run, where MLflow is a server."""
    if place := address.page(run_id):
        create_link_artifact(place, key="mlflow-run", link_text="the run in MLflow", description="loss and answers")
