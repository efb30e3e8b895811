"""Answers, flow by flow, with the real SDKs against simulators: ask, compare, the gate, its kills, and rollback."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import mlflow
import pyarrow.parquet as pq
import pytest
from prefect.settings import PREFECT_API_URL

from deployments.demo import catalogue
from deployments.simulators import serve
from flows.ask import ask
from flows.compare import compare
from flows.finetune import finetune
from flows.promote import rollback
from flows.reproduce import reproduce
from flows.sweep import sweep
from tasks import forgetting
from tasks.backends import get_backend
from tasks.backends.contract import ENDED
from tasks.core import settings
from tasks.core.errors import AnswerError, TrainingError
from tasks.core.models import Finetuned
from tasks.evaluation.comparison import GUARD
from tasks.recipe import loader
from tasks.recipe.model import Recipe
from tasks.record import aliases, ledger, lineage
from tests.kit import paid
from tests.kit.demo import runs
from tests.kit.stopped import MOMENTS, killed

pytestmark = pytest.mark.usefixtures("orchestrator")
SMALL = (
    "catalogue.lines_per_shard=600",
    "split.holdout_share=0.3",
    "chain=false",
    "shards=[0]",
    "evaluate={seen: 1, unseen: 1, heldout_rows: 5, max_new_tokens: 120}",
    "compare={seen: 12, unseen: 12, gate: 24}",
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("answers")
    catalogue.write(str(folder / "catalogue.json"), 1_800)
    return folder


@pytest.fixture(scope="module")
def simulators(place: Path) -> Iterator[serve.Simulators]:
    """One shop for all tests of this module: what is tuned in one is asked in another."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHARDTUNE_ROOT", str(place / "root"))
        with paid.simulated(patch) as running:
            yield running


@pytest.fixture(autouse=True)
def shared(place: Path, simulators: serve.Simulators, own_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHARDTUNE_ROOT", str(place / "root"))


def recipe(place: Path, *more: str) -> Recipe:
    return loader.load("gpt-4o-mini", [f"catalogue.uri={place / 'catalogue.json'}", *SMALL, *more])


def grounded(place: Path, *more: str) -> Recipe:
    return recipe(place, "name=grounded", "export.style=grounded", *more)


def shown(key: str) -> str:
    asked = {"artifacts": {"key": {"any_": [key]}}, "sort": "UPDATED_DESC", "limit": 1, "offset": 0}
    return str(httpx.post(f"{PREFECT_API_URL.value()}/artifacts/filter", json=asked).json()[0]["data"])


@pytest.fixture(scope="module")
def champion(place: Path, simulators: serve.Simulators) -> Finetuned:
    """A model that got the right rows, promoted: the first champion of its recipe."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHARDTUNE_ROOT", str(place / "root"))
        return finetune(grounded(place, "promote=true"))


def test_a_model_that_got_the_right_rows_is_champion(champion):
    assert (champion.promotion.version, champion.promotion.alias) == ("grounded/1", "champion")
    assert "better by 'answered in own checked words'" in champion.promotion.reason
    assert "224 to 1 needed of candidate 1 against base" in champion.promotion.reason
    tags = ledger.client().get_run(champion.promotion.comparison).data.tags
    assert tags["decision"] == f"grounded/1 is champion: {champion.promotion.reason}"
    held = ledger.client().get_model_version_by_alias("grounded", "champion")
    assert (held.run_id, held.tags["shardtune.key"]) == (champion.mlflow_run_id, champion.key)


def test_an_answer_comes_with_its_source_and_is_traced(champion, place):
    compared = compare(("base", "grounded@champion"), grounded(place))
    titles = [answered(compared.mlflow_run_id)["question"]]
    replied = ask((*titles, "What is the Plutonium Toaster 9000?"), "champion")
    first, second = replied.replies
    assert (first.state, second.state) == ("answered", "none")
    assert first.source.quote.startswith(first.text.removesuffix("[simulated]").strip()[:40])
    assert first.source.url == f"https://www.amazon.com/dp/{first.source.uid}"
    assert first.source.uid in shown("replies")
    mlflow.set_tracking_uri(settings.tracking_uri())
    place_id = ledger.experiment(ledger.client())
    traces = mlflow.search_traces(locations=[place_id], run_id=champion.mlflow_run_id, return_type="list")
    (trace,) = [t for t in traces if t.data.spans[0].inputs["question"] == titles[0]]
    assert [s.name for s in trace.data.spans] == ["ask", "retrieve", "prompt", "generate", "check"]
    assert {a.name: a.feedback.value for a in trace.info.assessments}["answered"] is True
    assert trace.data.spans[0].outputs["source"]["uid"] == first.source.uid
    assert trace.data.spans[3].attributes["model_version"] == first.model_version
    assert all(s.end_time_ns >= s.start_time_ns > 0 for s in trace.data.spans)


def marks(run_id: str) -> list[dict[str, object]]:
    table = ledger.read(run_id, "marks.json")
    return [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]


def answered(run_id: str) -> dict[str, object]:
    """The first question for a title that the champion answered in its own words."""
    told = [m for m in marks(run_id) if str(m["arm"]).endswith("champion with rows") and m["form"] == "title"]
    return next(m for m in told if m["answered"] and m["right_product"] and m["group"] != "absent")


def titles(place: Path) -> dict[str, str]:
    """The title of each row by its uid. Rows of one title are one product, and either may be the source."""
    lines = (place / "catalogue.json").read_bytes().splitlines()
    rows = (json.loads(line) for line in lines if line.startswith(b'{"') and line.endswith(b"}"))
    return {row["uid"]: row["title"] for row in rows if "uid" in row and "title" in row}


def test_compare_gives_a_table_verdicts_and_a_report_and_is_made_once(champion, place):
    compared = compare(("base", "champion"), grounded(place))
    assert [arm.name for arm in compared.arms] == [
        "base", "champion", "quotes, no model", "base with rows", "champion with rows",
    ]  # fmt: skip
    assert compared.questions == {"seen": 12, "unseen": 12, "absent": 12} and compared.simulated
    found = {arm.name: arm.groups for arm in compared.arms}["champion with rows"]
    assert found["seen"]["answered"] >= 0.5 and found["unseen"]["right_product"] >= 0.8
    assert found["absent"]["declined"] >= 0.8 and found["unseen"]["false_shown"] <= 0.1 and found["seen"]["usd"] > 0
    said = compared.said("champion with rows", "base with rows", "answered")
    assert (said.word, said.questions) == ("better", 24)
    assert compared.decisions == (f"grounded/1 became champion: {champion.promotion.reason}",)
    run = ledger.client().get_run(compared.mlflow_run_id)
    assert run.data.metrics["seen/answered champion with rows"] == found["seen"]["answered"]
    files = {a.path for a in ledger.client().list_artifacts(compared.mlflow_run_id)}
    assert {"report.html", "comparison.png", "marks.json", "compared.json"} <= files
    page = ledger.text(compared.mlflow_run_id, "report.html")
    assert "A simulator stood in" in page and said.word in page
    assert "champion with rows" in shown("comparison")
    again = compare(("base", "champion"), grounded(place))
    assert again == compared.model_copy(update={"again": True})


def test_backends_that_are_not_wanted_are_left_out(champion, place):
    with pytest.raises(AnswerError, match="no model to compare"):
        compare(("base", "champion"), grounded(place), ("gemini",))
    with pytest.raises(AnswerError, match="needs a recipe"):
        compare(("base",))


def test_an_equal_model_is_a_challenger_with_the_reason(champion, place):
    done = finetune(grounded(place, "promote=true", "seed=5"))
    assert done.promotion.alias == "challenger"
    assert "can't tell" in done.promotion.reason and aliases.champion("grounded") == "grounded/1"
    assert "671 to 1 is needed of candidate 1 against grounded/1" in done.promotion.reason
    held = ledger.client().get_model_version_by_alias("grounded", "challenger")
    assert held.tags["shardtune.reason"] == done.promotion.reason


def finetuning(recipe_name: str, place: Path, *more: str) -> list[str]:
    """The command of the recipe that `grounded` makes, under another name."""
    sets = (f"catalogue.uri={place / 'catalogue.json'}", *SMALL, f"name={recipe_name}", "promote=true", *more)
    return ["finetune", "--recipe", "gpt-4o-mini", *(part for one in sets for part in ("--set", one))]


def test_killed_before_its_alias_a_worse_model_never_is_champion(champion, place, tmp_path):
    more = ("export.style=describe", "seed=6")
    for moment in MOMENTS:
        killed(moment, tmp_path / moment, *finetuning("grounded", place, *more))
        assert aliases.champion("grounded") == "grounded/1"
    worse = grounded(place, "promote=true", *more)
    done = finetune(worse)
    assert (done.trained, done.promotion.alias, aliases.champion("grounded")) == (False, "challenger", "grounded/1")
    versions = ledger.client().search_model_versions("name = 'grounded'")
    assert sum(v.run_id == done.mlflow_run_id for v in versions) == 1
    assert ledger.client().get_run(done.promotion.comparison).info.status == "FINISHED"


@pytest.mark.long
def test_a_better_model_that_was_killed_before_its_alias_is_champion_after(place, tmp_path):
    more = ("export.style=grounded", "seed=9")
    for moment in MOMENTS[1:]:
        killed(moment, tmp_path / moment, *finetuning("later", place, *more))
        assert aliases.champion("later") is None
    assert [int(v.version) for v in ledger.client().search_model_versions("name = 'later'")] == [1]
    done = finetune(grounded(place, "name=later", "promote=true", "seed=9"))
    assert (done.trained, done.promotion.alias, aliases.champion("later")) == (False, "champion", "later/1")
    with pytest.raises(AnswerError, match="nothing to go back to"):
        rollback("later")


def test_the_sweep_promotes_what_nobody_waits_for(place):
    wanted = grounded(place, "name=unattended", "promote=true", "seed=10")
    assert finetune(wanted, wait=False).state in ("running", "waiting")
    for _ in range(200):
        if aliases.champion("unattended"):
            break
        sweep()
    assert aliases.champion("unattended") == "unattended/1"


def test_a_sweep_killed_while_it_promotes_is_finished_by_the_next_one(place, tmp_path):
    done = finetune(grounded(place, "name=swept", "promote=true", "seed=11"), wait=False)
    known = ledger.known(done.key)
    while get_backend(known.link.tune).status(known.job).state not in ENDED:
        time.sleep(0.05)
    killed("settle", tmp_path / "still", "sweep")
    assert aliases.champion("swept") is None
    assert [(s.key, s.concluded) for s in sweep()] == [(done.key, True)]
    assert aliases.champion("swept") == "swept/1"
    assert sweep() == ()


def forgetful(place: Path, then: str, seed: int) -> Recipe:
    more = (f"seed={seed}", "chain=true", "shards=[0, 1, 2]", f"forgetting={{questions: 3, bound: 5, then: {then}}}")
    return recipe(place, f"name=chain-{then}", *more)


SCORES = {(0, 0): 20.0, (1, 0): 10.0, (1, 1): 30.0, (2, 0): 19.0, (2, 1): 12.0, (2, 2): 25.0}


@pytest.fixture
def forgetting_scores(monkeypatch):
    def score(recipe, prepared, asked, taught):
        return (SCORES[asked[0].train[0].shard, taught.train[0].shard],) * 20

    monkeypatch.setattr(forgetting, "_score", score)


def test_a_chain_that_forgets_too_much_goes_on_from_the_link_before(place, forgetting_scores):
    done = finetune(forgetful(place, "branch", 21))
    (last,) = runs(done.key)
    first = last.data.tags["shardtune.parent"]
    matrix = ledger.read(done.mlflow_run_id, "forgetting.json")
    assert matrix["kept"] == [True, False, True] and matrix["keys"][0] == first
    assert matrix["scores"] == [[20.0], [10.0, 30.0], [19.0, 12.0, 25.0]]
    assert "forgetting.png" in {a.path for a in ledger.client().list_artifacts(done.mlflow_run_id)}
    assert last.data.metrics["worst_drop"] == 1.0
    assert finetune(forgetful(place, "branch", 21)).trained is False


def test_or_it_stops_and_says_why(place, simulators, forgetting_scores):
    before = serve.seen(simulators.state)["creates"]["openai"]
    with pytest.raises(TrainingError, match=r"forgets shard 0 by 10\.0 chrF points .* 20 questions \(bound 5\)"):
        finetune(forgetful(place, "stop", 22))
    assert serve.seen(simulators.state)["creates"]["openai"] == before + 2


def test_a_sweep_tells_it_once(place, forgetting_scores):
    assert finetune(forgetful(place, "stop", 24), wait=False).state in ("running", "waiting")
    told: list[str] = []
    for _ in range(200):
        told += [found.detail for found in sweep()]
        if any("forgets shard 0" in text for text in told):
            break
    assert "forgets shard 0" in told[-1] and sweep() == ()


def test_what_a_chain_remembers_is_really_asked(place):
    done = finetune(recipe(place, "name=asked", "seed=23", "chain=true", "shards=[0, 1]", "forgetting.bound=100"))
    matrix = ledger.read(done.mlflow_run_id, "forgetting.json")
    assert [len(row) for row in matrix["scores"]] == [1, 2] and all(
        0 < s < 100 for row in matrix["scores"] for s in row
    )


def test_near_duplicates_are_told_in_the_run(champion):
    overlap = ledger.read(champion.mlflow_run_id, "overlap.json")
    assert overlap["trained"] > 0 and overlap["held"] > 0
    assert ledger.client().get_run(champion.mlflow_run_id).data.tags["near_duplicates"] == str(overlap["near"])


def test_the_registered_model_of_a_provider_answers_with_sources(champion, place):
    known = answered(compare(("base", "champion"), grounded(place)).mlflow_run_id)
    mlflow.set_tracking_uri(settings.tracking_uri())
    served = mlflow.pyfunc.load_model("models:/grounded@champion")
    asked = [known["question"], "What is the Plutonium Toaster 9000?"]
    first, second = map(json.loads, served.predict(asked, params={"checked": True}))
    assert (first["state"], second["state"]) == ("answered", "none")
    assert first["source"]["title"] == titles(place)[str(known["uid"])]


@pytest.fixture
def served(champion) -> Iterator[str]:
    """`mlflow models serve` of the champion, as the README starts it; its address."""
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        port = place.getsockname()[1]
    scripts = Path(sys.executable).parent  # mlflow looks for uvicorn on the path
    call = [scripts / "mlflow", "models", "serve", "--model-uri", "models:/grounded@champion"]
    call += ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)]
    env = {"MLFLOW_TRACKING_URI": settings.tracking_uri(), "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}
    process = subprocess.Popen(call, env=os.environ | env, start_new_session=True)
    try:
        while True:
            assert process.poll() is None
            with contextlib.suppress(httpx.ConnectError):
                if httpx.get(f"http://127.0.0.1:{port}/ping").is_success:
                    break
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/invocations"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_it_answers_over_http_from_mlflow_models_serve(served, place):
    known = answered(compare(("base", "champion"), grounded(place)).mlflow_run_id)
    asked = {"inputs": [known["question"], "What is the Plutonium Toaster 9000?"], "params": {"checked": True}}
    told = httpx.post(served, json=asked, timeout=None).json()["predictions"]
    first, second = map(json.loads, told)
    assert (first["state"], first["problems"]) == ("answered", [])
    assert first["source"]["title"] == titles(place)[str(known["uid"])]
    assert first["source"]["quote"].startswith(first["text"].removesuffix("[simulated]").strip()[:40])
    assert (second["state"], second["source"]) == ("none", None)
    alone = httpx.post(served, json={"inputs": asked["inputs"][:1]}, timeout=None).json()["predictions"]
    assert len(alone) == 1 and "{" not in alone[0]


def test_the_guard_counts_every_group(champion, place):
    compared = compare(("base", "champion"), grounded(place))
    assert compared.said("champion with rows", "base with rows", GUARD).questions == 36


def test_a_model_tells_where_it_comes_from(champion):
    found = lineage.explain("grounded@champion")
    (link,) = found.links
    (shard,) = link.shards
    assert (link.key, link.job, link.model) == (champion.key, champion.job, champion.model)
    assert shard["lines"] == shard["kept"] + sum(shard["dropped"].values()) + shard["quarantined"] == 600
    assert {e.split for e in link.exports} == {"train", "holdout"} and all(e.digest for e in link.exports)
    assert any("better by 'answered in own checked words'" in verdict for verdict in found.verdicts)
    assert [(v.name, v.aliases) for v in found.versions] == [("grounded/1", ("champion",))]
    assert link.cost["usd"] > 0


def test_who_was_trained_on_a_product_and_who_goes_on_from_it(champion, place):
    last = finetune(recipe(place, "name=asked", "seed=23", "chain=true", "shards=[0, 1]", "forgetting.bound=100"))
    first = lineage.explain(last.key).links[0]
    assert [link.key for link in lineage.explain(last.key).links] == [first.key, last.key]
    (train,) = [e for e in first.exports if e.split == "train"]
    uid = pq.read_table(train.rows_uri)["uid"][4].as_py()
    told = {one.key: one for one in lineage.who_trained_on(uid)}
    assert (told[first.key].example, told[first.key].heirs, told[first.key].shard) == (5, (last.key,), 0)
    assert last.key not in told and "grounded/1" in {v.name for v in told[champion.key].versions}
    assert lineage.who_trained_on("nobody") == ()


def test_exports_come_out_bit_for_bit_the_same(champion, place):
    found = reproduce("grounded@champion")
    assert found.errors == 0 and len(found.exports) == 2 and found.links == {champion.key: True}


def test_a_catalogue_that_is_another_one_now_is_told(champion, place):
    path = place / "catalogue.json"
    whole = path.read_bytes()
    try:
        path.write_bytes(whole.replace(b"steel", b"stale"))
        found = reproduce("grounded@champion")
    finally:
        path.write_bytes(whole)
    assert found.errors > 0 and found.links == {champion.key: False}
