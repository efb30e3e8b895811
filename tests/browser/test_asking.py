"""The page that asks, in a real browser: every state, three languages, keyboard, narrow and dark, and hostile rows."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from playwright.sync_api import Page, expect, sync_playwright

from deployments.service.door import Door
from tasks.core import access
from tests.browser.conftest import QUIET
from tests.kit import serving


class Site:
    """A server behind its door, in a thread."""

    def __init__(self, folder: Any) -> None:
        self.app = serving.application(serving.indexed(folder), serving.Speaker(), serving.champion())
        door = socket.socket()
        door.bind(("127.0.0.1", 0))
        port = door.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        guarded = Door(self.app, access.origins(port), "admin:secret", bearer=True)
        self.server = uvicorn.Server(uvicorn.Config(guarded, log_level="warning"))
        threading.Thread(target=self.server.run, kwargs={"sockets": [door]}, daemon=True).start()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    made = Site(tmp_path_factory.mktemp("asking"))
    yield made
    made.server.should_exit = True


@pytest.fixture(scope="module")
def page(chromium: str, site: Site) -> Iterator[Page]:
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=QUIET)
        login = {"username": "admin", "password": "secret"}
        window = browser.new_page(viewport={"width": 1300, "height": 900}, http_credentials=login, locale="en-GB")
        window.set_default_timeout(20_000)
        expect.set_options(timeout=20_000)
        window.on("console", lambda told: told.type == "error" and wrong.append(told.text))
        window.on("pageerror", lambda error: wrong.append(str(error)))
        window.on("dialog", lambda box: wrong.append("a dialog"))
        yield window
        browser.close()


wrong: list[str] = []


@pytest.fixture(autouse=True)
def nothing_wrong() -> Iterator[None]:
    """No error in the console, no script of a row, nothing that the page's policy refused."""
    wrong.clear()
    yield
    assert wrong == []


def ask(page: Page, question: str) -> Any:
    """Ask by the keyboard alone; the newest answer."""
    page.get_by_label("Question", exact=True).fill(question)
    page.keyboard.press("Enter")
    asked = page.locator(".asked").first
    expect(asked.get_by_role("heading", level=2)).to_have_text(question)
    return asked


def test_an_answer_shows_what_is_checked_and_its_row(page, site, picture):
    page.goto(site.url)
    found = ask(page, f"How much does the {serving.NAMES[0]} weigh?")
    expect(found.get_by_text("Every sentence holds against the row.")).to_be_visible()
    expect(found.locator("li.holds")).to_contain_text("It weighs 3 ounces. ✓ verbatim")
    found.get_by_text("Show the whole row").click()
    row = found.locator(".content")
    expect(row).to_have_text(f"The {serving.NAMES[0]} weighs 3 ounces. It is made of steel.")
    expect(row.locator("mark").first).to_have_text(f"The {serving.NAMES[0]} weighs 3 ounces.")
    link = found.get_by_role("link", name="Open the product page")
    assert link.get_attribute("href") == "https://shop/U0" and "noopener" in link.get_attribute("rel")
    picture("asking-answered")


def test_it_goes_on_from_the_question_before(page):
    found = ask(page, "What is it made of?")
    expect(found.locator("figcaption")).to_contain_text(serving.NAMES[0])
    page.get_by_role("button", name="New conversation").click()
    expect(page.locator(".asked")).to_have_count(0)


def test_models_side_by_side_and_what_was_struck_is_folded_away(page, picture):
    for name in ("base model", "catalogue alone"):
        page.get_by_role("checkbox", name=name).check()
    found = ask(page, f"How much does the {serving.NAMES[1]} weigh?")
    expect(found.get_by_role("article")).to_have_count(3)
    first = found.get_by_role("article").first
    expect(first.get_by_text("From the catalogue")).to_be_visible()
    struck = first.get_by_text("It weighs 99 tons.")
    expect(struck).not_to_be_visible()
    first.get_by_text("What the model said and the row does not show").click()
    expect(struck).to_be_visible()
    expect(first.locator("li.fails")).to_contain_text("✗")
    picture("asking-side-by-side")
    page.set_viewport_size({"width": 360, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    picture("asking-narrow")
    page.set_viewport_size({"width": 1300, "height": 900})
    for name in ("base model", "catalogue alone"):
        page.get_by_role("checkbox", name=name).uncheck()


def test_which_are_buttons(page, picture):
    found = ask(page, "Kettle")
    group = found.get_by_role("group", name="Which one?")
    expect(group.get_by_role("button")).to_have_count(5)
    picture("asking-which")
    name = group.get_by_role("button").last.inner_text()
    group.get_by_role("button").last.click()
    expect(page.locator(".asked").first.locator("figcaption").first).to_contain_text(name)


def test_a_thumb_is_kept_with_its_reason(page, site, picture):
    found = ask(page, f"How much does the {serving.NAMES[2]} weigh?")
    found.get_by_role("button", name="Bad answer").click()
    found.get_by_label("What is wrong?").select_option("wrong product")
    found.get_by_label("The right answer, if you know it").fill("5 ounces")
    picture("asking-thumb")
    found.get_by_role("button", name="Send").click()
    expect(found.get_by_text("Thank you, it is noted.")).to_be_visible()
    (kept,) = site.app.state.kept.opinions
    assert (kept.helpful, kept.reason, kept.correct) == (False, "wrong_product", "5 ounces")


def test_what_a_row_holds_is_text(page):
    found = ask(page, "How long does the Ember alert Stove burn?")
    found.get_by_text("Show the whole row").first.click()
    expect(found.locator(".content").first).to_have_text(serving.HOSTILE[1])
    ask(page, "<img src=x onerror=alert(3)><script>alert(4)</script>")
    assert page.locator("main img, main script").count() == 0


def test_three_languages_in_the_dark(page, picture):
    page.emulate_media(color_scheme="dark")
    page.get_by_label("Language").select_option("pt")
    expect(page.get_by_role("heading", level=1)).to_have_text("Pergunte sobre um produto")
    expect(page.get_by_role("button", name="Perguntar", exact=True)).to_be_visible()
    picture("asking-dark-portuguese")
    page.get_by_label("Idioma").select_option("es")
    expect(page.get_by_role("heading", level=1)).to_have_text("Pregunte por un producto")
    page.reload()
    expect(page.locator("html")).to_have_attribute("lang", "es")  # it is remembered
    said = page.evaluate("[WORDS.en, WORDS.pt, WORDS.es].map(w => Object.keys(w).sort().join())")
    assert said[0] == said[1] == said[2]


def test_the_api_has_a_page(page, site, picture):
    page.goto(f"{site.url}/docs")
    expect(page.get_by_role("heading", name="POST /v1/chat/completions")).to_be_visible()
    page.get_by_text("Body").first.click()
    expect(page.locator("pre").first).to_contain_text("messages")
    picture("asking-api")
