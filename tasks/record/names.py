"""Names of a run's tags: plain ones for people, and those under `shardtune.` for what the program must find again.

A process may write one of the program's tags while another writes the next, so each is a tag of its own and not a part
of one. Most stand only while they are needed: the run of an ordinary link has its key, its job and its model.
"""

from __future__ import annotations

from collections.abc import Mapping

EXPERIMENT = "shardtune"  # that holds every run of ours

# For people: each is a column of the list of runs.
RECIPE = "recipe"
MODEL = "model"  # the base model that was tuned
SHARDS = "shards"
LINES = "lines"  # of the catalogue, in the shards of the link
COST = "cost"
BACKEND = "backend"
STATE = "state"
DETAIL = "detail"  # the provider's own word for the state, where it has another
REASON = "reason"
NEAR = "near_duplicates"
ENDPOINT = "endpoint"
TUNED = "tuned_model"
SIMULATED = "simulated"
FLOW_RUN = "prefect_flow_run"
JOB_PAGE = "provider_job"

# For the program.
KEY = "shardtune.key"
JOB = "shardtune.job"
KEPT = "shardtune.mlflow_model"
PARENT = "shardtune.parent"
JOINED = "shardtune.chain."  # and a name: the chain of that name has been served this link
FORGOTTEN = "shardtune.forgotten"  # what the link forgot too much of; empty where nothing
ATTEMPTS = "shardtune.attempts"
SPENT = "shardtune.spent"  # US dollars that a failed or cancelled job may have cost
UNTIL = "shardtune.waiting_until"
UNATTENDED = "shardtune.unattended"
OWING = "shardtune.owing"
EVENTS = "shardtune.events"

NOTE = "mlflow.note.content"  # the description that MLflow shows

# What tags for people were called before they had plain names: runs that hold them are read as before.
OLD = {name: f"shardtune.{name}" for name in (RECIPE, LINES, STATE, REASON, NEAR, SIMULATED)}
OLD |= {FLOW_RUN: "shardtune.flow_run", JOB_PAGE: "shardtune.job_page"}


def value(tags: Mapping[str, str], name: str, default: str = "") -> str:
    """The value of a tag, under whichever name the version that wrote the run gave it."""
    return tags.get(name, tags.get(OLD.get(name, name), default))
