"""Make the two pictures of README.md: `make pictures` runs the demo under `shardtune up` and looks at it in Chromium.

They are committed in docs/pictures, with at most 256 colours, so that a clone stays small.
"""

from __future__ import annotations

import io
import re
import shutil
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, TimeoutError, expect, sync_playwright

from tests.browser.conftest import QUIET
from tests.kit.running import PATIENCE, TOP, Service

FOLDER = TOP / "docs" / "pictures"
SIZE = {"width": 1200, "height": 820}
FREE = 14200  # the first port that is tried; `up` takes the next one that is free


def keep(page: Page, name: str) -> None:
    page.wait_for_timeout(3000)  # for what still moves
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    picture.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(
        FOLDER / f"{name}.png", optimize=True
    )


def prefect_run(page: Page, service: Service) -> None:
    """The page of the demo's flow run."""
    runs = service.api("POST", "/flow_runs/filter", {"sort": "START_TIME_DESC", "limit": 50}).json()
    run = next(one for one in runs if one["name"].startswith("finetune demo"))
    front = service.url("prefect").removesuffix("/api")
    page.goto(front)
    page.get_by_placeholder("admin:pass").fill(service.login()["prefect"])
    page.get_by_role("button", name="Login").click()
    page.get_by_role("link", name="Deployments").wait_for()
    page.goto(f"{front}/runs/flow-run/{run['id']}")
    expect(page.get_by_text("Completed", exact=True).first).to_be_visible()
    keep(page, "prefect-run")


def mlflow_run(page: Page, service: Service) -> None:
    """The charts of the link in MLflow, by way of the list of runs of the first experiment."""
    page.goto(f"{service.url('mlflow')}/#/experiments/1/runs")
    page.get_by_role("link", name=re.compile("^demo shard")).first.click()
    page.get_by_role("tab", name="Model metrics").click()
    page.locator(".js-plotly-plot").first.wait_for()
    with suppress(TimeoutError):  # a newer MLflow may not open its assistant by itself
        page.get_by_role("button", name="Close").first.click(timeout=5_000)
    keep(page, "mlflow-run")


def look(service: Service) -> None:
    """Take both pictures of a service on which the demo has run."""
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("no Chromium: `apt-get install chromium`, then run it again")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=QUIET)
        login = {"username": "admin", "password": service.login()["password"]}
        page = browser.new_page(viewport=SIZE, http_credentials=login)
        page.set_default_timeout(PATIENCE * 1000)
        prefect_run(page, service)
        mlflow_run(page, service)
        browser.close()


def main() -> None:
    """Start a service with a root of its own, run the demo on it, take the pictures, end it."""
    with tempfile.TemporaryDirectory() as folder:
        service = Service(Path(folder) / "root", FREE)
        catalogue = str(service.root / "demo" / "catalogue.json")
        service.start()
        try:
            for words in (("sample", "--out", catalogue), ("finetune", "--recipe", "demo", "--catalogue", catalogue)):
                service.run(*words).check_returncode()
            look(service)
        finally:
            service.kill()


if __name__ == "__main__":
    main()
