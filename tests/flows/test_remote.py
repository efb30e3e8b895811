"""Paid providers, flow by flow, through the real SDKs: check, quote, budget, waiting or not, chains, secrets."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prefect.blocks.system import Secret
from prefect.settings import PREFECT_API_URL

from deployments.demo import catalogue
from deployments.simulators import serve
from flows.check import check, quote
from flows.finetune import finetune
from flows.sweep import cancel, resume, sweep
from tasks.backends.gemini import client
from tasks.backends.openai import answers
from tasks.core.errors import BackendError, TransientError
from tasks.orchestrator import secrets
from tasks.recipe import loader
from tasks.recipe.model import Recipe
from tasks.record import ledger
from tests.kit import paid
from tests.kit.demo import runs
from tests.tasks.examples import test_lint

pytestmark = pytest.mark.usefixtures("orchestrator")
PIPES = {"text": True, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
SMALL = ("catalogue.lines_per_shard=300", "evaluate={seen: 2, unseen: 1, heldout_rows: 5, max_new_tokens: 20}")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a catalogue of two shards."""
    place = tmp_path_factory.mktemp("shop")
    catalogue.write(str(place / "catalogue.json"), 600)
    return place


@pytest.fixture
def shared(shop: Path, monkeypatch: pytest.MonkeyPatch, own_root: Path) -> None:
    """One root for the tests of this module: prepared once, and MLflow's store made once."""
    monkeypatch.setenv("SHARDTUNE_ROOT", str(shop / "root"))


@pytest.fixture
def simulators(monkeypatch: pytest.MonkeyPatch, shared: None) -> Iterator[serve.Simulators]:
    with paid.simulated(monkeypatch) as running:
        yield running


def recipe(shop: Path, name: str, *more: str) -> Recipe:
    return loader.load(name, [f"catalogue.uri={shop / 'catalogue.json'}", *SMALL, *more])


def made(simulators: serve.Simulators) -> dict[str, int]:
    return serve.seen(simulators.state)["creates"]


def untouched(simulators: serve.Simulators) -> bool:
    """Whether nothing was uploaded and nothing was made."""
    return not simulators.state.files and not simulators.objects and set(made(simulators).values()) == {0}


def command(*arguments: str, **environment: str | None) -> subprocess.CompletedProcess[str]:
    """`shardtune …` in a process of its own; a variable that is None is not set in it."""
    env = {**os.environ, "PREFECT_API_URL": PREFECT_API_URL.value()} | environment
    call = [sys.executable, "-c", "from flows.cli.main import main; main()", *arguments]
    return subprocess.run(call, env={n: v for n, v in env.items() if v is not None}, **PIPES)


def test_report_a_is_two_jobs_the_second_on_the_model_of_the_first(shop, simulators):
    done = finetune(recipe(shop, "gpt-4o-mini"))
    first, second = serve.seen(simulators.state)["jobs"]
    assert first["model"] == "gpt-4o-mini-2024-07-18"
    assert second["model"].startswith("ft:gpt-4o-mini-2024-07-18:simulator") and done.model != second["model"]
    (child,) = runs(done.key)
    parent = ledger.client().get_run(child.data.tags["mlflow.parentRunId"])
    assert parent.data.tags["tuned_model"] == second["model"]
    assert child.data.tags["shardtune.parent"] == parent.data.tags["shardtune.key"]
    assert {child.data.tags["simulated"], done.simulated} == {"shardtune"}
    assert child.data.params["learning_rate_multiplier"] == "0.6" and child.data.params["batch_size"] == "8"
    assert child.data.params["used_batch_size"] == "8"
    # What the first link left is where the second began, so that is what its questions were asked before.
    assert all(row.before.startswith("[simulated]") for row in done.answers)
    again = finetune(recipe(shop, "gpt-4o-mini"))
    assert (again.trained, again.key) == (False, done.key) and made(simulators)["openai"] == 2


def test_the_quote_of_report_a_is_what_the_provider_bills(shop, simulators):
    wanted = recipe(shop, "gpt-4o-mini", "seed=11")
    told = quote(wanted)
    assert (len(told.links), told.fits, untouched(simulators)) == (2, True, True)
    done = finetune(wanted)
    billed = [job["_tokens"] for job in simulators.state.jobs.values()]
    for link, tokens in zip(told.links, billed, strict=True):
        assert link.tokens == pytest.approx(tokens, rel=0.01)
    assert done.cost["billed_tokens"] == billed[1]
    (run,) = runs(done.key)
    cost = ledger.read(run.info.run_id, "facts.json")["cost"]
    assert cost["quoted_tokens"] == pytest.approx(cost["billed_tokens"], rel=0.01) and abs(cost["quote_error"]) < 0.01
    answers = told.links[1].usd_high - told.links[1].usd_low  # nobody bills them apart
    assert run.data.metrics["usd"] == pytest.approx(billed[1] * 3e-6 + answers)
    assert [link.done for link in quote(wanted).links] == [True, True]


def test_a_budget_one_cent_too_low_stops_before_the_first_byte(shop, simulators):
    # Two cents a link are what these few rows cost, so they are trained on fifty times.
    wanted = ("seed=12", "tune.epochs=50", "tune.batch_size=64")
    first, second = quote(recipe(shop, "gpt-4o-mini", *wanted)).links
    low = recipe(shop, "gpt-4o-mini", *wanted, f"budget_usd={first.usd_high - 0.01}")
    with pytest.raises(BackendError, match=r"may cost \$.*budget_usd.*nothing was uploaded"):
        finetune(low)
    assert untouched(simulators)
    billed = first.usd_low  # the count is exact, and answers are not billed as training
    between = recipe(shop, "gpt-4o-mini", *wanted, f"budget_usd={billed + second.usd_high - 0.01}")
    with pytest.raises(BackendError, match="shards 1 may cost"):
        finetune(between)
    assert made(simulators)["openai"] == 1  # the chain stops before the link that would pass it
    assert finetune(recipe(shop, "gpt-4o-mini", *wanted, "budget_usd=1000")).state == "succeeded"
    assert made(simulators)["openai"] == 2


def test_an_unknown_price_is_no_promise_that_a_budget_holds(shop, simulators):
    unknown = recipe(shop, "gemini-describe", "budget_usd=5", "tune.base_model=gemini-3.5-flash-lite")
    assert quote(unknown).fits is False
    with pytest.raises(BackendError, match="price of the link on shards 0 is unknown"):
        finetune(unknown)
    assert untouched(simulators)


@pytest.mark.parametrize("name", ["gemini-describe", "gemini-with-source"])
def test_both_versions_of_report_b_are_tuned_for_two_epochs(name, shop, simulators):
    done = finetune(recipe(shop, name))
    (job,) = simulators.state.tuning.values()
    assert job["_hyper"] == {"epochCount": "2"}
    assert done.model == job["_endpoint"] and done.continue_from == f"{job['_model']}#2"
    taught = next(iter(job["_pairs"]))
    assert taught.startswith("What is the " if name == "gemini-describe" else 'What is product "')
    (run,) = runs(done.key)
    # Google's count is of the data set; the bill is that times the epochs, and until it is known the quote's upper end.
    told = ledger.read(run.info.run_id, "facts.json")
    assert told["facts"]["billable_tokens"] == round(job["_characters"] / 4) and told["cost"]["billed_tokens"] is None
    assert done.cost["usd"] == done.cost["usd_high"] and "until a bill is known" in done.cost["usd_is"]
    assert done.cost["usd"] >= told["facts"]["estimated_usd"] > 0
    assert len(ledger.client().get_metric_history(run.info.run_id, "loss")) == done.steps


def test_a_chain_on_vertex_starts_from_the_checkpoint_of_the_link_before(shop, simulators):
    done = finetune(recipe(shop, "gemini-describe", "chain=true", "shards=[0, 1]", "seed=13"))
    first, second = simulators.state.tuning.values()
    assert second["_parent"] == {"checkpoint_id": "2", "tuned_model_name": first["_model"]}
    assert done.continue_from == f"{first['_model'].removesuffix('@1')}@2#2"


def test_without_waiting_a_chain_goes_on_by_sweeps_alone(shop, simulators):
    wanted = recipe(shop, "gpt-4o-mini", "seed=14")
    started = finetune(wanted, wait=False)
    assert (started.state, made(simulators)["openai"]) == ("running", 1)
    # A sweep takes as long as it takes; so many of them are enough for both links.
    for _ in range(10):
        swept = sweep()
        if not swept:
            break
    assert not ledger.unfinished() and made(simulators)["openai"] == 2
    done = finetune(wanted)
    assert (done.trained, done.state) == (False, "succeeded")
    steps = [m.step for m in ledger.client().get_metric_history(done.mlflow_run_id, "loss")]
    assert sorted(steps) == list(range(1, done.steps + 1))


def test_a_sweep_that_asks_another_provider_leaves_a_rehearsal_alone(shop, simulators, monkeypatch):
    wanted = recipe(shop, "gpt-4o-mini", "seed=31")
    assert finetune(wanted, wait=False).state == "running"
    with monkeypatch.context() as real:
        real.delenv("OPENAI_BASE_URL")
        (left,) = sweep()
        assert (left.state, left.concluded) == ("elsewhere", False)
        assert "loopback" in left.detail and "openai's own service" in left.detail
        assert resume(left.key).state == "elsewhere"
        with pytest.raises(BackendError, match="its job is at loopback"):
            cancel(left.key)
        assert made(simulators)["openai"] == 1
    for _ in range(10):
        swept = sweep()
        if not swept:
            break
    assert made(simulators)["openai"] == 2 and finetune(wanted).state == "succeeded"


def test_a_daily_limit_is_waited_for_by_sweeps_and_says_until_when(shop, simulators):
    busy = {"fault": "status", "status": 429, "code": "daily_limit_exceeded", "message": "daily limit", "times": None}
    simulators.state.faults.append({"route": "openai.jobs.create", **busy})
    wanted = recipe(shop, "gpt-4o-mini", "seed=15", "chain=false", "shards=[0]")
    assert finetune(wanted, wait=False).state == "waiting"
    (waiting,) = sweep()
    assert (waiting.state, waiting.concluded) == ("waiting", False) and "T00:00:00" in waiting.detail
    simulators.state.faults.clear()
    ledger.client().set_tag(ledger.run_id(waiting.key), "shardtune.waiting_until", "2026-01-01T00:00:00+00:00")
    assert sweep()[0].state in ("queued", "running", "succeeded")
    assert finetune(wanted).state == "succeeded" and made(simulators)["openai"] == 1


def test_a_failed_job_is_paid_again_only_on_demand_in_the_same_run(shop, simulators):
    simulators.state.faults.append({"route": "openai.jobs.create", "fault": "unsafe", "when": "mode"})
    wanted = recipe(shop, "gpt-4o-mini", "seed=16", "chain=false", "shards=[0]")
    with pytest.raises(BackendError, match="unsafe"):
        finetune(wanted)
    with pytest.raises(BackendError, match="--again"):
        finetune(wanted)
    assert made(simulators)["openai"] == 1
    done = finetune(wanted, again=True)
    (run,) = runs(done.key)
    (ended,) = json.loads(run.data.tags["shardtune.attempts"])
    assert (run.info.status, ended["state"], made(simulators)["openai"]) == ("FINISHED", "failed", 2)
    assert "unsafe" in ended["reason"]
    assert finetune(wanted, again=True).trained is False and made(simulators)["openai"] == 2


def test_answers_that_did_not_come_are_asked_for_by_a_later_sweep(shop, simulators, monkeypatch):
    monkeypatch.setattr(answers, "RETRIES", 0)
    simulators.state.faults.append({"route": "openai.chat", "fault": "status", "status": 503, "times": None})
    with pytest.raises(TransientError, match="asking"):
        finetune(recipe(shop, "gpt-4o-mini", "shards=[0]", "seed=503"))
    (waits,) = sweep()
    assert (waits.concluded, [run.info.status for run in runs(waits.key)]) == (False, ["RUNNING"])
    simulators.state.faults.clear()
    (done,) = sweep()
    assert (done.key, done.state, done.concluded) == (waits.key, "succeeded", True)
    assert made(simulators)["openai"] == 1 and not ledger.unfinished()


@pytest.mark.parametrize(
    ("kind", "word"), [("partially_succeeded", "succeeded"), ("expired", "EXPIRED"), ("paused", "PAUSED")]
)
def test_states_that_are_neither_good_nor_bad_end_clearly(kind, word, shop, simulators):
    simulators.state.faults.append({"route": "vertex.tune", "fault": kind, "when": "mode"})
    wanted = recipe(shop, "gemini-describe", f"seed={17 + len(kind)}")
    if word == "succeeded":
        assert finetune(wanted).state == word
        return
    with pytest.raises(BackendError, match=word):
        finetune(wanted)
    if kind == "paused":
        (swept,) = sweep()
        assert (swept.state, swept.concluded) == ("running", False) and "cancel" in swept.detail
        assert cancel(swept.key) in ("running", "cancelled")
        simulators.state.clock.advance(60)
        sweep()
    assert not ledger.unfinished()


def test_a_cancelled_job_costs_no_second_one(shop, simulators):
    simulators.state.faults.append({"route": "openai.jobs.create", "fault": "never_ends", "when": "mode"})
    wanted = recipe(shop, "gpt-4o-mini", "seed=18", "chain=false", "shards=[0]")
    started = finetune(wanted, wait=False)
    assert cancel(started.key) == "cancelled"
    assert [run.info.status for run in runs(started.key)] == ["KILLED"]
    with pytest.raises(BackendError, match="--again"):
        finetune(wanted)


def test_a_job_that_never_ends_meets_the_deadline_and_is_left_to_itself(shop, simulators):
    simulators.state.faults.append({"route": "openai.jobs.create", "fault": "never_ends", "when": "mode"})
    wanted = recipe(shop, "gpt-4o-mini", "seed=19", "chain=false", "shards=[0]", "tune.wait_hours=0.0005")
    with pytest.raises(BackendError, match="same command"):
        finetune(wanted)
    (key,) = ledger.unfinished()
    assert cancel(key) == "cancelled"


def test_a_bad_line_stops_the_run_unless_it_may_go_to_quarantine(shop, simulators):
    bad = shop / "bad.json"
    lines = (shop / "catalogue.json").read_text().splitlines()[:300]
    for n in range(40):
        told = {"uid": "BAD", "title": f"Drum {n}", "content": f"A drum of <|endoftext|> steel, the {n}th of its kind."}
        lines.append(json.dumps(told))
    bad.write_text("\n".join(lines))
    wanted = ["split.holdout_share=0.2", f"catalogue.uri={bad}", "chain=false", "shards=[0]", "seed=20"]
    checked = check(recipe(shop, "gpt-4o-mini", "clean.duplicates=keep", "catalogue.lines_per_shard=400", *wanted[:-1]))
    assert checked.errors and {f.uid for f in checked.findings if f.level == "error"} == {"BAD"}
    with pytest.raises(BackendError, match="endoftext"):
        finetune(recipe(shop, "gpt-4o-mini", "catalogue.lines_per_shard=400", *wanted))
    assert untouched(simulators)
    fixed = recipe(shop, "gpt-4o-mini", "catalogue.lines_per_shard=400", "export.fix=true", *wanted)
    assert finetune(fixed).state == "succeeded"
    assert all(b"endoftext" not in f["_data"] for f in simulators.state.files.values())


def test_azure_is_deployed_before_it_is_asked(shop, simulators):
    there = (f"tune.base_url={simulators.azure}", f"tune.deploy.management_url={simulators.address}/azure/management")
    done = finetune(recipe(shop, "azure-gpt-4o-mini", *there, "chain=false", "shards=[0]"))
    (name,) = simulators.state.deployments
    assert name.startswith("shardtune-") and simulators.state.deployments[name]["model"] == done.model
    assert made(simulators) == {"openai": 0, "azure": 1, "vertex": 0}
    assert done.cost["usd"] is None  # Azure's prices are its own, and the recipe names none
    # The base has no deployment there, so nobody answered before; the model's answers are scored all the same.
    assert {row.before for row in done.answers} == {""} and all(row.after for row in done.answers)
    assert done.scores and all(set(arms) == {"after", "after_t0"} for arms in done.scores.values())


REFUSED = [
    ("gpt-4o-mini", {"OPENAI_API_KEY": None}, (), ["no API key", "OPENAI_API_KEY"]),
    ("gpt-4o-mini", {"OPENAI_API_KEY": "sk-wrong-secret"}, (), ["OPENAI_API_KEY is refused"]),
    ("gpt-4o-mini", {}, ("tune.base_model=gpt-4.1-nano-2025-04-14",), ["retired after 2026-10-22", "choose one of"]),
    ("gpt-4o-mini", {}, ("retrain_days=200",), ["is served until 2027-01-13", "choose another"]),
    ("gemini-describe", {"GOOGLE_CLOUD_PROJECT": None, "GEMINI_API_KEY": "secret"}, (), ["Gemini API", "use Vertex"]),
    ("gemini-describe", {"GOOGLE_CLOUD_PROJECT": None}, (), ["no Google Cloud project"]),
    ("gemini-describe", {"SHARDTUNE_BUCKET": None}, (), ["no bucket"]),
    ("gemini-describe", {"GOOGLE_APPLICATION_CREDENTIALS": "/nowhere.json"}, (), ["gcloud auth"]),
    ("gemini-describe", {}, ("tune.base_model=gemini-2.5-flash",), ["retired", "gemini-3.5-flash"]),
]


@pytest.mark.parametrize(("name", "environment", "more", "told"), REFUSED)
def test_what_cannot_work_is_one_line_that_says_what_to_do(
    name, environment, more, told, shop, simulators, monkeypatch
):
    for variable, value in environment.items():
        monkeypatch.delenv(variable) if value is None else monkeypatch.setenv(variable, value)
    seed = 100 + REFUSED.index((name, environment, more, told))  # served from no record
    with pytest.raises(BackendError) as refused:
        finetune(recipe(shop, name, *more, f"seed={seed}"))
    line = str(refused.value)
    assert "\n" not in line and all(part in line for part in told) and "secret" not in line, line
    assert untouched(simulators)


def test_an_error_is_one_line_and_the_exit_status_is_not_0(shop, simulators):
    chosen = [f"catalogue.uri={shop / 'catalogue.json'}", *SMALL, "seed=99"]
    words = [word for c in chosen for word in ("--set", c)]
    done = command("finetune", "--recipe", "gpt-4o-mini", *words, OPENAI_API_KEY="sk-wrong-secret")
    assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("shardtune: error: ") and "OPENAI_API_KEY is refused" in done.stderr
    assert "secret" not in done.stderr and untouched(simulators)


@pytest.mark.parametrize("fault", ["winddown", "winddown_late"])
def test_an_organisation_that_may_not_tune_is_told_and_leaves_nothing(fault, shop, simulators):
    always = {"route": "openai.jobs.create", "fault": fault, "when": "mode", "times": None}
    simulators.state.faults.append(always)
    with pytest.raises(BackendError, match=r"training_not_available.*gemini or local"):
        finetune(recipe(shop, "gpt-4o-mini", "seed=21"))
    assert untouched(simulators)


def test_check_is_clean_and_its_exit_status_says_when_it_is_not(shop, simulators):
    chosen = ["--set", f"catalogue.uri={shop / 'catalogue.json'}", *(w for s in SMALL for w in ("--set", s))]
    good = command("check", "--recipe", "gpt-4o-mini", "--json", *chosen)
    told = json.loads(good.stdout)
    assert (good.returncode, told["errors"], told["links"]) == (0, 0, 2), told
    few = command("check", "--recipe", "gpt-4o-mini", *chosen, "--set", "export.train_per_shard=9")
    assert few.returncode == 1 and "at least 10 are needed" in few.stdout
    assert untouched(simulators)


def test_the_command_killed_while_its_job_runs_pays_once(shop, simulators):
    words = [w for s in (f"catalogue.uri={shop / 'catalogue.json'}", *SMALL, "seed=98") for w in ("--set", s)]
    words += ["--set", "chain=false", "--set", "shards=[0]", "--json"]
    script = [
        sys.executable,
        "-c",
        "from flows.cli.main import main; main()",
        "finetune",
        "--recipe",
        "gpt-4o-mini",
        *words,
    ]
    process = subprocess.Popen(script, env={**os.environ, "PREFECT_API_URL": PREFECT_API_URL.value()}, **PIPES)
    while not made(simulators)["openai"]:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.kill()
    process.communicate()
    (key,) = ledger.unfinished()
    done = command("finetune", "--recipe", "gpt-4o-mini", *words)
    told = json.loads(done.stdout)
    assert (told["key"], told["state"], made(simulators)["openai"]) == (key, "succeeded", 1)
    assert [run.info.status for run in runs(key)] == ["FINISHED"] and not paid.left_behind(simulators)


def test_the_command_finds_thirty_planted_defects_in_a_file_and_none_in_a_clean_one(tmp_path, simulators):
    for name, lines in (("bad", test_lint.planted()), ("clean", test_lint.clean())):
        (tmp_path / f"{name}.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
    bad = command("check", str(tmp_path / "bad.jsonl"), "--json")
    told = json.loads(bad.stdout)
    found = {(f["line"], f["rule"]) for f in told["findings"]}
    assert found == {(3 * n + 3, rule) for n, (rule, _) in enumerate(test_lint.PLANTED)} and len(found) >= 30
    assert (bad.returncode, told["errors"] + told["warnings"]) == (1, len(found))
    clean = command("check", str(tmp_path / "clean.jsonl"), "--json")
    assert (clean.returncode, json.loads(clean.stdout)["findings"]) == (0, [])


@pytest.fixture
def kept(simulators: serve.Simulators) -> Iterator[None]:
    """The simulators' keys as Secret blocks of the Prefect server."""
    account = Path(os.environ[client.CREDENTIALS]).read_text()
    for variable, value in {"OPENAI_API_KEY": os.environ["OPENAI_API_KEY"], client.CREDENTIALS: account}.items():
        Secret(value=value).save(secrets.block(variable), overwrite=True)
    yield
    for variable in ("OPENAI_API_KEY", client.CREDENTIALS):
        Secret.delete(secrets.block(variable))


def told() -> str:
    """All that the Prefect server tells of runs, logs, artifacts and blocks."""
    texts = []
    for kind in ("flow_runs", "task_runs", "logs", "artifacts", "block_documents"):
        page, offset = [None], 0
        while page:
            asked = httpx.post(f"{PREFECT_API_URL.value()}/{kind}/filter", json={"limit": 200, "offset": offset})
            page, offset = asked.json(), offset + 200
            texts.append(asked.text)
    return "".join(texts)


def test_no_secret_is_written_anywhere(shop, simulators, kept, tmp_path):
    secret = "sk-simulated"  # the simulators' key, and the token of their management
    known = [secret, "simulated-token", json.loads(Path(os.environ["GOOGLE_APPLICATION_CREDENTIALS"]).read_text())]
    known[2] = known[2]["private_key"].splitlines()[5]
    place = tmp_path / "kept"
    # From the server's blocks alone: the environment of the command, and of what it starts, has none of them.
    alone = {"OPENAI_API_KEY": None, "GOOGLE_APPLICATION_CREDENTIALS": None}
    simulators.state.faults.append({"route": "openai.jobs.retrieve", "fault": "status", "status": 500, "times": 2})
    output = ""
    for name in ("gpt-4o-mini", "gemini-describe"):
        chosen = [f"catalogue.uri={shop / 'catalogue.json'}", *SMALL]
        done = command(
            "finetune", "--recipe", name, "--verbose", *(w for c in chosen for w in ("--set", c)),
            SHARDTUNE_ROOT=str(place), PREFECT_HOME=str(place / "prefect"), PREFECT_LOGGING_LEVEL="DEBUG", **alone,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        output += done.stdout + done.stderr
    written = [path for path in place.rglob("*") if path.is_file()]
    assert any(path.name == "mlflow.db" for path in written) and any(path.name == "answers.json" for path in written)
    for path in written:
        data = path.read_bytes()
        assert not [word for word in known if word.encode() in data], path
    server = told()
    assert "finetune gpt-4o-mini" in server and "openai-api-key" in server and "answers" in server
    assert not [word for word in known if word in output or word in server]
    records = [path.read_bytes() for path in (place / "prefect" / "storage").rglob("*") if path.is_file()]
    assert records and all(re.search(rb'"type":"(sealed-)?json"', record) for record in records)
