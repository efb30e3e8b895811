"""Pages in a real browser: Debian's Chromium, driven by Playwright, on a `shardtune up` as a person starts it.

Pictures of what was seen lie in `build/pictures`, or in the folder that SHARDTUNE_PICTURES names.
"""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.kit.running import PATIENCE, TOP, Service

QUIET = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()


@pytest.fixture(scope="session")
def chromium() -> str:
    found = shutil.which("chromium")
    if found is None:
        pytest.skip("no Chromium: `apt-get install chromium`")
    return found


@pytest.fixture(scope="module")
def service(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        free = door.getsockname()[1]
    made = Service(tmp_path_factory.mktemp("browser") / "root", free)
    made.start()
    yield made
    made.kill()


@pytest.fixture(scope="module")
def page(chromium: str, service: Service) -> Iterator[Page]:
    """One window for all tests of a module, as a person has it: who has logged in stays so.

    Not longer: while it is open an event loop runs in this thread, and what comes after is a test of Prefect in async.
    """
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=QUIET)
        # MLflow asks by the browser's own box, which Playwright fills in; Prefect has a page, which the tests fill in.
        login = {"username": "admin", "password": service.login()["password"]}
        window = browser.new_page(viewport={"width": 1400, "height": 1000}, http_credentials=login)
        window.set_default_timeout(PATIENCE * 1000)
        expect.set_options(timeout=1.5 * PATIENCE * 1000)
        yield window
        browser.close()


@pytest.fixture
def picture(page: Page) -> Callable[[str], None]:
    """Keep what the window shows under this name."""
    folder = Path(os.environ.get("SHARDTUNE_PICTURES") or TOP / "build" / "pictures")

    def keep(name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        page.wait_for_timeout(1000)  # for what still moves
        page.screenshot(path=folder / f"{name}.png")

    return keep
