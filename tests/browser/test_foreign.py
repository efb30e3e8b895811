"""A foreign page in a real browser, and another account with curl, against a running `up`: neither reads nor starts.

The person has logged in to both pages in this browser, so whatever the browser sends by itself is there to be misused.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psutil
import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.browser.conftest import QUIET
from tests.kit.running import PATIENCE, Service

FOREIGN = "shop.example.org"  # resolves to this machine in this browser: a page of a rebound name, and of another site
NAME = "shardtune-other"


class Blank(BaseHTTPRequestHandler):
    """An empty page, whatever is asked for."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>foreign</title><body>")

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture(scope="module")
def foreign() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Blank) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.fixture(scope="module")
def window(chromium: str, service: Service) -> Iterator[Page]:
    """A browser in which the person has logged in to Prefect and MLflow."""
    login = service.login()
    with sync_playwright() as driver:
        rules = f"--host-resolver-rules=MAP {FOREIGN} 127.0.0.1"
        browser = driver.chromium.launch(executable_path=chromium, args=[*QUIET, rules])
        known = {"username": "admin", "password": login["password"]}
        window = browser.new_context(http_credentials=known).new_page()
        window.set_default_timeout(PATIENCE * 1000)
        window.goto(service.url("mlflow"))
        expect(window.get_by_text("Experiments").first).to_be_visible(timeout=PATIENCE * 1000)
        window.goto(service.url("prefect").removesuffix("/api"))
        window.get_by_placeholder("admin:pass").fill(login["prefect"])
        window.get_by_role("button", name="Login").click()
        window.get_by_role("link", name="Deployments").wait_for()
        yield window
        browser.close()


ATTACKS = """async ({urls, sockets}) => {
  const got = {};
  const kept = async (name, what) => {
    try { got[name] = await what(); } catch (error) { got[name] = "refused"; }
  };
  const patience = () => new Promise((_, no) => setTimeout(() => no("late"), 8000));
  for (const [name, url, method, body] of urls) {
    for (const mode of ["cors", "no-cors"]) for (const credentials of ["omit", "include"]) {
      await kept(`${name} ${method} ${mode} ${credentials}`, async () => {
        const headers = mode === "cors" && body ? {"Content-Type": "application/json"} : {};
        const reply = await Promise.race([fetch(url, {method, mode, credentials, body, headers}), patience()]);
        return `${reply.type} ${reply.status} ${(await reply.text()).slice(0, 60)}`;
      });
    }
  }
  for (const url of sockets) {
    await kept(url, () => new Promise((yes) => {
      const socket = new WebSocket(url, ["prefect"]);
      socket.onopen = () => socket.send(JSON.stringify({type: "auth", token: null}));
      socket.onmessage = (event) => yes(`message ${event.data}`);
      socket.onclose = socket.onerror = () => yes("refused");
      setTimeout(() => yes("refused"), 8000);
    }));
  }
  return got;
}"""


def targets(service: Service, host: str) -> dict[str, object]:
    """What a page would ask of both servers, by this name of theirs."""
    prefect, mlflow = (service.url(name).replace("127.0.0.1", host) for name in ("prefect", "mlflow"))
    deployment = service.deployment("prepare/prepare")["id"]
    run = json.dumps({"state": {"type": "SCHEDULED"}})
    return {
        "urls": [
            ("flows", f"{prefect}/flows/filter", "POST", "{}"),
            ("secrets", f"{prefect}/block_documents/filter", "POST", json.dumps({"include_secrets": True})),
            ("start", f"{prefect}/deployments/{deployment}/create_flow_run", "POST", run),
            ("version", f"{prefect}/admin/version", "GET", None),
            ("experiments", f"{mlflow}/api/2.0/mlflow/experiments/search?max_results=9", "GET", None),
            ("tables", f"{mlflow}/ajax-api/2.0/mlflow/experiments/create", "POST", json.dumps({"name": "foreign"})),
        ],
        "sockets": [f"{prefect.replace('http', 'ws')}/events/{way}" for way in ("in", "out")],
    }


def state(service: Service) -> tuple[int, int]:
    """Flow runs of `prepare`, and experiments named `foreign`."""
    runs = service.api("POST", "/flow_runs/count", {"deployments": {"name": {"any_": ["prepare"]}}}).json()
    return runs, (service.root / "mlflow.db").read_bytes().count(b"foreign")


@pytest.mark.parametrize("page_host", [FOREIGN, "127.0.0.1", "localhost"])
@pytest.mark.parametrize("asked_as", ["127.0.0.1", FOREIGN])
def test_a_foreign_page_reads_and_starts_nothing(window, service, foreign, page_host, asked_as):
    before = state(service)
    window.goto(f"http://{page_host}:{foreign}/")
    got = window.evaluate(ATTACKS, targets(service, asked_as))
    assert len(got) == 26
    told = {name: found for name, found in got.items() if found != "refused" and not found.startswith("opaque 0")}
    assert told == {}, "answers that a page could read"
    assert state(service) == before


def test_a_form_of_a_foreign_page_starts_nothing(window, service, foreign):
    before = state(service)
    for name, path in (("prefect", "/flows/filter"), ("mlflow", "/ajax-api/2.0/mlflow/experiments/create")):
        window.goto(f"http://{FOREIGN}:{foreign}/")
        window.set_content(
            f'<form method=post enctype=text/plain action="{service.url(name)}{path}">'
            """<input name='{"name": "foreign", "x": "' value='"}'></form>"""
        )
        with window.expect_navigation() as navigation:
            window.evaluate("document.forms[0].submit()")
        assert navigation.value.status == 403
    assert state(service) == before


def test_a_rebound_name_is_refused_even_for_its_own_page(window, service):
    for name in ("prefect", "mlflow"):
        reply = window.goto(service.url(name).removesuffix("/api").replace("127.0.0.1", FOREIGN))
        assert reply.status == 403 and "Host" in reply.text()


def test_the_persons_own_pages_still_work_by_both_names_and_by_a_link(window, service, foreign):
    for host in ("127.0.0.1", "localhost"):
        assert window.goto(service.url("prefect").removesuffix("/api").replace("127.0.0.1", host)).status == 200
    window.goto(f"http://{FOREIGN}:{foreign}/")
    window.set_content(f'<a href="{service.url("prefect").removesuffix("/api")}/deployments">there</a>')
    window.get_by_text("there").click()
    expect(window.get_by_text(re.compile("Deployments")).first).to_be_visible()


@pytest.fixture(scope="module")
def other() -> Iterator[str]:
    """Another account of this machine."""
    if os.getuid() != 0 or not shutil.which("useradd") or not shutil.which("curl"):
        pytest.skip("another account can be made by root only, and needs useradd and curl")
    subprocess.run(["useradd", "--system", "--no-create-home", NAME], check=False, capture_output=True)
    yield NAME
    subprocess.run(["userdel", NAME], check=False, capture_output=True)


def test_another_account_reads_and_starts_nothing(other, service):
    def by(*call: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["setpriv", f"--reuid={other}", "--clear-groups", *call], capture_output=True, text=True, cwd="/"
        )

    before = state(service)
    password = service.login()["password"]
    (service.root / "access.json").parent.chmod(0o755)  # the file itself must hold, whatever the folder allows
    for folder in (service.root, *service.root.parents):
        if folder.stat().st_uid == os.getuid() and folder != folder.parent:
            folder.chmod(folder.stat().st_mode | 0o755)
    assert "Permission denied" in by("cat", str(service.root / "access.json")).stderr
    curl = partial(by, "curl", "--silent", "--max-time", "60", "--write-out", "%{http_code}", "--output", "/dev/null")
    about = targets(service, "127.0.0.1")
    for name, url, method, body in about["urls"]:
        sent = ("--header", "Content-Type: application/json", "--data", body) if body else ()
        assert curl("--request", method, *sent, url).stdout == "401", name
    for url in (f"{service.url('mlflow')}/", f"{service.url('mlflow')}/metrics", f"{service.url('mlflow')}/docs"):
        assert curl(url).stdout == "401", url
    assert password not in by("ps", "-eww", "-o", "args").stdout
    for process in service.processes():
        assert "Permission denied" in by("cat", f"/proc/{process.pid}/environ").stderr
    assert state(service) == before


def test_nothing_listens_but_the_three_servers_and_what_talks_to_no_page(service):
    """The worker has no health page here; Prefect's runner has one socket, which wants a token and speaks no HTTP."""
    ports = {int(service.url(name).rpartition(":")[2].removesuffix("/api")) for name in ("prefect", "mlflow", "serve")}
    listening = {
        socket.laddr.port: process
        for process in service.processes()
        for socket in process.net_connections("inet")
        if socket.status == psutil.CONN_LISTEN
    }
    assert all(socket.laddr.ip == "127.0.0.1" for p in service.processes() for socket in p.net_connections("inet"))
    assert ports <= set(listening)
    for port in set(listening) - ports:
        call = ["curl", "--silent", "--max-time", "5", f"http://127.0.0.1:{port}/"]
        assert subprocess.run(call, capture_output=True, text=True).stdout == ""
