"""The simulators, asked by the real SDKs: they check what they are sent, move by the clock, and say who they are."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import openai
import pytest

from deployments.simulators import serve
from tests.kit import paid

LINE = {
    "messages": [{"role": "user", "content": "What is a drum?"}, {"role": "assistant", "content": "A drum of 7 l."}]
}
GOOD = b"".join(json.dumps(LINE | {"n": n}).encode() + b"\n" for n in range(12))
BASE = "gpt-4o-mini-2024-07-18"


@pytest.fixture
def simulators(monkeypatch: pytest.MonkeyPatch) -> Iterator[serve.Simulators]:
    with paid.simulated(monkeypatch, speed=0.0) as running:  # the clock moves when the test says so
        yield running


@pytest.fixture
def client(simulators) -> openai.OpenAI:
    return openai.OpenAI(max_retries=0)


def job(client, data: bytes = GOOD, **changes):
    file = client.files.create(file=("a.jsonl", data), purpose="fine-tune")
    return client.fine_tuning.jobs.create(model=BASE, training_file=file.id, **changes)


def test_a_job_moves_through_its_states_by_the_clock(simulators, client):
    made, seen = job(client), []
    for _ in range(5):
        seen.append(client.fine_tuning.jobs.retrieve(made.id).status)
        simulators.state.clock.advance(10.05)
    assert seen == ["validating_files", "queued", "running", "succeeded", "succeeded"]
    done = client.fine_tuning.jobs.retrieve(made.id)
    assert done.error is not None and done.error.code is None  # as on healthy jobs of the provider
    assert done.hyperparameters.n_epochs == 3 and done.trained_tokens > 0
    told = [event.created_at for event in client.fine_tuning.jobs.list_events(made.id, limit=2)]
    assert told == sorted(told, reverse=True) and len(told) > 4


@pytest.mark.parametrize(
    ("data", "code"),
    [(GOOD[: GOOD.index(b"\n") + 1] * 9, "invalid_n_examples"), (GOOD + b"{", "invalid_training_file")],
)
def test_what_the_provider_would_refuse_fails_the_job(data, code, simulators, client):
    made = job(client, data)
    simulators.state.clock.advance(11)
    assert client.fine_tuning.jobs.retrieve(made.id).error.code == code


def test_a_file_that_is_not_there_and_a_number_out_of_range_are_refused(simulators, client):
    with pytest.raises(openai.BadRequestError, match="400"):
        client.fine_tuning.jobs.create(model=BASE, training_file="file-none")
    wild = {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 51}}}
    with pytest.raises(openai.BadRequestError) as refused:
        job(client, method=wild)
    assert refused.value.param == "n_epochs" and serve.seen(simulators.state)["creates"]["openai"] == 0


def test_the_sdks_own_retries_make_three_jobs_of_one_call(simulators, client):
    # Why the create call is made with max_retries=0: this is what happens otherwise.
    simulators.state.faults.append({"route": "openai.jobs.create", "fault": "lost", "when": "after", "times": None})
    with pytest.raises(openai.APIConnectionError):
        job(client.with_options(max_retries=2))
    assert serve.seen(simulators.state)["creates"]["openai"] == 3


def test_every_answer_says_that_a_simulator_gave_it(simulators, client):
    raw = client.fine_tuning.jobs.with_raw_response.list()
    assert raw.headers["x-shardtune-simulator"] == "openai"
    assert job(client).model_extra["simulator"] == "shardtune"
    told = client.chat.completions.create(model=BASE, messages=[{"role": "user", "content": "What is a drum?"}])
    assert told.choices[0].message.content.startswith("[simulated] ") and told.system_fingerprint == "fp_simulator"
    refused = httpx.get(f"{simulators.address}/vertex/v1beta1/projects/p/locations/l/tuningJobs")
    assert refused.status_code == 401 and "(simulator)" in refused.json()["error"]["message"]


def test_faults_and_the_clock_are_switched_over_http_too(simulators, client):
    control = f"{simulators.address}/simulator"
    fault = {"route": "openai.models.retrieve", "fault": "status", "status": 503}
    httpx.post(f"{control}/faults", json=fault).raise_for_status()
    with pytest.raises(openai.InternalServerError):
        client.models.retrieve(BASE)
    assert client.models.retrieve(BASE).shutdown_date == "2027-01-14"
    before = httpx.post(f"{control}/clock", json={"advance": 0}).json()["now"]
    assert httpx.post(f"{control}/clock", json={"advance": 60}).json()["now"] == pytest.approx(before + 60, abs=1)
    assert httpx.get(f"{control}/state").json()["creates"] == {"openai": 0, "azure": 0, "vertex": 0}


def test_no_page_of_a_browser_is_answered(simulators):
    for address in (f"{simulators.address}/simulator/state", f"{simulators.store}/storage/v1/b"):
        assert httpx.get(address).status_code == 200
        for headers in ({"Host": "example.org"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
            assert httpx.get(address, headers=headers).status_code == 403
            assert httpx.post(address, headers=headers, content=b"{}").status_code == 403
    assert httpx.get(f"{simulators.openai}/models/{BASE}").status_code == 401  # as the provider, without its key
    assert httpx.get(f"{simulators.address}/vertex/v1beta1/projects/p/locations/l/tuningJobs").status_code == 401
