"""The openai backend: fine-tuning jobs at OpenAI, at Azure, or at an endpoint that speaks their protocol.

The create call is made once and never retried by the SDK. A job carries its key in three places: in `metadata`, in the
suffix of its model, and in the names of its files. One of them is enough to find the job again.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from tasks.backends import endpoint, lifecycle, limits, offers, pricing, shapes, uploads
from tasks.backends.contract import Answer, Decoding, Job, JobStatus, Link, Quote
from tasks.core import settings
from tasks.core.errors import BackendError, MissingExtraError, NotReadyError, VanishedError
from tasks.core.models import Finding, Format, Message
from tasks.examples.lines import line
from tasks.examples.questions import asked
from tasks.recipe import allowed
from tasks.recipe.tuning import OpenAITune

try:
    import openai

    from tasks.backends.openai import account, answers, errors, status
except ImportError as error:
    raise MissingExtraError("openai", "openai") from error

log = logging.getLogger(__name__)

KEY = "shardtune_key"  # in a job's metadata
MOST_HELDOUT = 5_000  # rows in a validation file
READY = ("processed", "uploaded", "none", "")  # states of a file that a job may use; some endpoints give none


def backend(tune: OpenAITune) -> OpenAI:
    """The backend of this module, for the endpoint of `tune`."""
    return OpenAI(tune)


class OpenAI:
    """Fine-tunes at the endpoint of one tune."""

    name = "openai"
    paid = True

    def __init__(self, tune: OpenAITune) -> None:
        self.tune, self.base_url = tune, tune.base_url or os.environ.get("OPENAI_BASE_URL") or None
        if self.base_url:
            named = "tune.base_url" if tune.base_url else "OPENAI_BASE_URL"
            endpoint.checked(named, self.base_url, tune.key_variable)
        if tune.base_url:  # the host named there receives the API key
            allowed.check("tune.base_url", tune.base_url, os.environ.get("OPENAI_BASE_URL"))
        self.events: dict[str, dict[str, Any]] = {}  # those read so far: by job, then by name
        self.poll = (0.2, 1.0) if endpoint.is_loopback(self.base_url) else (5.0, 120.0)

    @cached_property
    def client(self) -> openai.OpenAI:
        """The SDK's client; BackendError if there is no API key."""
        key = settings.secret(self.tune.key_variable)
        if not key:
            raise BackendError(
                f"there is no API key: set {self.tune.key_variable} (or make a Prefect Secret block of it), or try "
                "everything without one by `shardtune rehearse`"
            )
        endpoint.trusting()
        with self.translated("opening a client"):
            return openai.OpenAI(
                api_key=endpoint.key_of(self.tune.key_variable, key), base_url=self.base_url, timeout=60.0
            )

    @property
    def azure(self) -> bool:
        """Whether this is Azure, which refuses training files without a byte-order mark."""
        host = urlsplit(self.base_url or "").hostname or ""
        return self.tune.deploy is not None or host.endswith(".azure.com")

    def translated(self, what: str) -> AbstractContextManager[None]:
        """Raise the SDK's errors as ours, with what was being done."""
        return errors.translated(what, self.tune.key_variable, self.poll[1] / 2)

    def format(self, tune: OpenAITune) -> Format:
        """Chat lines of OpenAI."""
        return "openai"

    def rendering(self, tune: OpenAITune) -> None:
        """None: the provider renders conversations itself."""

    def base_digest(self, tune: OpenAITune) -> None:
        """None: the base lies at the provider."""

    def endpoint(self, tune: OpenAITune) -> str | None:
        """Host and path of another endpoint than OpenAI's own."""
        return endpoint.identity(self.base_url, "api.openai.com")

    def check(self, link: Link) -> list[Finding]:
        """Findings about the account and the base model, with the days on which they end."""
        return account.findings(self, link)

    def quote(self, link: Link) -> Quote:
        """Tokens by OpenAI's own tokenizer, times epochs, times the price of the base model."""
        return pricing.of_link(link, self.tune.epochs, self.offer)

    @property
    def offer(self) -> offers.Offer | None:
        """The offer for the base at this endpoint: with the recipe's prices, else those of offers.yaml."""
        return offers.lookup(self.tune)

    @property
    def official(self) -> bool:
        """Whether this is OpenAI itself, or the simulator of it."""
        return offers.section(self.tune) == "openai"

    def find(self, key: str) -> Job | None:
        """The oldest job of this key that runs or has succeeded, else the newest."""
        with self.translated(f"looking for a job of key {key!r}"):
            mine = sorted(self._of_key(key), key=lambda job: (shapes.moment(job.created_at), str(job.id)))
            live = [job for job in mine if _is_live(job)]
            return self._job((live[:1] or mine[-1:])[0], key) if mine else None

    def _of_key(self, key: str) -> list[Any]:
        """Jobs with this key in their metadata, else jobs with it in suffix or file name."""
        try:
            listed = self._jobs(metadata={KEY: key})
            mine = [job for job in listed if _metadata(job).get(KEY) == key]
        except (openai.BadRequestError, openai.UnprocessableEntityError):  # no such filter
            mine = []
        if mine:
            return mine
        files = self._files(key)
        return [job for job in self._jobs() if _is_of(job, key) or any(_uses(job, file) for file in files)]

    def _jobs(self, **filters: Any) -> list[Any]:
        try:
            return list(shapes.once(self.client.fine_tuning.jobs.list(limit=100, **filters), lambda job: job.id))
        except (openai.BadRequestError, openai.UnprocessableEntityError):
            if filters:
                raise
            return list(shapes.once(self.client.fine_tuning.jobs.list(), lambda job: job.id))  # fewer at once

    def _job(self, job: Any, key: str) -> Job:
        if not job.id:
            raise TypeError(f"a job without an id: {job!r}")
        made = shapes.moment(job.created_at).isoformat()
        url = f"https://platform.openai.com/finetune/{job.id}" if self.endpoint(self.tune) is None else None
        return Job(key=key, backend=self.name, id=str(job.id), url=url, submitted_at=made)

    def submit(self, link: Link) -> Job:
        """Upload the files that are not there yet, and create the job: one call, never retried."""
        training, heldout = uploads.of_link(link, MOST_HELDOUT, self.azure)
        with uploads.sending(training):
            files = [self._sent(upload) for upload in (training, heldout)]
            more = self._optional(link)
            while True:
                with lifecycle.creating(link.key, self.poll) as answered, self.translated("creating the job"):
                    try:
                        return answered(self._job(self._created(link, files, more), link.key))
                    except (openai.BadRequestError, openai.UnprocessableEntityError, openai.NotFoundError) as error:
                        # The call was refused, so no job exists, and one with fewer fields makes no second one.
                        if _unseen(error, files):
                            reason = "the endpoint does not know yet the files that it was sent a moment ago"
                            raise NotReadyError(reason, limits.after(self.poll[1] / 2)) from error
                        unknown = errors.unknown(error, [name for name in more if name != "hyperparameters"])
                        if unknown is None:
                            raise
                        log.warning("this endpoint knows no %r in a create call: asking without it", unknown)
                        del more[unknown]
                        if unknown == "method":
                            more["hyperparameters"] = {n: v for n, v in self._chosen.items() if v != "auto"}

    @property
    def _chosen(self) -> dict[str, Any]:
        tune = self.tune
        multiplier = tune.learning_rate_multiplier
        return {"n_epochs": tune.epochs, "batch_size": tune.batch_size, "learning_rate_multiplier": multiplier}

    def _optional(self, link: Link) -> dict[str, Any]:
        """Fields of a create call that an endpoint may not know. `hyperparameters` can replace `method`."""
        return {
            "metadata": {KEY: link.key, "shardtune_recipe": link.name},
            "seed": link.seed,
            "suffix": _suffix(link.key, self.tune.suffix, 18 if self.azure else 64),
            "method": {"type": "supervised", "supervised": {"hyperparameters": self._chosen}},
        }

    def _created(self, link: Link, files: Sequence[str], more: dict[str, Any]) -> Any:
        """The one create call."""
        return self.client.with_options(max_retries=0).fine_tuning.jobs.create(
            model=link.start,
            training_file=files[0],
            validation_file=files[1],
            extra_body=self.tune.extra_body or None,
            **more,
        )

    def _sent(self, upload: uploads.Upload) -> str:
        """Upload the file unless it is there. Returns its id once a job may use it."""
        with self.translated(f"sending {upload.name!r}"), upload.opened() as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(0)
            there = [
                f
                for f in self._files(upload.key)
                if f.filename == upload.name and f.status not in ("error", "deleted") and f.bytes in (size, None)
            ]
            if there:
                return self._ready(there[0])
            files = self.client.with_options(timeout=1_800.0).files
            return self._ready(files.create(file=(upload.name, stream, "application/jsonl"), purpose="fine-tune"))

    def _ready(self, file: Any) -> str:
        """The id of the file, once a job may use it. NotReadyError if the endpoint is still processing it."""
        if not file.id:
            raise TypeError(f"a file without an id: {file!r}")
        for pause in lifecycle.pauses(self.poll, lifecycle.LOOKS):
            status = str(file.status or "").lower()
            if status in READY:
                return str(file.id)
            if status in ("error", "failed", "deleted"):
                raise BackendError(
                    f"the endpoint refused file {file.id!r} ({status}: {getattr(file, 'status_details', None)}): run "
                    "`shardtune check` on the recipe"
                )
            time.sleep(pause)
            with suppress(openai.NotFoundError):  # made a moment ago
                file = self.client.files.retrieve(str(file.id))
        raise NotReadyError(f"the endpoint is still reading file {file.id!r}", limits.after(self.poll[1]))

    def _files(self, key: str) -> list[Any]:
        """Files sent for the link of this key, oldest first; none if the endpoint cannot list files."""
        try:
            try:
                listed = list(shapes.once(self.client.files.list(purpose="fine-tune", limit=1_000), lambda f: f.id))
            except (openai.BadRequestError, openai.UnprocessableEntityError):  # fewer at once, or no purposes
                listed = list(shapes.once(self.client.files.list(), lambda f: f.id))
            mine = [f for f in listed if uploads.stem(key) in str(f.filename).lower()]
        except openai.APIStatusError as error:
            if not errors.unavailable(error):
                raise
            return []
        return sorted(mine, key=lambda f: (shapes.moment(f.created_at), str(f.id)))

    def tidy(self, link: Link, job: Job | None = None) -> None:
        """Delete the files sent for this link that no job of the account uses."""
        training, _ = uploads.of_link(link, MOST_HELDOUT, self.azure)
        with uploads.sending(training), self.translated("removing files that no job uses"):
            files = self._files(link.key)
            if not files:
                return
            # The link's own job is looked up by its id, since a list may not show it yet.
            known = [self.client.fine_tuning.jobs.retrieve(job.id)] if job else []
            if known and all(any(_uses(one, file) for one in known) for file in files):
                return
            known += self._jobs()
            mine = known[:1] if job else []
            mine += [one for one in known if _is_of(one, link.key)]
            if any(not (one.training_file and one.validation_file) and _is_live(one) for one in mine):
                return  # a live job of ours does not show which files it uses: delete none
            for file in files:
                if not any(_uses(one, file) for one in known):
                    errors.parsed(self.client.files.delete(str(file.id)))

    def status(self, job: Job) -> JobStatus:
        """State, losses (from events, and from the result file at the end) and billed tokens."""
        return status.status(self, job)

    def cancel(self, job: Job) -> None:
        """Cancel the job; no error if it has ended already or is unknown."""
        try:
            with self.translated(f"cancelling job {job.id!r}"):
                errors.parsed(self.client.fine_tuning.jobs.cancel(job.id))
        except VanishedError:
            return
        except BackendError:
            if self.status(job).state not in ("succeeded", "failed", "cancelled"):
                raise

    def prompts(self, tune: OpenAITune, conversations: Sequence[Sequence[Message]]) -> list[str]:
        """The messages of an example in this format, without the answer."""
        return [asked(line(turns, "", "openai")) for turns in conversations]

    def parity(self, link: Any, kept: str) -> None:
        """None: only the provider has the model, so there is no copy to compare."""

    def answer(
        self,
        model: str | None,
        tune: OpenAITune,
        conversations: Sequence[Sequence[Message]],
        *decodings: Decoding,
    ) -> list[list[Answer]]:
        """Answers by chat completions, several at a time. Waits for a model that is not served yet."""
        return [answers.answers(self, model, conversations, drawn) for drawn in decodings]


def _metadata(job: Any) -> dict[str, Any]:
    value = getattr(job, "metadata", None)
    return value if isinstance(value, dict) else {}


def _suffix(key: str, own: str | None = None, most: int = 64) -> str:
    """The suffix of the model's name: the recipe's own one, as much as fits, and the first 12 digits of the key."""
    return f"{(own or 'st')[: most - 13].rstrip('-')}-{key[:12]}"


def _is_of(job: Any, key: str) -> bool:
    """Whether metadata, suffix or the model's name say that the job is of this key."""
    if recorded := _metadata(job).get(KEY):
        return bool(recorded == key)
    extra, begun = job.model_extra or {}, _plain(job.model)
    named = [extra.get("user_provided_suffix"), extra.get("suffix"), getattr(job, "fine_tuned_model", None)]
    # The model that it starts from may contain the key of the link before; the new name then contains that key too.
    return key[:12] not in begun and any(key[:12] in _plain(name) for name in named)


def _plain(name: Any) -> str:
    """A name in the form that every endpoint keeps: letters and digits, in lower case."""
    return "".join(c for c in str(name or "").lower() if c.isalnum())


def _is_live(job: Any) -> bool:
    """Whether the job runs or has succeeded, as far as a list shows."""
    return status.STATES.get(str(job.status).lower()) not in ("failed", "cancelled")


def _uses(job: Any, file: Any) -> bool:
    """Whether the job names this file: by its id or, at some endpoints, by its name or address."""
    files = [str(named) for name in ("training_file", "validation_file") if (named := getattr(job, name, None))]
    return any(str(file.id) in named or (file.filename and str(file.filename) in named) for named in files)


def _unseen(error: openai.APIStatusError, files: Sequence[str]) -> bool:
    """Whether the endpoint says that one of these files does not exist, although it has just returned its id."""
    words = f"{error.message} {error.body}"
    missing = any(phrase in words.lower() for phrase in ("not exist", "not found", "no such", "not be found"))
    return missing and any(file in words for file in files)
