"""What a person does in the browser, from the login to a retrained model. The tests go one after the other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.benchmarks import catalogue
from tests.browser.conftest import PASSWORD
from tests.deployments.running import Service

PER = 200
FIELDS = {
    "Lines per shard": PER,
    "Holdout share per hash": 0.3,
    "Longest example": 96,
    "Batch size": 4,
    "Warm-up steps": 1,
    "Seen questions": 2,
    "Unseen questions": 1,
    "Held-out rows": 8,
    "Longest answer": 12,
}


@pytest.fixture(scope="module")
def products(service: Service) -> Path:
    """A catalogue of one shard, where `up` lets a form read."""
    path = service.root / "catalogues" / "products.json"
    path.parent.mkdir(parents=True)
    catalogue.write(str(path), PER)
    return path


def prefect(service: Service) -> str:
    return service.url("prefect").removesuffix("/api")


def form(page: Page, service: Service, deployment: str) -> None:
    """Open the run form of a deployment by clicks."""
    page.goto(f"{prefect(service)}/v2/deployments")
    page.get_by_placeholder("Search deployments").fill(deployment)
    expect(page.get_by_role("link", name="ask", exact=True)).to_have_count(0)  # the list has been made anew
    page.get_by_role("link", name=deployment, exact=True).click()
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Custom run").click()
    page.get_by_text("Longest example (Optional)").wait_for()


def fill(page: Page, products: Path, steps: int) -> None:
    within = page.get_by_text("Catalogue (Optional)", exact=True).nth(1).locator("xpath=ancestor::div[4]")
    within.get_by_role("textbox").first.fill(str(products))
    for title, value in FIELDS.items():
        page.get_by_label(f"{title} (Optional)", exact=True).first.fill(str(value))
    number(page, "Steps").fill(str(steps))


def number(page: Page, title: str):  # type: ignore[no-untyped-def]
    """The box of a number that may also be empty."""
    label = page.get_by_text(f"{title} (Optional)", exact=True)
    return label.locator("xpath=ancestor::div[.//fieldset][1]").get_by_role("spinbutton")


def submitted(page: Page) -> None:
    """Submit the form and stay on the page of the run until it has completed."""
    page.get_by_role("button", name="Submit").click()
    page.get_by_role("button", name="View run").or_(page.get_by_role("link", name="View run")).click()
    expect(page.get_by_text("Completed", exact=True).first).to_be_visible()


def test_logging_in(page, service, picture):
    page.goto(prefect(service))
    box = page.get_by_placeholder("admin:pass")
    box.fill("admin:wrong")
    page.get_by_role("button", name="Login").click()
    expect(page.get_by_text(re.compile("invalid|failed|incorrect", re.IGNORECASE)).first).to_be_visible()
    box.fill(PASSWORD)
    page.get_by_role("button", name="Login").click()
    page.get_by_role("link", name="Deployments").click()
    expect(page.get_by_text("17 Deployments")).to_be_visible()
    picture("deployments")


def test_a_bad_value_is_told_at_its_field_and_starts_nothing(page, service, picture):
    form(page, service, "finetune-demo")
    rank = page.get_by_label("Rank (Optional)", exact=True)
    rank.fill("-3")
    page.get_by_role("button", name="Submit").click()
    assert rank.evaluate("field => field.validationMessage") == "Value must be greater than or equal to 1."
    picture("bad-value")
    assert service.api("POST", "/flow_runs/count", {"deployments": {"name": {"any_": ["finetune-demo"]}}}).json() == 0


def test_the_demo_is_started_watched_and_its_evidence_read(page, service, products, picture):
    form(page, service, "finetune-demo")
    fill(page, products, steps=4)
    picture("form")
    submitted(page)
    picture("run")
    page.get_by_role("tab", name="Artifacts").click()
    picture("artifacts")
    with page.expect_popup() as opened:
        page.get_by_role("link", name="the run in MLflow").first.click()
    print(opened.value.url)
