"""Status: the state of a job at OpenAI, from the job, its events and its files."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import openai

from tasks.backends import patience, pricing, shapes
from tasks.backends.contract import Event, Job, JobStatus, LossPoint, State
from tasks.backends.openai import errors, losses
from tasks.backends.shapes import whole
from tasks.core.errors import BackendError, TransientError

if TYPE_CHECKING:
    from tasks.backends.openai.backend import OpenAI

# Words for states, in lower case, with those of Azure and of paused jobs.
STATES: dict[str, State] = {
    **dict.fromkeys(("validating_files", "pending", "created", "queued", "notrunning"), "queued"),
    **dict.fromkeys(("running", "paused", "pausing", "resuming"), "running"),
    "succeeded": "succeeded",
    "failed": "failed",
    **dict.fromkeys(("cancelled", "canceled"), "cancelled"),
}
HELD = "resume it at the provider, or end it with `shardtune cancel KEY`"
LARGEST = 50_000_000  # bytes of a result file; a larger one holds weights
RESOLVED = ("n_epochs", "batch_size", "learning_rate_multiplier")
CHECKPOINT = ("step_number", "fine_tuned_model_checkpoint")


def status(backend: OpenAI, job: Job) -> JobStatus:
    """State, losses (from events, and from the result file at the end) and billed tokens.

    "succeeded" means that a model can be asked. A job that is called so without a model's name counts as running, and
    after a deadline as failed.
    """
    with backend.translated(f"reading job {job.id!r}"):
        return _status(backend, job)


def _status(backend: OpenAI, job: Job) -> JobStatus:
    remote = backend.client.fine_tuning.jobs.retrieve(job.id)
    if remote.id is None and remote.status is None:
        raise TypeError("neither id nor status")
    word, facts = str(remote.status), dict[str, Any]()
    events = _events(backend, job.id, facts)
    state, model = STATES.get(word.lower(), "running"), getattr(remote, "fine_tuned_model", None) or None
    metrics = [data for e in events if isinstance(data := _field(e, "data"), dict)]  # some endpoints give no type
    resolved = _resolved(remote)
    epochs = resolved.get("n_epochs")
    points = losses.of_events(metrics, epochs if isinstance(epochs, int) else None)
    facts |= {f"used_{name}": value for name, value in resolved.items()}
    error = _reason(remote, events) if state == "failed" else None
    detail = word
    if state == "succeeded":
        state, detail, error = patience.named(backend.poll, job, model, word)
    if state == "succeeded":
        for file in _results(remote):
            points = losses.merged(points, _curve(backend, file, facts))
        facts["checkpoints"] = _checkpoints(backend, job.id)
    billed = whole(getattr(remote, "trained_tokens", None))
    if billed == 0 and state == "succeeded":
        billed = None  # a succeeded job has trained on some tokens: 0 means that the endpoint does not count them
    if billed is not None:
        facts["billed_usd"] = pricing.billed_usd(backend.offer, billed)
    facts["simulator"] = (remote.model_extra or {}).get("simulator")
    return JobStatus(
        state=state,
        detail=detail,
        step=points[-1].step if points else 0,
        steps=next((total for m in metrics if (total := whole(m.get("total_steps")))), None),
        points=points,
        events=tuple(_event(e) for e in events),
        heldout_after=losses.heldout(metrics),
        billed_tokens=billed,
        facts={name: value for name, value in facts.items() if value is not None},
        model=model if state == "succeeded" else None,
        model_digest=model if state == "succeeded" else None,
        error=error,
        held=HELD if word.lower() == "paused" else None,
    )


def _field(thing: Any, name: str) -> Any:
    """A field that an endpoint may leave out."""
    return getattr(thing, name, None)


def _events(backend: OpenAI, job: str, facts: dict[str, Any]) -> list[Any]:
    """All events, oldest first. Only those that were not read before are requested.

    An endpoint without this route has none: `facts` says so, and it is no error.
    """
    known = backend.events.setdefault(job, {})
    newest_first = _newest_first(known.values())
    asked: dict[str, Any] = {}
    if known and newest_first is False:
        asked["after"] = next(reversed(known))
    try:
        with backend.translated(f"reading events of job {job!r}"):
            new = {}
            for event in shapes.once(_listed(backend, job, asked), _name):
                if newest_first and _name(event) in known:
                    break
                new[_name(event)] = event
    except TransientError as error:
        if isinstance(error.__cause__, openai.APIStatusError) and errors.unavailable(error.__cause__):
            facts["events"] = f"not available here ({error})"  # the server's own page says so
            return []
        raise
    except BackendError as error:
        facts["events"] = f"not available here ({error})"
        return []
    # Kept in the endpoint's own order, from which the next look sees how it sorts.
    backend.events[job] = new | known if newest_first else known | new if newest_first is False else new
    listed = list(backend.events[job].values())
    listed = listed if _newest_first(listed) is False else listed[::-1]
    return sorted(listed, key=lambda e: shapes.moment(_field(e, "created_at")))


def _listed(backend: OpenAI, job: str, asked: dict[str, Any]) -> Iterable[Any]:
    read = backend.client.fine_tuning.jobs.list_events
    try:
        return read(job, limit=100, **asked)
    except (openai.BadRequestError, openai.UnprocessableEntityError):  # fewer at once
        return read(job, **asked)


def _name(event: Any) -> str:
    """The event's id, else its time and message."""
    return str(_field(event, "id") or f"{_field(event, 'created_at')} {_field(event, 'message')}")


def _newest_first(listed: Iterable[Any]) -> bool | None:
    """Whether an endpoint lists events newest first, as OpenAI does; None if the times do not show it."""
    times = [t for e in listed if (t := shapes.moment(_field(e, "created_at"))) != shapes.NEVER]
    return None if len(times) < 2 or times[0] == times[-1] else times[0] > times[-1]


def _reason(job: Any, events: list[Any]) -> str:
    """Why the job failed: its error or, if that is empty, the last warning or error of its events."""
    error = _field(job, "error")
    code, message = _field(error, "code"), _field(error, "message")
    if code or message or isinstance(error, str):
        return ": ".join(str(part) for part in (code, message) if part) or str(error)
    for event in reversed(events):
        if str(_field(event, "level")).lower() in ("warn", "warning", "error") and _field(event, "message"):
            return str(event.message)
    return "the provider gives no reason: look at the job there"


def _results(job: Any) -> list[str]:
    return [file for file in _field(job, "result_files") or () if isinstance(file, str)]


def _curve(backend: OpenAI, file: str, facts: dict[str, Any]) -> tuple[LossPoint, ...]:
    """Points of a result file. If it cannot be read, `facts` says so and the events remain."""
    try:
        with backend.translated(f"reading result file {file!r}"):
            size = whole(_field(_about(backend, file), "bytes"))
            if size and size > LARGEST:
                raise BackendError(f"result file {file!r} has {size:,} bytes: it holds no losses")
            return losses.of_csv(backend.client.files.content(file).read())
    except BackendError as error:
        facts["result_file"] = str(error)
        return ()


def _about(backend: OpenAI, file: str) -> Any:
    try:
        return backend.client.files.retrieve(file)
    except openai.APIStatusError as error:
        if errors.unavailable(error):
            return None
        raise


def _checkpoints(backend: OpenAI, job: str) -> list[dict[str, Any]]:
    """Step and model of each kept checkpoint; none if the endpoint has no such route."""
    try:
        with backend.translated("reading checkpoints"):
            listed = shapes.once(backend.client.fine_tuning.jobs.checkpoints.list(job), _name)
            return [{"step": _field(c, CHECKPOINT[0]), "model": _field(c, CHECKPOINT[1])} for c in listed]
    except BackendError:  # nothing depends on them
        return []


def _resolved(job: Any) -> dict[str, Any]:
    """Hyperparameters as the provider resolved them, from either place of the job. Azure's -1 stands for auto."""
    supervised = _field(_field(job, "method"), "supervised")
    for source in (_field(job, "hyperparameters"), _field(supervised, "hyperparameters")):
        resolved = {name: value for name in RESOLVED if (value := _field(source, name)) is not None and value != -1}
        if resolved:
            return resolved
    return {}


def _event(event: Any) -> Event:
    at = shapes.moment(_field(event, "created_at")).isoformat()
    level, message = str(_field(event, "level") or "info"), str(_field(event, "message") or "")
    return Event(id=_name(event), at=at, level=level, message=message)
