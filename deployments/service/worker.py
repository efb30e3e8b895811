"""Worker: Prefect's process worker as `prefect worker start` runs it.

Run it by `python -m deployments.service.worker --pool cpu …`.

It does not import the installed integrations (Dask, Docker, Kubernetes), which would take longer than its start.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Serve a pool until a signal ends it; the options are those of `prefect worker start`."""
    import runpy

    import prefect.plugins

    prefect.plugins.load_prefect_collections = dict  # type: ignore[assignment]
    sys.argv[1:1] = ["worker", "start"]
    runpy.run_module("prefect", run_name="__main__")


if __name__ == "__main__":
    main()
