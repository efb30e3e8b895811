"""App: the routes of a server. Whoever runs it puts a door before it, which asks for the key."""

from __future__ import annotations

import asyncio
import json
import logging
import time
import uuid
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.exceptions import HTTPException

from tasks.answers import verify as checks
from tasks.answers.reply import NOBODY, Reply, SourceRow
from tasks.core.errors import AnswerError, ShardtuneError
from tasks.serving import protocol, refusals
from tasks.serving.batcher import LateError
from tasks.serving.limits import Limits, Rate, Sized
from tasks.serving.metrics import Metrics
from tasks.serving.models import Models
from tasks.serving.refusals import RefusedRequest

log = logging.getLogger(__name__)
T = TypeVar("T")
PAGE = Path(__file__).parent / "page"
KINDS = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
ALIVE = 10.0  # seconds, after which a stream that waits says that it does
# A page may load and ask this server alone, runs no script of a text, and is shown inside no other page.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Records(Protocol):
    """Where answers are kept, and what people think of them. Called from any thread."""

    def answered(self, name: str, reply: Reply, run_id: str | None) -> None:
        """Keep the answer of this id, by the model of this run. Must not wait."""

    def judged(self, judged: protocol.Feedback) -> bool:
        """Keep what a person thinks of an answer; False where no such answer is kept."""


class ModelServer:
    """What the routes share."""

    def __init__(self, models: Models, limits: Limits, records: Records) -> None:
        self.models, self.limits, self.records = models, limits, records
        self.metrics, self.rate, self.open = Metrics(), Rate(limits.rate), 0
        self.threads = ThreadPoolExecutor(limits.waiting, "answer")

    @contextmanager
    def admitted(self) -> Any:
        """A place among those that are worked on. RefusedRequest where too many come at once, or wait."""
        if not self.rate.taken():
            raise RefusedRequest(
                429, f"more than {self.limits.rate:g} requests a second: slow down", "rate_limited", wait=1
            )
        if self.open >= self.limits.waiting:
            raise RefusedRequest(429, f"{self.open} requests wait already: try again later", "too_many_waiting", wait=5)
        self.open += 1
        self.metrics.open.set(self.open)
        try:
            yield
        finally:
            self.open -= 1
            self.metrics.open.set(self.open)

    async def work(self, work: Callable[[], T]) -> T:
        """What `work` gives, from a thread.

        RefusedRequest with 504 where that takes too long, 502 where a provider fails.
        """
        running = asyncio.get_running_loop().run_in_executor(self.threads, work)
        try:
            return await asyncio.wait_for(running, self.limits.seconds)
        except (TimeoutError, LateError) as error:
            told = f"no answer within {self.limits.seconds:g} s: try again later"
            raise RefusedRequest(504, told, "timeout", wait=10) from error
        except AnswerError as error:
            raise RefusedRequest(400, str(error), "cannot_answer") from error
        except ShardtuneError as error:
            log.warning("a model gave no answer: %s", error)
            raise RefusedRequest(502, f"the model gave no answer: {error}", "model_failed", wait=10) from error

    def answered(self, questions: list[str], name: str | None, uid: str | None = None) -> protocol.Answered:
        """The answer to the last question; it is counted and recorded."""
        start, model = time.monotonic(), self.models[name]
        reply = model.reply(questions, start + self.limits.seconds, uid)
        found = protocol.options(reply, model.index, model.recipe.ask.product_url)
        made = protocol.Answered(id=f"chatcmpl-{uuid.uuid4().hex}", model=model.name, reply=reply, options=found)
        self.metrics.states.labels(model.name, reply.state).inc()
        self.metrics.tokens.labels("prompt").inc(reply.prompt_tokens)
        self.metrics.tokens.labels("answer").inc(reply.answer_tokens)
        self.records.answered(made.id, reply, model.target.run_id)
        return made


def made(models: Models, limits: Limits, records: Records) -> FastAPI:
    """The application; every answer goes to `records`."""
    server = ModelServer(models, limits, records)
    app = FastAPI(title="shardtune", docs_url=None, redoc_url=None, redirect_slashes=False)
    app.state.server = server
    _watched(app, server)
    _errors(app)
    _answers(app, server)
    _looks(app, server)
    _page(app)
    app.add_middleware(Sized, limits=limits)
    return app


def _watched(app: FastAPI, server: ModelServer) -> None:
    @app.middleware("http")
    async def watched(request: Request, proceed: Any) -> Response:
        start = time.monotonic()
        response: Response = await proceed(request)
        response.headers.update({name: value for name, value in HEADERS.items() if name not in response.headers})
        route = getattr(request.scope.get("route"), "path", "other")
        server.metrics.requests.labels(route, str(response.status_code)).inc()
        server.metrics.seconds.labels(route).observe(time.monotonic() - start)
        return response


def _errors(app: FastAPI) -> None:
    @app.exception_handler(RefusedRequest)
    async def refused(_: Request, error: RefusedRequest) -> JSONResponse:
        told = refusals.body(error.status, error.message, error.code, error.param)
        return JSONResponse(told, error.status, error.headers)

    @app.exception_handler(RequestValidationError)
    async def malformed(_: Request, error: RequestValidationError) -> JSONResponse:
        # Where and why, never what: the value may be of any length, and of characters that no answer can hold.
        first = error.errors()[0]
        place = ".".join(str(part)[:40] for part in first["loc"][1:6]).encode("ascii", "replace").decode()
        why = "no JSON" if first["type"] == "json_invalid" else str(first["msg"])
        why = why.encode("ascii", "replace").decode()[:300]
        told = f"the body is not what this route takes: {place + ': ' if place else ''}{why}; see /docs"
        return JSONResponse(refusals.body(400, told, "invalid_request", place or None), 400)

    @app.exception_handler(HTTPException)
    async def other(_: Request, error: HTTPException) -> JSONResponse:
        codes = {404: "not_found", 405: "method_not_allowed"}
        told = f"{error.detail}; see /docs" if error.status_code in (404, 405) else str(error.detail)
        code = codes.get(error.status_code, "invalid_request")
        return JSONResponse(refusals.body(error.status_code, told, code), error.status_code, error.headers)

    @app.exception_handler(Exception)
    async def unknown(_: Request, error: Exception) -> JSONResponse:
        log.error("a request failed", exc_info=error)
        return JSONResponse(refusals.body(500, "an error of this server: its log says which", "internal"), 500, HEADERS)


def _answers(app: FastAPI, server: ModelServer) -> None:
    @app.post("/v1/chat/completions", summary="Answer the last question of a conversation, as OpenAI's API does")
    async def chat(asked: protocol.Chat) -> Response:
        questions, created = asked.questions(), int(time.time())
        if not asked.stream:
            with server.admitted():
                answer = await server.work(lambda: server.answered(questions, asked.model))
            return JSONResponse(protocol.completion(answer, created))
        name = server.models[asked.model].name  # what is refused at once has a status of its own
        place = server.admitted()
        place.__enter__()
        return StreamingResponse(
            _stream(server, asked, questions, name, created, place), media_type="text/event-stream"
        )

    @app.post("/v1/ask", summary="Answer one question: the reply with its claims, quotes and sources")
    async def ask(asked: protocol.Ask) -> Response:
        with server.admitted():
            questions = [*asked.before, asked.question]
            answer = await server.work(lambda: server.answered(questions, asked.model, asked.uid))
        return JSONResponse({**answer.told(), "text_with_quotes": protocol.text(answer)})

    @app.post("/v1/verify", summary="Check answers of any model claim by claim against the catalogue")
    async def verify(asked: protocol.Verify) -> Response:
        cases = [checks.Case(**one.model_dump()) for one in asked.cases]
        with server.admitted():
            found = await server.work(lambda: checks.verify(cases, server.models[asked.model].index))
        return JSONResponse({"verified": [one.model_dump(mode="json") for one in found]})

    @app.post("/v1/feedback", summary="Say whether an answer helped, and what would be right")
    async def feedback(judged: protocol.Feedback) -> Response:
        with server.admitted():
            kept = await server.work(lambda: server.records.judged(judged))
        if not kept:
            told = "no answer of this id is kept: it may be too old, or have been given a moment ago"
            raise RefusedRequest(404, told, "not_found", "id")
        return JSONResponse({"kept": True})


async def _stream(
    server: ModelServer, asked: protocol.Chat, questions: list[str], name: str, created: int, place: Any
) -> AsyncIterator[str]:
    """The answer as server-sent events. No word is sent before it is checked; until then the stream says it lives."""
    own = f"chatcmpl-{uuid.uuid4().hex}"

    def event(value: dict[str, Any]) -> str:
        return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"

    try:
        yield event(protocol.chunk(own, name, created, {"role": "assistant", "content": ""}))
        work = asyncio.ensure_future(server.work(lambda: server.answered(questions, asked.model)))
        try:
            while not (await asyncio.wait([work], timeout=ALIVE))[0]:
                yield ": the answer is being made\n\n"
            answer = work.result().model_copy(update={"id": own})
        except RefusedRequest as error:
            yield event(refusals.body(error.status, error.message, error.code, error.param))
            return
        finally:
            work.cancel()
        for piece in protocol.text(answer).splitlines(keepends=True):
            yield event(protocol.chunk(own, answer.model, created, {"content": piece}))
        yield event(protocol.chunk(own, answer.model, created, {}, finish="stop", shardtune=answer.told()))
        if asked.stream_options and asked.stream_options.include_usage:
            last = protocol.chunk(own, answer.model, created, {}, usage=protocol.usage(answer.reply))
            yield event(last | {"choices": []})
        yield "data: [DONE]\n\n"
    finally:
        place.__exit__(None, None, None)


def _looks(app: FastAPI, server: ModelServer) -> None:
    @app.get("/health", summary="Whether the server is up; needs no key")
    async def health() -> dict[str, str]:
        return {"status": "ok", "models": "ready" if server.models.held else server.models.trouble}

    @app.get("/metrics", summary="For Prometheus")
    async def metrics() -> Response:
        return Response(server.metrics.text(), media_type="text/plain; version=0.0.4")

    @app.get("/v1/models", summary="What can be asked")
    async def models() -> dict[str, Any]:
        told = [
            {"id": m.name, "object": "model", "created": 0, "owned_by": "shardtune", "shardtune": _told(m)}
            for m in server.models.held.values()
        ]
        return {"object": "list", "data": told}

    @app.get("/v1/models/{name:path}", summary="One model")
    async def model(name: str) -> dict[str, Any]:
        found = server.models[name]
        return {"id": found.name, "object": "model", "created": 0, "owned_by": "shardtune", "shardtune": _told(found)}

    @app.get("/v1/rows/{uid:path}", summary="One row of the catalogue, whole")
    async def row(uid: str, model: str | None = None) -> dict[str, Any]:
        found = server.models[model]
        held = await server.work(lambda: found.index.by_uid(uid))
        if held is None:
            raise RefusedRequest(404, "no row of the catalogue has this uid", "not_found")
        url = SourceRow.of(held, found.recipe.ask.product_url).url
        return {**held.model_dump(mode="json"), "url": url}


def _told(model: Any) -> dict[str, Any]:
    target = model.target
    asked = None if target.name == NOBODY else target.tune.base_model
    common = {"base_model": asked, "style": target.style, "version": target.version, "simulated": target.simulated}
    return {**common, "catalogue": model.recipe.catalogue.uri, "rows": len(model.index)}


def _page(app: FastAPI) -> None:
    names = {"": "page.html", "docs": "docs.html"} | {p.name: p.name for p in PAGE.iterdir() if p.suffix in KINDS}
    for path, name in names.items():
        kind, data = f"{KINDS[Path(name).suffix]}; charset=utf-8", (PAGE / name).read_bytes()

        def shown(data: bytes = data, kind: str = kind) -> Response:
            return Response(data, media_type=kind)

        app.get(f"/{path}", include_in_schema=False)(shown)
