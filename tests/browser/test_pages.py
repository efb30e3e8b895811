"""What a person does in the browser, from the login to a retrained model. The tests go one after the other."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

import pytest
from playwright.sync_api import Page, TimeoutError, expect

from deployments.demo import catalogue
from tests.kit import models
from tests.kit.running import Service

PER = 200
FIELDS = {
    "Lines per shard": PER,
    "Holdout share per hash": 0.3,
    "Longest example": 320,
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
    models.build(path.parent / "tiny", "llama")  # a base model that trains in seconds
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
    page.get_by_label("Base model", exact=True).wait_for()


def fill(page: Page, products: Path, steps: int) -> None:
    page.get_by_label("Path or URI", exact=True).fill(str(products))
    page.get_by_label("Base model", exact=True).fill(str(products.with_name("tiny")))
    page.get_by_label("Steps (Optional)", exact=True).fill(str(steps))
    advanced(page)
    for title, value in FIELDS.items():
        page.get_by_label(f"{title} (Optional)", exact=True).first.fill(str(value))


def advanced(page: Page) -> None:
    """Open what is not on the first screen."""
    page.get_by_role("tab", name="Change").click()
    expect(page.get_by_label("Rank (Optional)", exact=True)).to_have_value("16")  # of the recipe


def submitted(page: Page) -> None:
    """Submit the form and go to the page of the run. Prefect's form drops a click now and then: it is clicked again."""
    submit, made = page.get_by_role("button", name="Submit"), page.get_by_role("link", name="View run")
    submit.click()
    with suppress(TimeoutError):
        made.wait_for(timeout=30_000)
    if not made.is_visible():
        submit.click()
    made.click()


def in_mlflow(page: Page) -> str:
    """From the page of a flow run to its run in MLflow, by its artifacts; the id of that run."""
    page.get_by_role("tab", name="Artifacts").click()
    page.get_by_role("link", name=re.compile("MARKDOWN mlflow-run")).first.click()
    page.locator("a[href*='/artifacts/artifact/']").first.click()
    page.get_by_role("link", name="the run in MLflow").click()
    page.get_by_role("tab", name="Model metrics").wait_for()
    return page.url.rpartition("/")[2]


def test_logging_in(page, service, picture):
    page.goto(prefect(service))
    box = page.get_by_placeholder("admin:pass")
    box.fill("admin:wrong")
    page.get_by_role("button", name="Login").click()
    expect(page.get_by_text(re.compile("invalid|failed|incorrect", re.IGNORECASE)).first).to_be_visible()
    box.fill(service.login()["prefect"])
    page.get_by_role("button", name="Login").click()
    page.get_by_role("link", name="Deployments").click()
    expect(page.get_by_text("18 Deployments")).to_be_visible()
    picture("deployments")


def test_bad_values_are_refused_all_at_once_and_start_nothing(page, service, picture):
    form(page, service, "finetune-demo")
    assert page.locator("form label").count() < 25, "what people change, and no more"
    picture("form-first")
    page.get_by_label("Learning rate (Optional)", exact=True).fill("7")
    page.get_by_label("Budget (Optional)", exact=True).fill("-1")
    advanced(page)
    page.get_by_label("Rank (Optional)", exact=True).fill("-3")
    page.get_by_role("button", name="Submit").click()
    for reason in ("7 is greater than the maximum of 1", "-1 is less than the", "-3 is less than the minimum of 1"):
        expect(page.get_by_text(reason)).to_be_visible()
    picture("bad-value")
    assert service.api("POST", "/flow_runs/count", {"deployments": {"name": {"any_": ["finetune-demo"]}}}).json() == 0


def test_the_demo_is_started_watched_and_its_evidence_read(page, service, products, picture):
    form(page, service, "finetune-demo")
    fill(page, products, steps=4)
    picture("form")
    submitted(page)
    expect(page.get_by_text(re.compile(r"finetune demo shard 0: held-out loss \d\.\d+ to \d\.\d+"))).to_be_visible()
    expect(page.get_by_text("Completed", exact=True).first).to_be_visible()
    picture("run")
    page.get_by_role("tab", name="Artifacts").click()
    page.get_by_role("link", name=re.compile("MARKDOWN answers")).wait_for()
    picture("artifacts")
    in_mlflow(page)
    expect(page.get_by_text(re.compile(r"Held-out loss \d\.\d+ → \d\.\d+ nats per answer token"))).to_be_visible()
    expect(page.get_by_text(str(service.root / "catalogues" / "tiny")).first).to_be_visible()  # among the parameters
    picture("mlflow-run")


def test_mlflow_shows_the_curve_and_the_answers(page, picture):
    page.get_by_role("tab", name="Model metrics").click()
    page.get_by_placeholder("Search metric charts").fill("loss")
    expect(page.get_by_text("loss_heldout").first).to_be_visible()
    expect(page.locator(".js-plotly-plot").first).to_be_visible()
    picture("mlflow-loss")
    page.get_by_role("tab", name="Artifacts").click()
    page.get_by_text("answers.json").first.click()
    expect(page.get_by_text(re.compile("What is the .* product\\?")).first).to_be_visible()
    picture("mlflow-answers")


def test_a_shard_that_was_appended_is_one_new_link(page, service, products, picture):
    with products.open("ab") as stream:
        catalogue.write(str(products.with_name("more.json")), 2 * PER)
        stream.write(b"".join(products.with_name("more.json").read_bytes().splitlines(keepends=True)[PER:]))
    form(page, service, "retrain-demo")
    fill(page, products, steps=4)
    submitted(page)
    expect(page.get_by_text(re.compile("chain 'demo' has learned shard 1 in 1 link")).first).to_be_visible()
    picture("retrained")
    page.goto(f"{service.url('mlflow')}/#/experiments/1/runs")
    expect(page.get_by_text(re.compile(r"^\s*2\s+matching runs"))).to_be_visible()
    links = page.get_by_role("link", name=re.compile("^demo shard [01] [0-9a-f]{8}$"))
    links.first.locator("xpath=ancestor::div[@role='gridcell'][1]").get_by_role("button").first.click()
    expect(links).to_have_count(2)  # the second lies under the first, which it goes on from
    picture("mlflow-chain")


def test_the_schedules_are_there_to_see(page, service, picture):
    for deployment, told in (("sweep", "Every 10 minutes"), ("retrain-demo", "At 03:00 AM")):
        page.goto(f"{prefect(service)}/v2/deployments")
        page.get_by_placeholder("Search deployments").fill(deployment)
        expect(page.get_by_role("link", name="ask", exact=True)).to_have_count(0)
        page.get_by_role("link", name=deployment, exact=True).first.click()
        expect(page.get_by_text(re.compile(told, re.IGNORECASE)).first).to_be_visible()
        picture(f"schedule-{deployment}")
