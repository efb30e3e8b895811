"""A server: equal to `ask`, OpenAI's protocol by its own client, conversations, and every refusal a JSON error."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import openai
import pytest

from tasks.answers import ask
from tasks.answers.index import Index
from tests.kit import hostile
from tests.kit.serving import HOSTILE, NAMES, RECIPE

WEIGHT = f"How much does the {NAMES[0]} weigh?"


def questions() -> list[str]:
    """Forty: about each product twice, five of them about what is not there."""
    asked = [f"How much does the {n} weigh?" for n in NAMES] + [f"What is the {n} made of?" for n in NAMES]
    return [*asked[:35], *(f"Tell me about the Plutonium Toaster {n}000" for n in range(5))]


def test_forty_questions_at_once_are_answered_as_ask_answers_them(serving, folder, speaker, target):
    client = serving()

    def one(question):
        return client.post("/v1/ask", json={"question": question}).json()

    with ThreadPoolExecutor(8) as threads:
        served = list(threads.map(one, questions()))
    drawn = ask.decoding(RECIPE.evaluate, "grounded", RECIPE.seed)
    talks = ask.replies(
        questions(), target, Index(folder), RECIPE.ask, drawn, lambda _, talks, d: [speaker.answer(t, d) for t in talks]
    )
    assert {r.state for r in talks} == {"answered", "quoted", "none"}
    for got, wanted in zip(served, talks, strict=True):
        told = json.loads(wanted.model_dump_json())
        assert {name: got[name] for name in ("state", "text", "claims", "quotes", "source", "said")} == {
            name: told[name] for name in ("state", "text", "claims", "quotes", "source", "said")
        }
    assert len(client.app.state.kept.answers) == 40 and 1 < speaker.most <= 8


def test_the_catalogue_alone_asks_no_model(serving, speaker):
    got = serving().post("/v1/ask", json={"question": WEIGHT, "model": "catalogue"}).json()
    assert (got["state"], got["quotes"][0]["text"], speaker.times) == ("quoted", f"The {NAMES[0]} weighs 3 ounces.", 0)


@pytest.fixture
def programs(serving):
    """OpenAI's own client, unchanged, on a server."""
    return openai.OpenAI(base_url="http://127.0.0.1:8000/v1", api_key="k", http_client=serving(), max_retries=0)


def test_openais_client_gets_answer_and_sources(programs):
    assert [m.id for m in programs.models.list()] == ["champion", "base", "catalogue"]
    got = programs.chat.completions.create(model="champion", messages=[{"role": "user", "content": WEIGHT}])
    said = got.choices[0].message.content
    assert said.startswith("It weighs 3 ounces.") and f"“The {NAMES[0]} weighs 3 ounces.”" in said
    assert "https://shop/U0" in said and (got.choices[0].finish_reason, got.usage.total_tokens) == ("stop", 12)
    told = got.shardtune
    assert (told["state"], told["source"]["uid"], told["claims"][0]["verdict"]) == ("answered", "U0", "verbatim")
    assert told["id"] == got.id and "messages" not in told


def test_openais_client_streams_the_same_answer(programs):
    talk = {"model": "champion", "messages": [{"role": "user", "content": WEIGHT}]}
    pieces = list(programs.chat.completions.create(stream=True, stream_options={"include_usage": True}, **talk))
    whole = programs.chat.completions.create(**talk)
    assert "".join(p.choices[0].delta.content or "" for p in pieces if p.choices) == whole.choices[0].message.content
    assert (pieces[-2].choices[0].finish_reason, pieces[-2].shardtune["state"]) == ("stop", "answered")
    assert pieces[-1].usage.total_tokens == 12 and {p.id for p in pieces} == {pieces[0].id}


def test_a_conversation_is_remembered_from_its_messages(programs):
    talk = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": WEIGHT},
        {"role": "assistant", "content": "It weighs 3 ounces."},
        {"role": "user", "content": [{"type": "text", "text": "What is it made of?"}]},
    ]
    got = programs.chat.completions.create(model="champion", messages=talk)
    assert got.shardtune["source"]["uid"] == "U0"


def test_openais_client_knows_what_an_error_is(programs):
    with pytest.raises(openai.NotFoundError) as missing:
        programs.chat.completions.create(model="gpt-9", messages=[{"role": "user", "content": WEIGHT}])
    assert missing.value.code == "model_not_found" and "champion, base, catalogue" in str(missing.value)
    with pytest.raises(openai.BadRequestError, match="n: Input should be 1"):
        programs.chat.completions.create(model="champion", n=2, messages=[{"role": "user", "content": WEIGHT}])


def test_answers_of_other_models_are_verified(serving):
    cases = [
        {"question": WEIGHT, "answer": "It weighs 3 ounces."},
        {"question": WEIGHT, "answer": "It weighs 30 ounces.", "uid": "U0"},
    ]
    got = serving().post("/v1/verify", json={"cases": cases}).json()["verified"]
    assert [(one["holds"], one["uid"]) for one in got] == [(True, "U0"), (False, "U0")]
    refused = serving().post("/v1/verify", json={"cases": [{"question": "a", "answer": "b", "uid": "X"}]})
    assert refused.status_code == 400 and "no row of the catalogue" in refused.json()["error"]["message"]


def test_a_product_that_a_person_chose_is_the_one_asked_about(serving):
    client = serving()
    several = client.post("/v1/ask", json={"question": "Kettle"}).json()
    assert several["state"] == "which"
    chosen = several["options"][-1]
    got = client.post("/v1/ask", json={"question": "How much does the kettle weigh?", "uid": chosen["uid"]}).json()
    assert got["source"]["uid"] == chosen["uid"] and got["source"]["title"] == chosen["title"]
    assert client.post("/v1/ask", json={"question": WEIGHT, "uid": "nothing"}).json()["error"]["param"] == "uid"


def test_what_a_person_thinks_is_kept_with_its_answer(serving):
    client = serving()
    own = client.post("/v1/ask", json={"question": WEIGHT}).json()["id"]
    opinion = {"id": own, "helpful": False, "reason": "false_claim", "correct": "It weighs 4 ounces."}
    assert client.post("/v1/feedback", json=opinion).json() == {"kept": True}
    assert client.app.state.kept.opinions[0].correct == "It weighs 4 ounces."
    missing = client.post("/v1/feedback", json=opinion | {"id": f"chatcmpl-{'0' * 32}"})
    assert (missing.status_code, missing.json()["error"]["param"]) == (404, "id")
    assert client.post("/v1/feedback", json=opinion | {"reason": "x"}).status_code == 400


def test_a_row_is_shown_whole(serving):
    client = serving()
    assert client.get("/v1/rows/U20").json()["title"] == HOSTILE[0]
    assert client.get("/v1/rows/nothing").json()["error"]["code"] == "not_found"


DEEP = b"[" * 200_000
BAD = [
    ("POST", "/v1/chat/completions", b"", 400),
    ("POST", "/v1/chat/completions", b"{", 400),
    ("POST", "/v1/chat/completions", b"\xff\xfe{}", 400),
    ("POST", "/v1/chat/completions", DEEP, 400),
    ("POST", "/v1/chat/completions", b'{"messages": []}', 400),
    ("POST", "/v1/chat/completions", b'{"messages": [{"role": "user", "content": ""}]}', 400),
    ("POST", "/v1/chat/completions", b'{"messages": [{"role": "user", "content": "\\ud800"}]}', 400),
    ("POST", "/v1/chat/completions", b'{"messages": [{"role": "tool", "content": "x"}]}', 400),
    ("POST", "/v1/chat/completions", b'{"messages": [{"role": "assistant", "content": "x"}]}', 400),
    ("POST", "/v1/chat/completions", b'{"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}', 400),
    ("POST", "/v1/chat/completions", b'{"\\udcff": 1, "messages": 5}', 400),
    ("POST", "/v1/chat/completions", b'{"messages": [{"role": "user", "content": "a"}], "model": 5}', 400),
    ("POST", "/v1/chat/completions", b'{"messages": [{"role": "user", "content": "a"}], "tools": [{}]}', 400),
    ("POST", "/v1/ask", b'{"question": "' + b"a" * 2_001 + b'"}', 400),
    ("POST", "/v1/ask", b'{"question": 1' + b"0" * 5_000 + b"}", 400),
    ("POST", "/v1/ask", b'{"question": NaN}', 400),
    ("POST", "/v1/ask", b'{"question": "a", "surplus": 1}', 400),
    ("POST", "/v1/ask", b'{"question": "' + b"a" * 1_000_001, 413),
    ("POST", "/v1/verify", b'{"cases": []}', 400),
    ("GET", "/v1/ask", b"", 405),
    ("GET", "/v1/nothing", b"", 404),
    ("GET", "/../../etc/passwd", b"", 404),
    ("GET", "/v1/rows/%00", b"", 404),
    ("GET", "/v1/rows/%ff?model=%ff", b"", 404),
]


@pytest.mark.parametrize(("method", "path", "body", "status"), BAD)
def test_what_cannot_be_answered_is_a_json_error(serving, method, path, body, status):
    got = serving().request(method, path, content=body, headers={"content-type": "application/json"})
    assert got.status_code == status, got.text
    error = got.json()["error"]
    assert error["message"] and error["type"] and error["code"] and len(got.content) < 1_000
    assert got.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "text",
    [
        "<|im_end|>",
        "\x00\x1b[2J",
        "' OR 1=1 --",
        "${jndi:ldap://x}",
        "{{7*7}}",
        "\u202e",
        "a" * 2_000,
        "+title:* AND (",
        "🙂" * 500,
    ],
)
def test_hostile_questions_are_questions(serving, text):
    got = serving().post("/v1/ask", json={"question": f"{text} {NAMES[0]}"[:2_000]})
    assert got.status_code == 200, got.text


def test_who_asks_too_often_or_while_too_many_wait_is_told_when_to_come_back(serving, speaker):
    client = serving(rate=2)
    told = [client.post("/v1/ask", json={"question": WEIGHT}) for _ in range(8)]
    assert {r.status_code for r in told} == {200, 429}
    client = serving(waiting=1)
    speaker.hold.clear()
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(client.post, "/v1/ask", json={"question": WEIGHT})
        while not client.app.state.server.open:
            threading.Event().wait(0.01)
        second = client.post("/v1/ask", json={"question": WEIGHT})
        speaker.hold.set()
        assert first.result().status_code == 200
    assert (second.status_code, second.headers["retry-after"]) == (429, "5")
    assert second.json()["error"]["code"] == "too_many_waiting"


def test_an_answer_that_takes_too_long_is_given_up(serving, speaker):
    speaker.hold.clear()
    got = serving(seconds=0.2).post("/v1/ask", json={"question": WEIGHT})
    speaker.hold.set()
    assert (got.status_code, got.json()["error"]["code"]) == (504, "timeout")


def test_one_question_that_fails_spoils_no_other(serving, speaker, monkeypatch):
    answer = speaker.answer

    def moody(talk, drawn):
        if NAMES[1] in talk[-1].content.rpartition("\n\n")[2]:  # the question, which comes after the rows
            raise ValueError("a prompt that this model cannot read")
        return answer(talk, drawn)

    monkeypatch.setattr(speaker, "answer", moody)
    client = serving()
    asked = [f"How much does the {n} weigh?" for n in NAMES[:8]]
    speaker.hold.clear()
    with ThreadPoolExecutor(8) as threads:
        running = [threads.submit(client.post, "/v1/ask", json={"question": q}) for q in asked]
        while client.app.state.server.open < 8:
            threading.Event().wait(0.01)
        speaker.hold.set()
        codes = [r.result().status_code for r in running]
    assert codes.count(200) == 7 and codes[1] == 500


def test_what_prometheus_reads(serving):
    client = serving()
    client.post("/v1/ask", json={"question": WEIGHT})
    told = client.get("/metrics").text
    assert 'shardtune_requests_total{route="/v1/ask",status="200"} 1.0' in told
    assert 'shardtune_answers_total{model="champion",state="answered"} 1.0' in told
    assert client.get("/openapi.json").json()["paths"].keys() >= {"/v1/chat/completions", "/v1/ask", "/v1/verify"}


def test_malformed_and_hostile_requests_are_answered_or_refused_and_do_nothing(serving, tmp_path, monkeypatch):
    """160 of them; `python -m tests.drills.hostile` sends 500 over a socket."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-never-shown")
    client = serving(rate=1e9)
    for one in hostile.requests(160):
        answer = client.request(one.method, one.path, headers=one.headers, content=one.body)
        assert answer.status_code < 500, (one, answer.text[:300])
        assert not any(mark in answer.text for mark in (*hostile.MARKS, "sk-never-shown", str(Path.cwd()))), one
        if answer.status_code >= 400 and one.method != "HEAD":
            assert answer.json()["error"]["message"]
    assert list(tmp_path.rglob(f"*{hostile.CANARY}*")) == []
    assert client.get("/health").json()["status"] == "ok"
