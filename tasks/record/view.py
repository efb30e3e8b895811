"""View: the list of runs as a person wants it, saved in the experiment where MLflow keeps what its *Views* menu shows.

MLflow's own list has no column that tells one link from another, and a browser alone remembers which were added.
"""

from __future__ import annotations

import base64
import json
import zlib

from tasks.record.names import COST, KEY, MODEL, RECIPE, SHARDS

ID = "shardtune"
TAG = f"mlflow.sharedViewState.{ID}"  # as MLflow 3.17 writes it when a person saves a view
COLUMNS = [f"tags.`{name}`" for name in (RECIPE, MODEL, SHARDS)]
COLUMNS += ["metrics.`loss_heldout`", f"tags.`{COST}`", "attributes.`Source`"]
STATE = {
    "searchFilter": f"tags.`{KEY}` != ''",  # links; comparisons lie in the same experiment
    "orderByKey": "metrics.`loss_heldout`",
    "orderByAsc": True,
    "startTime": "ALL",
    "lifecycleFilter": "Active",
    "datasetsFilter": [],
    "modelVersionFilter": "All Runs",
    "selectedColumns": COLUMNS,
    "columnOrder": [],
    "columnWidths": {},
    "runsHiddenMode": "FIRST_10_RUNS",
    "hideEmptyCharts": True,
    "groupBy": None,
    "groupsExpanded": {},
}


def saved() -> str:
    """The value of TAG: the view's name, and its state as MLflow's page packs it."""
    packed = base64.b64encode(zlib.compress(json.dumps(STATE).encode())).decode()
    view = {"name": "Lowest held-out loss first", "createdAt": 0, "updatedAt": 0, "state": f"deflate;{packed}"}
    return json.dumps(view)


def link(experiment: str) -> str:
    """The address of the view, seen from any page of the MLflow server."""
    return f"#/experiments/{experiment}/runs?viewStateShareKey={ID}"
