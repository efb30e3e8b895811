"""What providers may answer, and rarely do: through the real SDKs, each a right state, a named error, or one line."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import google.auth.exceptions
import httpx
import openai
import pytest
from google.genai import types
from google.oauth2 import _client as google_tokens

from deployments.simulators import serve
from deployments.simulators.openai import azure, jobs, wording
from deployments.simulators.vertex import storage
from tasks.backends import calls, endpoint, get_backend, lifecycle, patience, room, uploads
from tasks.backends.contract import Answer, Decoding, Job, Link
from tasks.backends.gemini import client, status
from tasks.backends.gemini.backend import Gemini
from tasks.backends.openai import account, answers
from tasks.backends.openai import azure as deploy
from tasks.backends.openai.backend import OpenAI, _suffix
from tasks.core import errors
from tasks.core.errors import BackendError, NotReadyError, NotServedError, RecipeError, TransientError
from tasks.core.models import Message
from tasks.recipe.tuning import Deploy, OpenAITune
from tests.kit import paid
from tests.kit.contract import Memory

KINDS = ("openai", "gemini")
READ = {"openai": "openai.jobs.retrieve", "gemini": "vertex.get"}
CREATE = {"openai": "openai.jobs.create", "gemini": "vertex.tune"}
MADE = {"openai": "openai", "gemini": "vertex"}
TALK = [(Message(role="user", content="What is a tent?"),)]


@pytest.fixture(scope="module")
def provider_servers() -> Iterator[serve.Simulators]:
    with pytest.MonkeyPatch.context() as patch, paid.simulated(patch, speed=0.0) as simulators:
        yield simulators


@pytest.fixture
def simulators(provider_servers: serve.Simulators, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> serve.Simulators:
    """The simulators with nothing in them; their clock moves when a test says so."""
    for name, value in (provider_servers.environment | {"SHARDTUNE_BUCKET": provider_servers.bucket}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SHARDTUNE_ROOT", str(tmp_path / "root"))
    provider_servers.state.reset()
    return provider_servers


def link(place: Path, kind: str, **changes: object) -> Link:
    return paid.linked(place, paid.TUNES[kind], **changes)


def left(simulators: serve.Simulators, link: Link) -> list[str]:
    """Uploads for this link that no job uses."""
    return [name for name in paid.left_behind(simulators) if link.key in name]


def begun(simulators: serve.Simulators, place: Path, kind: str) -> tuple[OpenAI | Gemini, Job]:
    """A backend and a job of it whose time is over."""
    mine = link(place, kind)
    backend = get_backend(mine.tune)
    job = lifecycle.start(mine, backend, Memory()).job
    simulators.state.clock.advance(3_600)
    return backend, job


def fault(simulators: serve.Simulators, route: str, kind: str, when: str = "before", **more: object) -> None:
    simulators.state.faults.append({"route": route, "fault": kind, "when": when, "times": None, **more})


@pytest.mark.parametrize("kind", KINDS)
def test_a_job_has_succeeded_when_its_model_can_be_asked(kind, simulators, tmp_path, monkeypatch):
    backend, job = begun(simulators, tmp_path, kind)
    fault(simulators, READ[kind], "nameless", "answer")
    seen = backend.status(job)
    assert (seen.state, seen.model) == ("running", None) and "no name yet" in seen.detail
    monkeypatch.setattr(patience, "waited", lambda job, what: 3_600.0)
    seen = backend.status(job)
    assert (seen.state, seen.model) == ("failed", None) and "named no model" in seen.error
    simulators.state.faults.clear()
    assert backend.status(job).model  # the job is looked at again, not paid for again


def test_a_link_never_starts_from_the_base_where_its_parent_left_nothing(simulators, tmp_path):
    for kind in KINDS:
        orphan = link(tmp_path, kind, parent_key="a" * 32)
        with pytest.raises(BackendError, match="names no model to go on from"):
            lifecycle.start(orphan, get_backend(orphan.tune), Memory())
    left = orphan.model_copy(update={"parent": "projects/1/locations/us/endpoints/7"})
    with pytest.raises(BackendError, match="is no model to go on from"):
        lifecycle.start(left, get_backend(left.tune), Memory())
    assert set(simulators.state.creates.values()) == {0} and not simulators.state.files


ROUTES = {
    "openai": ("jobs.retrieve", "jobs.list", "jobs.create", "jobs.events", "files.create", "files.list", "chat"),
    "gemini": ("get", "list", "tune", "generate"),
}
WORK = {
    "find": lambda backend, link, job: backend.find("0" * 32),
    "submit": lambda backend, link, job: backend.submit(link),
    "status": lambda backend, link, job: backend.status(job),
    "answer": lambda backend, link, job: backend.answer(None, link.tune, TALK, Decoding()),
    "check": lambda backend, link, job: backend.check(link),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_of_a_proxy_is_no_answer_on_any_route(kind, simulators, tmp_path):
    backend, job = begun(simulators, tmp_path, kind)
    mine, seen = link(tmp_path, kind), set()
    for number, route in enumerate(ROUTES[kind]):
        mine = mine.model_copy(update={"seed": 100 + number})  # a key whose files were not sent yet
        fault(simulators, f"{MADE[kind]}.{route}", "html")
        for name, work in WORK.items():
            try:
                work(backend, mine, job)
            except TransientError as error:
                assert "not in the" in str(error) and "\n" not in str(error), error
                seen.add((route, name))
        simulators.state.faults.clear()
    assert {route for route, _ in seen} == set(ROUTES[kind])


@pytest.mark.parametrize("status", [400, 401, 403, 404])
@pytest.mark.parametrize("kind", KINDS)
def test_a_page_that_refuses_is_no_answer_of_the_provider_either(kind, status, simulators, tmp_path, monkeypatch):
    backend, job = begun(simulators, tmp_path, kind)
    fault(simulators, READ[kind], "html", status=status)
    with pytest.raises(TransientError, match="not in the"):
        lifecycle.look(backend, job)
    monkeypatch.setattr(lifecycle, "LOOKS", 2)
    mine = link(tmp_path, kind, seed=200)
    simulators.state.faults.append(
        {"route": CREATE[kind], "fault": "html", "when": "after", "times": 1, "status": status}
    )
    made = simulators.state.creates[MADE[kind]]
    lifecycle.start(mine, backend, Memory())
    assert simulators.state.creates[MADE[kind]] == made + 1


def test_what_is_deleted_cancelled_or_offered_is_so_by_an_answer_and_not_by_a_page(simulators, tmp_path):
    backend, job = begun(simulators, tmp_path, "openai")
    simulators.state.clock.advance(-3_600)
    mine = link(tmp_path, "openai", seed=300)
    for upload in uploads.of_link(mine, 5_000):
        backend._sent(upload)
    for route in ("files.delete", "models.retrieve", "jobs.cancel"):
        fault(simulators, f"openai.{route}", "html")
    gemini, tuning = begun(simulators, tmp_path, "gemini")
    simulators.state.clock.advance(-3_600)
    fault(simulators, "vertex.cancel", "html")
    works = (lambda: backend.tidy(mine), lambda: backend.check(mine), lambda: backend.cancel(job))
    for work in (*works, lambda: gemini.cancel(tuning)):
        with pytest.raises(TransientError, match="not in the"):
            work()


def test_an_endpoint_that_knows_no_method_gets_hyperparameters_at_the_top(simulators, tmp_path, monkeypatch):
    mine, asked, create = link(tmp_path, "openai"), [], jobs.FineTuningJobs.create

    def old(shop: jobs.FineTuningJobs, body: dict[str, Any]) -> dict[str, Any]:
        asked.append(body)
        if "method" in body:
            raise wording.refuse(400, "unknown_parameter", "Unknown parameter: 'method'.", None, "method")
        return create(shop, body)

    monkeypatch.setattr(jobs.FineTuningJobs, "create", old)
    lifecycle.start(mine, get_backend(mine.tune), Memory())
    assert [("method" in body, body.get("hyperparameters")) for body in asked] == [
        (True, None),
        (False, {"n_epochs": 3, "batch_size": 8}),
    ]
    assert asked[1]["metadata"] and len(simulators.state.jobs) == 1


def test_what_was_chosen_is_never_left_out(simulators, tmp_path):
    mine = link(tmp_path, "openai")
    for name in ("method", "hyperparameters"):
        message = f"Unknown parameter: '{name}'."
        simulators.state.faults.append(
            {"route": CREATE["openai"], "fault": "status", "status": 400, "message": message, "times": 1}
        )
    with pytest.raises(BackendError, match="hyperparameters"):
        lifecycle.start(mine, get_backend(mine.tune), Memory())
    assert not simulators.state.jobs and not left(simulators, mine)


def test_a_check_makes_no_create_call_whatever_it_names(simulators, tmp_path):
    for kind in KINDS:
        mine = link(tmp_path, kind)
        assert not [f for f in get_backend(mine.tune).check(mine) if f.level == "error"]
    asked = [r["route"] for r in simulators.state.requests]
    assert "openai.jobs.list" in asked and not {*CREATE.values(), "openai.files.create"} & {*asked}
    fault(simulators, "openai.jobs.list", "status", status=403, message="Missing scopes: api.fine_tuning")
    mine = link(tmp_path, "openai")
    (found,) = (f for f in get_backend(mine.tune).check(mine) if f.rule == "account")
    assert found.level == "error" and "Missing scopes" in found.message


def test_two_reads_of_a_page_of_a_proxy_are_one_job(simulators, tmp_path, monkeypatch):
    monkeypatch.setattr(lifecycle, "LOOKS", 2)
    for kind in KINDS:
        mine = link(tmp_path, kind)
        simulators.state.faults.append({"route": CREATE[kind], "fault": "html", "when": "after", "times": 1})
        lifecycle.start(mine, get_backend(mine.tune), Memory())
        assert simulators.state.creates[MADE[kind]] == 1 and not left(simulators, mine)


@pytest.mark.parametrize("refused", ["metadata", "seed", "suffix"])
def test_a_field_that_an_endpoint_does_not_know_is_left_out(refused, simulators, tmp_path):
    mine = link(tmp_path, "openai")
    message = f"[{{'loc': ['body', '{refused}'], 'msg': 'Extra inputs are not permitted'}}]"  # as pydantic says it
    simulators.state.faults.append(
        {"route": CREATE["openai"], "fault": "status", "status": 422, "message": message, "times": 1}
    )
    job = lifecycle.start(mine, get_backend(mine.tune), Memory()).job
    (made,) = simulators.state.jobs.values()
    name = {"suffix": "user_provided_suffix"}.get(refused, refused)
    assert made["id"] == job.id and not made[name]
    assert get_backend(mine.tune).find(mine.key) == job


def test_an_endpoint_without_some_routes_is_an_endpoint(simulators, tmp_path):
    for route in ("jobs.events", "models.retrieve", "models.list", "jobs.checkpoints"):
        fault(simulators, f"openai.{route}", "status", status=404)
    backend, job = begun(simulators, tmp_path, "openai")
    assert not [f for f in backend.check(link(tmp_path, "openai")) if f.level == "error"]
    seen = backend.status(job)
    assert seen.state == "succeeded" and seen.points and "not available here" in seen.facts["events"]
    simulators.state.faults.clear()
    fault(simulators, "openai.models.retrieve", "status", status=404)
    assert "model" in {f.rule for f in backend.check(link(tmp_path, "openai"))}  # it lists others, so it knows


def test_a_list_that_is_late_never_costs_a_file_or_a_second_job(simulators, tmp_path, monkeypatch):
    monkeypatch.setattr(lifecycle, "LOOKS", 1)
    for kind in KINDS:
        route = "openai.jobs.list" if kind == "openai" else "vertex.list"
        fault(simulators, route, "late", "late")
        mine, ledger = link(tmp_path, kind), Memory()
        backend = get_backend(mine.tune)
        first = lifecycle.start(mine, backend, ledger).job
        assert lifecycle.start(mine, backend, ledger).job == first
        assert simulators.state.creates[MADE[kind]] == 1 and not left(simulators, mine)
        sent = len([f for f in simulators.state.files.values() if f["purpose"] == "fine-tune"])
        assert (sent or len([uri for uri in simulators.objects if mine.key in uri])) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_start_that_died_at_its_create_call_is_looked_for_with_patience(kind, simulators, tmp_path, monkeypatch):
    mine, ledger = link(tmp_path, kind), Memory()
    backend = get_backend(mine.tune)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(type(backend), "_job", killed)
        lifecycle.start(mine, backend, ledger)
    found, looks = backend.find, iter([None] * 3)
    monkeypatch.setattr(type(backend), "find", lambda backend, key: next(looks, backend) and found(key))
    lifecycle.start(mine, backend, ledger)
    assert simulators.state.creates[MADE[kind]] == 1
    assert calls.last(mine.key).state == "answered"


def killed(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_job_in_another_region_keeps_what_it_reads(simulators, tmp_path):
    mine = link(tmp_path, "gemini")
    backend = get_backend(mine.tune)
    fault(simulators, CREATE["gemini"], "status", status=403, message="not allowed")
    backend.tidy, tidy = (lambda *_: None), backend.tidy  # type: ignore[method-assign]
    with pytest.raises(BackendError):
        lifecycle.start(mine, backend, Memory())
    simulators.state.faults.clear()
    objects = [uri for uri in simulators.objects if mine.key in uri]
    elsewhere = client.client(mine.tune, "europe-west4", attempts=1)
    elsewhere.tunings.tune(
        base_model=mine.base_model,
        training_dataset=types.TuningDataset(gcs_uri=next(uri for uri in objects if "heldout" not in uri)),
        config=types.CreateTuningJobConfig(epoch_count=1),
    )
    tidy(mine)
    kept = [uri for uri in simulators.objects if mine.key in uri]
    assert len(objects) == 2 and kept == [uri for uri in objects if "heldout" not in uri]


def test_what_no_job_reads_is_removed_beside_what_one_reads(simulators, tmp_path):
    mine = link(tmp_path, "gemini")
    other = link(tmp_path, "gemini", seed=8)
    backend = get_backend(mine.tune)
    old = f"{simulators.bucket}/{uploads.stem(mine.key)}-heldout-99.jsonl"
    theirs = [f"{simulators.bucket}/{uploads.stem(other.key)}.jsonl", f"{simulators.bucket}/theirs.jsonl"]
    for uri in (old, *theirs):
        storage.write(os.environ["STORAGE_EMULATOR_HOST"], uri, b"{}")
    simulators.state.faults.append({"route": "vertex.list", "fault": "late", "when": "late", "times": None})
    job = lifecycle.start(mine, backend, Memory()).job
    kept = [uri for uri in simulators.objects if mine.key in uri]
    assert len(kept) == 2 and old not in kept and not left(simulators, mine)
    backend.tidy(mine, job)
    assert {*kept, *theirs} <= {*simulators.objects}


def test_what_a_provider_still_prepares_is_waited_for_and_nothing_is_removed(simulators, tmp_path):
    words = {
        "openai": "File 'file-1' is still being processed and is not ready to be used for fine-tuning.",
        "gemini": "Service agents are being provisioned (https://cloud.google.com/vertex-ai/docs/general/access-control"
        "#service-agents). Service agents are needed to read the Cloud Storage file provided. So please try again in "
        "a few minutes.",
    }
    for kind in KINDS:
        mine = link(tmp_path, kind)
        refused = {"fault": "status", "status": 400, "message": words[kind], "times": 1}
        simulators.state.faults.append({"route": CREATE[kind], **refused})
        with pytest.raises(NotReadyError) as waits:
            lifecycle.start(mine, get_backend(mine.tune), Memory())
        soon = datetime.fromisoformat(waits.value.until) - datetime.now(UTC)
        assert soon.total_seconds() < 5 and left(simulators, mine)
        lifecycle.start(mine, get_backend(mine.tune), Memory())
        assert simulators.state.creates[MADE[kind]] == 1 and not left(simulators, mine)
    sent = [r for r in simulators.state.requests if r["route"] == "openai.files.create"]
    assert len(sent) == 2  # training and held-out rows, once each


def test_a_file_that_an_endpoint_does_not_see_yet_is_waited_for(simulators, tmp_path):
    mine = link(tmp_path, "openai")
    refused = {"fault": "status", "status": 400, "message": "invalid training_file: file-000001 does not exist"}
    simulators.state.faults.append({"route": CREATE["openai"], **refused, "times": 1})
    simulators.state.faults.append({"route": "openai.files.list", "fault": "status", "status": 422, "times": 1})
    with pytest.raises(NotReadyError, match="does not know yet the files"):
        lifecycle.start(mine, get_backend(mine.tune), Memory())
    lifecycle.start(mine, get_backend(mine.tune), Memory())
    assert simulators.state.creates["openai"] == 1 and not left(simulators, mine)


def test_why_a_job_failed_is_in_its_events_where_its_error_is_empty(simulators, tmp_path):
    simulators.state.faults.append({"route": CREATE["openai"], "fault": "silent", "when": "mode", "times": 1})
    backend, job = begun(simulators, tmp_path, "openai")
    seen = backend.status(job)
    assert seen.state == "failed" and "unsafe training file" in seen.error


TIMES = [(1_763_770_000, "2025-11-22T00:06:40+00:00"), ("1763770000.0", "2025-11-22T00:06:40+00:00")]
TIMES += [(1_763_770_000_000, "2025-11-22T00:06:40+00:00"), ("2025-11-22T00:06:40Z", "2025-11-22T00:06:40+00:00")]
TIMES += [(told, "1970-01-01T00:00:00+00:00") for told in (None, "", "soon", 1e300, -1, [], {})]


@pytest.mark.parametrize(("told", "read"), TIMES)
def test_a_time_in_any_shape_costs_no_second_job(told, read, simulators, tmp_path, monkeypatch):
    shown = jobs.FineTuningJobs.shown
    monkeypatch.setattr(jobs.FineTuningJobs, "shown", lambda shop, job: shown(shop, job) | {"created_at": told})
    heard = jobs.FineTuningJobs.events
    timeless = lambda shop, job: [event | {"created_at": told} for event in heard(shop, job)]  # noqa: E731
    monkeypatch.setattr(jobs.FineTuningJobs, "events", timeless)
    backend, job = begun(simulators, tmp_path, "openai")
    assert job.submitted_at == read and backend.find(job.key) == job
    seen = backend.status(job)
    assert seen.state == "succeeded" and {event.at for event in seen.events} == {read}
    assert simulators.state.creates["openai"] == 1


@pytest.mark.parametrize(("told", "billed"), [(0, None), ("1700", 1_700), ("1700.0", 1_700), (None, None), ("", None)])
def test_a_bill_is_a_number_or_unknown(told, billed, simulators, tmp_path, monkeypatch):
    backend, job = begun(simulators, tmp_path, "openai")
    shown = jobs.FineTuningJobs.shown
    monkeypatch.setattr(jobs.FineTuningJobs, "shown", lambda shop, job: shown(shop, job) | {"trained_tokens": told})
    seen = backend.status(job)
    assert (seen.state, seen.billed_tokens, "billed_usd" in seen.facts) == ("succeeded", billed, billed is not None)


def test_events_are_read_where_fewer_are_listed_at_once(simulators, tmp_path):
    backend, job = begun(simulators, tmp_path, "openai")
    simulators.state.faults.append({"route": "openai.jobs.events", "fault": "status", "status": 400, "times": 1})
    seen = backend.status(job)
    assert seen.events and "events" not in seen.facts


def test_a_status_of_another_shape_is_no_raw_error(simulators, tmp_path, monkeypatch):
    backend, job = begun(simulators, tmp_path, "openai")
    shown = jobs.FineTuningJobs.shown
    monkeypatch.setattr(
        jobs.FineTuningJobs, "shown", lambda shop, job: shown(shop, job) | {"fine_tuned_model": {"name": "m"}}
    )
    with pytest.raises(TransientError, match="not in the provider's format"):
        backend.status(job)


NAMED = [
    ("the file's name", lambda job: job | {"training_file": f"shardtune-{job['key']}.jsonl"}),
    ("its address", lambda job: job | {"training_file": f"https://files.example/{job['training_file']}"}),
    ("one of two", lambda job: job | {"validation_file": None}),
    ("nothing", lambda job: job | {"training_file": None}),
]


@pytest.mark.parametrize(("told", "shape"), NAMED)
def test_a_file_that_a_job_needs_is_kept_however_the_job_names_it(told, shape, simulators, tmp_path, monkeypatch):
    mine = link(tmp_path, "openai")
    backend, shown = get_backend(mine.tune), jobs.FineTuningJobs.shown

    def other(shop: jobs.FineTuningJobs, job: dict[str, object]) -> dict[str, object]:
        return {n: v for n, v in shape(shown(shop, job) | {"key": mine.key}).items() if n != "key"}

    monkeypatch.setattr(jobs.FineTuningJobs, "shown", other)
    job = lifecycle.start(mine, backend, Memory()).job
    backend.tidy(mine)
    backend.tidy(mine, job)
    assert len(simulators.state.files) == 2 and backend.find(mine.key) == job


SHOWN = ["ST-{0}", "st_{0}", "st-{0}-20261126", "my-st-{0}", "spring-{0}"]


@pytest.mark.parametrize("suffix", SHOWN)
@pytest.mark.parametrize("where", ["suffix", "fine_tuned_model"])
def test_a_job_is_found_by_a_suffix_that_the_endpoint_has_altered(suffix, where, simulators, tmp_path, monkeypatch):
    mine = link(tmp_path, "openai")
    backend, shown = get_backend(mine.tune), jobs.FineTuningJobs.shown
    name = suffix.format(mine.key[:12]) if where == "suffix" else f"gpt.ft-0-{suffix.format(mine.key[:12])}"
    bare = {"metadata": None, "user_provided_suffix": None, "fine_tuned_model": None}
    bare |= {"training_file": "other", "validation_file": None}
    monkeypatch.setattr(jobs.FineTuningJobs, "shown", lambda shop, job: shown(shop, job) | bare | {where: name})
    job = backend.submit(mine)
    assert backend.find(mine.key) == job and backend.find("0" * 32) is None
    child = {"model": name, "fine_tuned_model": f"{name}:st-{'0' * 12}:1", "suffix": f"st-{'0' * 12}"}
    monkeypatch.setattr(jobs.FineTuningJobs, "shown", lambda shop, job: shown(shop, job) | bare | child)
    assert backend.find(mine.key) is None and backend.find("0" * 32).id == job.id


def test_a_recipes_own_suffix_carries_the_key(simulators, tmp_path, monkeypatch):
    tune = paid.TUNES["openai"].model_copy(update={"suffix": "spring-" * 9})
    mine, shown = link(tmp_path, "openai", tune=tune), jobs.FineTuningJobs.shown
    bare = {"metadata": None, "fine_tuned_model": None, "training_file": "other", "validation_file": None}
    monkeypatch.setattr(jobs.FineTuningJobs, "shown", lambda shop, job: shown(shop, job) | bare)
    job = get_backend(tune).submit(mine)
    (made,) = simulators.state.jobs.values()
    assert made["user_provided_suffix"] == f"{tune.suffix[:51].rstrip('-')}-{mine.key[:12]}"
    assert get_backend(tune).find(mine.key) == job
    azure = _suffix(mine.key, tune.suffix, 18)
    assert azure == f"sprin-{mine.key[:12]}"


def test_a_list_of_few_jobs_at_once_and_files_of_another_name(simulators, tmp_path):
    mine = link(tmp_path, "openai")
    backend = get_backend(mine.tune)
    job = backend.submit(mine)
    for file in simulators.state.files.values():
        file["filename"] = f"upload/{file['filename'].upper()}"
    for made in simulators.state.jobs.values():
        made |= {"metadata": None, "user_provided_suffix": None, "fine_tuned_model": None}
    simulators.state.faults.append({"route": "openai.jobs.list", "fault": "status", "status": 400, "times": 2})
    assert backend.find(mine.key) == job
    backend.tidy(mine)
    assert len(simulators.state.files) == 2


def test_a_file_that_is_not_found_yet_is_looked_for_again(simulators, tmp_path, monkeypatch):
    made = openai.resources.files.Files.create
    pending = lambda files, **of: made(files, **of).model_copy(update={"status": "pending"})  # noqa: E731
    monkeypatch.setattr(openai.resources.files.Files, "create", pending)
    simulators.state.faults.append({"route": "openai.files.retrieve", "fault": "status", "status": 404, "times": 1})
    mine = link(tmp_path, "openai")
    assert lifecycle.start(mine, get_backend(mine.tune), Memory()).job
    assert simulators.state.creates["openai"] == 1


def test_a_chain_goes_on_from_the_last_checkpoint_in_any_order():
    made = [types.TunedModelCheckpoint(checkpoint_id=str(n), epoch=n, step=10 * n) for n in (1, 3, 2)]
    model = types.TunedModel(model="projects/1/locations/us/models/2@1", endpoint="e", checkpoints=made)
    job = types.TuningJob(name="j", state=types.JobState.JOB_STATE_SUCCEEDED, tuned_model=model)
    seen = status.status(job, Job(key="0" * 32, backend="gemini", id="j", submitted_at=""), (0.0, 0.0))
    assert seen.continue_from == "projects/1/locations/us/models/2@1#3"


def test_a_last_day_told_in_words_says_nothing(simulators, tmp_path, monkeypatch):
    mine = link(tmp_path, "openai")
    backend, model = get_backend(mine.tune), openai.types.Model.construct(id="m", shutdown_date="in spring")
    monkeypatch.setattr(openai.resources.models.Models, "retrieve", lambda models, name: model)
    assert not [finding for finding in backend.check(mine) if finding.level == "error"]


def test_only_new_events_are_read(simulators, tmp_path):
    mine = paid.linked(tmp_path, paid.TUNES["openai"].model_copy(update={"epochs": 50, "batch_size": 1}))
    backend = get_backend(mine.tune)
    job = lifecycle.start(mine, backend, Memory()).job
    asked = []
    for seconds in (35, 0.05, 0.05, 3_600, 1):
        simulators.state.clock.advance(seconds)
        before = len(simulators.state.requests)
        seen = backend.status(job)
        asked.append(sum(r["route"] == "openai.jobs.events" for r in simulators.state.requests[before:]))
    assert asked[0] >= 3 and asked[1:3] == [1, 1] and asked[4] == 1
    assert len(seen.points) == seen.steps == seen.step == len({e.id for e in seen.events if "Step" in e.message})
    assert seen.events == get_backend(mine.tune).status(job).events  # as read all at once


def test_a_pause_follows_the_pace_of_the_job():
    pace, seen = lifecycle.Pace((5.0, 120.0)), lifecycle.JobStatus
    assert pace.pause(seen(state="queued"), 0.0) == 5.0
    assert pace.pause(seen(state="queued"), 5.0) == 7.5
    assert pace.pause(seen(state="running", step=0, steps=1_000), 20.0) == 5.0
    assert pace.pause(seen(state="running", step=10, steps=1_000), 120.0) == 120.0  # 9,900 s are left
    assert pace.pause(seen(state="running", step=900, steps=1_000), 9_020.0) == pytest.approx(50.0)
    assert pace.pause(seen(state="running", step=999, steps=1_000), 10_010.0) == 5.0


def test_answers_that_are_cut_or_empty_have_more_room_once_and_are_told(simulators, tmp_path, caplog):
    fault(simulators, "openai.chat", "cut", "answer", tokens=30)
    fault(simulators, "vertex.generate", "thought", "answer", tokens=30)
    for kind in KINDS:
        tune = paid.TUNES[kind]
        (said,) = get_backend(tune).answer(None, tune, TALK, Decoding(max_new_tokens=20))
        assert [(a.finish, bool(a.text), a.decoding.max_new_tokens) for a in said] == [("stop", True, 80)]
        (said,) = get_backend(tune).answer(None, tune, TALK, Decoding(max_new_tokens=5))
        assert [(a.text, a.decoding.max_new_tokens) for a in said] == [("", 5)]
        assert said[0].finish in room.CUT and "are empty or cut" in caplog.text
        caplog.clear()
    simulators.state.faults.clear()
    fault(simulators, "openai.chat", "no_choice", "answer")
    (said,) = get_backend(paid.TUNES["openai"]).answer(None, paid.TUNES["openai"], TALK, Decoding())
    assert (said[0].text, said[0].finish) == ("", "no choice") and "no choice 1" in caplog.text


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_object_is_no_answer(kind, simulators, tmp_path):
    backend, job = begun(simulators, tmp_path, kind)
    asked = READ[kind], ("openai.chat" if kind == "openai" else "vertex.generate"), CREATE[kind]
    for route, name in zip(asked, ("status", "answer", "submit"), strict=True):
        simulators.state.faults = [{"route": route, "fault": "empty", "times": None}]
        with pytest.raises(TransientError, match="not in the"):
            WORK[name](backend, link(tmp_path, kind, seed=98), job)


@pytest.mark.parametrize("field", ["seed", "temperature", "max_tokens"])
def test_a_question_is_asked_without_what_the_endpoint_does_not_know(field, simulators):
    backend = get_backend(paid.TUNES["openai"])
    message = f"Unsupported parameter: '{field}' is not supported with this model."
    fault(simulators, "openai.chat", "status", status=400, message=message)
    simulators.state.faults[-1]["times"] = 1
    ((answer,),) = backend.answer(None, paid.TUNES["openai"], TALK, Decoding())
    assert answer.text and answer.decoding.temperature == (1.0 if field == "temperature" else 0.0)


def test_an_answer_in_parts_is_an_answer():
    parts = [{"type": "text", "text": "A "}, {"type": "text", "text": "tent."}, {"type": "image"}]
    told = {"id": "c", "choices": [{"message": {"role": "assistant", "content": parts}}]}
    answer = answers._answer(openai.types.chat.ChatCompletion.construct(**told), "m", Decoding())
    assert answer.text == "A tent."


def test_a_blocked_answer_is_not_asked_again():
    asked = []

    def ask(decoding):
        asked.append(decoding.max_new_tokens)
        return Answer(
            text="", decoding=decoding, model_version="m", prompt_hash="", prompt_tokens=1, answer_tokens=0, seconds=0,
            finish="safety",
        )  # fmt: skip

    assert room.given(ask, Decoding()).finish == "safety" and len(asked) == 1


AZURE = Deploy(subscription="s", resource_group="g", account="a")


def test_azures_token_is_fetched_when_it_is_needed(simulators, monkeypatch):
    """By a managed identity: the address and header that App Service gives, and azure-identity reads."""
    simulators.state.models["ft:m"] = {"pairs": {}}
    there = AZURE.model_copy(update={"management_url": f"{simulators.address}/azure/management"})
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"{simulators.address}/azure/identity")
    monkeypatch.setenv("IDENTITY_HEADER", azure.IDENTITY)
    for token in (None, "an-hour-old"):
        monkeypatch.delenv("AZURE_MANAGEMENT_TOKEN") if token is None else monkeypatch.setenv(
            "AZURE_MANAGEMENT_TOKEN", token
        )
        simulators.state.deployments.clear()
        simulators.state.faults.append(
            {"route": "azure.deployment", "fault": "status", "status": 503, "times": 1, "skip": 1}
        )
        monkeypatch.setattr(deploy.time, "sleep", lambda seconds: simulators.state.clock.advance(30))
        assert deploy.deployed(there, "ft:m", (0.0, 0.0)) in simulators.state.deployments
    fault(simulators, "azure.deployment", "html")
    with pytest.raises(TransientError, match="not in Azure's format"):
        deploy.deployed(there, "ft:m", (0.0, 0.0))
    simulators.state.faults.clear()
    fault(simulators, "azure.deployment", "status", status=403, message="no role")
    with pytest.raises(BackendError, match=r"403 .*no role.*check subscription"):
        deploy.deployed(there, "ft:m", (0.0, 0.0))


def test_a_base_that_azure_does_not_serve_is_told_and_one_that_it_does_is_asked(simulators):
    there = {"base_model": "gpt-4o-mini-2024-07-18", "base_url": simulators.azure, "key_variable": "AZURE_API_KEY"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AZURE_API_KEY", serve.KEY)
        for tune in (OpenAITune(**there, deploy=AZURE), OpenAITune(**there)):
            with pytest.raises(NotServedError, match="base model"):
                get_backend(tune).answer(None, tune, TALK, Decoding())
        simulators.state.deployments["mini"] = {"model": "m", "_model": "gpt-4o-mini-2024-07-18", "_began": 0.0}
        tune = OpenAITune(**there, deploy=AZURE.model_copy(update={"base": "mini"}))
        assert get_backend(tune).answer(None, tune, TALK, Decoding())[0][0].text


@pytest.mark.parametrize(
    ("body", "retryable", "kind", "told"),
    [
        ({"error": "invalid_grant", "error_description": "Invalid JWT: Token must be a short-lived token (60 min)"
          " and in a reasonable timeframe. Check your iat and exp values in the JWT claim."},
         False, BackendError, "clock"),
        ({"error": "invalid_grant", "error_description": "Token has been expired or revoked."}, False, BackendError,
         "expired or revoked.*gcloud auth"),
        ({"error": "invalid_grant", "error_description": "Invalid grant: account not found"}, False, BackendError,
         "account not found.*gcloud auth"),
        ("Service Unavailable", True, TransientError, "cannot answer now: Service Unavailable"),
    ],
)  # fmt: skip
def test_googles_own_words_about_credentials_are_kept(body, retryable, kind, told):
    with pytest.raises(google.auth.exceptions.RefreshError) as refused:
        google_tokens._handle_error_response(body, retryable)
    error = client.of_login(refused.value, "asking")
    assert type(error) is kind
    with pytest.raises(kind, match=told):
        raise error


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("OPENAI_API_KEY", "sk-one\n", "the key in OPENAI_API_KEY holds a line break"),
        ("OPENAI_API_KEY", "sk-schlüssel", "a character that is not ASCII"),
        ("OPENAI_BASE_URL", "localhost:8700/v1", "is not a web address: write it as https://"),
        ("OPENAI_BASE_URL", "https://me:hush@host/v1", "contains a password"),
        ("OPENAI_BASE_URL", "http://127.0.0.1:99999/v1", "is not a web address"),
        ("SSL_CERT_FILE", "/nowhere/ca.pem", "SSL_CERT_FILE = '/nowhere/ca.pem' does not exist"),
        ("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem", "REQUESTS_CA_BUNDLE = '/nowhere/ca.pem' does not exist"),
        ("OPENAI_ORG_ID", "org\nx", "line breaks in the variables that begin with OPENAI_"),
    ],
)
def test_a_wrong_setting_is_one_line_that_says_what_to_do(name, value, told, simulators, monkeypatch):
    monkeypatch.setenv(name, value)
    with pytest.raises((BackendError, RecipeError)) as refused:
        backend = get_backend(paid.TUNES["openai"])
        backend.client.max_retries = 0
        backend.find("0" * 32)
    line = str(refused.value)
    assert told in line and "\n" not in line and "hush" not in line and "schl" not in line, line


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"HTTPS_PROXY": "http://me:hush@127.0.0.1:9"}, "the proxy does not answer (HTTPS_PROXY = 'http://***@127.0.0.1:9'"),
        ({}, "no answer"),
    ],
)  # fmt: skip
def test_a_dead_proxy_is_told_from_no_answer(variables, told, monkeypatch):
    for name in endpoint._PROXIES:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(httpx.ConnectError) as failed:
        httpx.get("https://127.0.0.1:9/", timeout=2)
    assert told in endpoint.unanswered(failed.value)


def test_certificates_named_for_one_library_count_for_all(tmp_path, monkeypatch):
    named = tmp_path / "ca.pem"
    named.write_text("")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(named))
    monkeypatch.setenv("SSL_CERT_FILE", "")
    endpoint.trusting()
    assert endpoint.os.environ["SSL_CERT_FILE"] == str(named)
    error = openai.APIConnectionError(request=None)  # type: ignore[arg-type]
    error.__cause__ = httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed")
    assert "set SSL_CERT_FILE" in endpoint.unanswered(error)


def test_the_whole_file_is_measured_not_its_parts(simulators, tmp_path, monkeypatch):
    mine = link(tmp_path, "openai")
    size = sum(Path(e.uri).stat().st_size for e in mine.train)
    twice = mine.model_copy(update={"train": mine.train * 2})
    monkeypatch.setattr(uploads.rules, "limits", lambda: {"openai": {"bytes": size + 1}})
    assert uploads.findings(mine, "openai") == []
    (found,) = (f for f in account.findings(get_backend(mine.tune), twice) if f.rule == "size")
    assert found.level == "error" and f"{2 * size:,}" in found.message


def test_an_error_shows_no_secret():
    for error in (errors.CatalogueError, errors.RecipeError, errors.BackendError):
        told = str(error("https://me:hush@host/x?X-Amz-Signature=hush&part=1 and s3://A:hush@bucket/key"))
        assert "hush" not in told and "part=1" in told and "bucket/key" in told
