"""Names of the tags under which a run keeps what the ledger must find again."""

from __future__ import annotations

KEY = "shardtune.key"
RECIPE = "shardtune.recipe"
PARENT = "shardtune.parent"
LINES = "shardtune.lines"  # of the catalogue, in the shards of the link
JOINED = "shardtune.chain."  # and a name: the chain of that name has been served this link
FORGOTTEN = "shardtune.forgotten"  # what the link forgot too much of; empty where nothing
JOB = "shardtune.job"
STATE = "shardtune.state"
REASON = "shardtune.reason"
ATTEMPTS = "shardtune.attempts"
UNTIL = "shardtune.waiting_until"
UNATTENDED = "shardtune.unattended"
OWING = "shardtune.owing"
EVENTS = "shardtune.events"
SIMULATED = "shardtune.simulated"
FLOW_RUN = "shardtune.flow_run"
JOB_PAGE = "shardtune.job_page"
