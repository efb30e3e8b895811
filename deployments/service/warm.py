"""Warm: what `make install` does once, so that every command starts fast. `python -m deployments.service.warm`

Python compiles a package at its first import and keeps the result, but not where PYTHONDONTWRITEBYTECODE is set or
an environment may not be written to: there each command would compile Prefect and MLflow again, for seconds. So what
commands import is imported here, and compiled for good. The empty database of the Prefect server is made as well.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
import tempfile
import warnings
from contextlib import suppress

MODULES = (
    *("flows.retrain", "flows.sweep", "flows.ask", "flows.chat", "flows.compare", "flows.reproduce", "flows.rehearse"),
    *(
        "tasks.orchestrator.status",
        "tasks.record.lineage",
        "tasks.record.serve",
        "tasks.core.backup",
        "tasks.catalogue.publish",
    ),
    *(
        "tasks.backends.local.backend",
        "tasks.backends.local.sampler",
        "tasks.backends.local.training.trainer",
        "deployments.service.up",
    ),
    *("deployments.service.background", "deployments.register", "prefect.server.api.server", "prefect.workers.process"),
    *("uvicorn", "mlflow.server.fastapi_app", "mlflow.store.tracking.sqlalchemy_store"),
    # What is imported late, where it is installed.
    *("datasets", "peft", "trl", "transformers.models.llama.modeling_llama", "transformers.models.auto.modeling_auto"),
)


def main() -> None:
    """Import everything once, with a root of its own."""
    sys.dont_write_bytecode = False
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # for the processes that this one starts
    with tempfile.TemporaryDirectory(prefix="shardtune-warm-") as folder:
        os.environ |= {"SHARDTUNE_ROOT": folder, "PREFECT_LOGGING_LEVEL": "ERROR"}
        from deployments.service import blank
        from tasks.core import settings

        settings.enter()
        warnings.simplefilter("ignore")
        logging.disable()
        with suppress(OSError):  # an environment of somebody else
            blank.made()
        for name in MODULES:
            with suppress(ImportError):  # of an extra that is not installed
                importlib.import_module(name)


if __name__ == "__main__":
    main()
