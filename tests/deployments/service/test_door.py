"""The door before Prefect and MLflow: own address and own pages only, and a password for every path."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect

from deployments.service.door import Door

OWN = "http://127.0.0.1:4200"


async def page(request):
    return PlainTextResponse("inside")


async def socket(websocket):
    await websocket.accept()
    await websocket.send_text("inside")
    await websocket.close()


APP = Starlette(routes=[Route("/{path:path}", page, methods=["GET", "POST", "PUT"]), WebSocketRoute("/events", socket)])


def client(login: str | None = None) -> TestClient:
    return TestClient(Door(APP, (OWN, "http://localhost:4200"), login), base_url=OWN)


# What a browser adds to a request, per https://www.w3.org/TR/fetch-metadata/ (examples of its sections 1.1 and 2).
@pytest.mark.parametrize(
    "method, headers, status",
    [
        ("GET", {}, 200),  # no browser: a client of Prefect
        ("POST", {}, 200),
        ("GET", {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}, 200),
        ("GET", {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}, 200),
        ("POST", {"Origin": OWN, "Sec-Fetch-Site": "same-origin"}, 200),
        ("POST", {"Origin": "http://localhost:4200", "Sec-Fetch-Site": "cross-site"}, 200),  # own page, own other name
        (
            "GET",
            {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"},
            200,
        ),  # link
        ("GET", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}, 403),
        ("GET", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}, 403),
        ("GET", {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "script"}, 403),
        ("POST", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}, 403),
        ("POST", {"Origin": "null"}, 403),
        ("POST", {"Origin": "https://example.org"}, 403),
        ("GET", {"Origin": "http://127.0.0.1:9000"}, 403),  # another program of this machine
        ("GET", {"Origin": OWN + ".example.org"}, 403),
        ("GET", {"Host": "example.org:4200"}, 403),  # DNS rebinding
        ("GET", {"Host": "127.0.0.1"}, 403),
        ("GET", {"Host": "LOCALHOST:4200"}, 403),
        ("GET", {"Host": "127.0.0.1:4200.example.org", "Origin": "http://127.0.0.1:4200.example.org"}, 403),
    ],
)
def test_only_the_own_address_and_own_pages_are_let_in(method, headers, status):
    reply = client().request(method, "/api/flows", headers=headers)
    assert reply.status_code == status
    assert (reply.text == "inside") == (status == 200)


@pytest.mark.parametrize("origin, inside", [(OWN, True), (None, True), ("https://example.org", False), ("null", False)])
def test_a_websocket_of_another_page_is_refused(origin, inside):
    headers = {"Host": "127.0.0.1:4200"} | ({"Origin": origin} if origin else {})
    if inside:
        with client().websocket_connect("/events", headers=headers) as stream:
            assert stream.receive_text() == "inside"
        return
    refused = pytest.raises((WebSocketDisconnect, WebSocketDenialResponse))
    with refused, client().websocket_connect("/events", headers=headers):
        pass


def test_a_password_is_asked_for_everywhere_but_for_the_health_page():
    for path in ("/", "/static-files/index.html", "/api/2.0/mlflow/runs/search", "/health/", "//health", "/docs"):
        reply = client("admin:right").get(path)
        assert (reply.status_code, "Basic" in reply.headers["www-authenticate"]) == (401, True), path
    assert client("admin:right").get("/health").status_code == 200
    assert client("admin:right").get("/", auth=("admin", "wrong")).status_code == 401
    assert client("admin:right").get("/", auth=("admin", "right")).text == "inside"
    assert client("admin:right").get("/", auth=("admin", "right"), headers={"Origin": "null"}).status_code == 403


@pytest.mark.parametrize(
    ("given", "host"),
    [
        ("http://127.0.0.1:80", "127.0.0.1"),  # a browser leaves out the port that the scheme implies
        ("https://Prefect.example.org:443/", "prefect.example.org"),  # and writes PREFECT_PUBLIC_URL in its own way
        ("http://prefect.example.org:8080/", "prefect.example.org:8080"),
        ("http://[::1]:4200", "[::1]:4200"),
    ],
)
def test_an_address_is_known_as_a_browser_names_it(given, host):
    door = TestClient(Door(APP, (given,)), base_url=OWN)
    origin = f"{given.partition('://')[0]}://{host}"
    assert door.post("/api/flows", headers={"Host": host, "Origin": origin}).status_code == 200
    assert door.post("/api/flows", headers={"Host": host, "Origin": "http://evil.example"}).status_code == 403
