"""The openai backend: fine-tuning jobs at OpenAI, at Azure, or at an endpoint that speaks their protocol.

The create call is made once and never retried by the SDK; jobs carry their key in `metadata`, files their digest in the
name, so both are found again after any death.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from tasks import reach, settings
from tasks.backends import account, offers, place, pricing, prompting, standing, uploads
from tasks.backends.contract import Answer, Decoding, Job, Link, Quote, Status
from tasks.errors import BackendError, MissingExtraError, VanishedError
from tasks.examples.lines import line
from tasks.examples.questions import asked
from tasks.models import Finding, Format, Message
from tasks.tuning import OpenAITune

try:
    import openai

    from tasks.backends import refusals
except ImportError as error:
    raise MissingExtraError("openai", "openai") from error

KEY = "shardtune_key"  # in a job's metadata
MOST_HELDOUT = 5_000  # rows in a validation file


def backend(tune: OpenAITune) -> OpenAI:
    """The backend of this module, for the endpoint of `tune`."""
    return OpenAI(tune)


class OpenAI:
    """Fine-tunes at the endpoint of one tune."""

    name = "openai"
    paid = True

    def __init__(self, tune: OpenAITune) -> None:
        if tune.base_url:  # whoever is named there is sent the key
            reach.check("tune.base_url", tune.base_url, os.environ.get("OPENAI_BASE_URL"))
        self.tune = tune
        self.base_url = tune.base_url or os.environ.get("OPENAI_BASE_URL")
        self.poll = (0.2, 1.0) if place.is_loopback(self.base_url) else (5.0, 120.0)

    @cached_property
    def client(self) -> openai.OpenAI:
        """The SDK's client; BackendError where there is no key."""
        key = settings.secret(self.tune.key_variable)
        if not key:
            raise BackendError(
                f"there is no API key: set {self.tune.key_variable} (or make a Prefect Secret block of it), or try "
                "everything without one by `shardtune rehearse`"
            )
        return openai.OpenAI(api_key=key, base_url=self.base_url, timeout=60.0)

    def _told(self, what: str) -> Any:
        return refusals.translated(what, self.tune.key_variable)

    def format(self, tune: OpenAITune) -> Format:
        """Chat lines of OpenAI."""
        return "openai"

    def rendering(self, tune: OpenAITune) -> None:
        """None: the provider renders conversations itself."""

    def base_digest(self, tune: OpenAITune) -> None:
        """None: the base lies at the provider."""

    def endpoint(self, tune: OpenAITune) -> str | None:
        """Host and path of another endpoint than OpenAI's own."""
        return place.of(self.base_url, "api.openai.com")

    def check(self, link: Link) -> list[Finding]:
        """Account, base model and their life-spans."""
        return account.findings(self, link)

    def quote(self, link: Link) -> Quote:
        """Tokens by OpenAI's own tokenizer, times epochs, times the price of the base model."""
        return pricing.of_link(link, self.tune.epochs, self.offer)

    @property
    def offer(self) -> offers.Offer | None:
        """What the base costs; None at an endpoint with prices of its own."""
        return offers.find("openai", self.tune.base_model) if self.official else None

    @property
    def official(self) -> bool:
        """Whether this is OpenAI itself, or the simulator of it."""
        own = self.endpoint(self.tune) is None or place.is_loopback(self.base_url)
        return own and self.tune.base_url is None

    def find(self, key: str) -> Job | None:
        """The first job of this key that works or has worked, else the newest."""
        # Endpoints that know no filter return every job, so each is looked at.
        jobs = [job for job in self._jobs(key) if (job.metadata or {}).get(KEY) == key]
        mine = sorted(jobs, key=lambda job: (job.created_at, job.id))
        live = [job for job in mine if standing.STATES.get(job.status) not in ("failed", "cancelled")]
        return self._job((live[:1] or mine[-1:])[0], key) if mine else None

    def _jobs(self, key: str) -> list[Any]:
        """Jobs with this key in their metadata where the endpoint can filter, else every one."""
        listed = self.client.fine_tuning.jobs.list
        with self._told(f"looking for a job of key {key!r}"):
            try:
                return list(listed(metadata={KEY: key}, limit=100))
            except openai.BadRequestError:
                return list(listed(limit=100))

    def _job(self, job: Any, key: str) -> Job:
        made = datetime.fromtimestamp(job.created_at, UTC).isoformat()
        url = f"https://platform.openai.com/finetune/{job.id}" if self.endpoint(self.tune) is None else None
        return Job(key=key, backend=self.name, id=job.id, url=url, submitted_at=made)

    def submit(self, link: Link) -> Job:
        """Send the files, unless they are there, and create the job: one call, never retried."""
        tune, training, heldout = self.tune, *uploads.of(link, MOST_HELDOUT)
        chosen = {
            "n_epochs": tune.epochs,
            "batch_size": tune.batch_size,
            "learning_rate_multiplier": tune.learning_rate_multiplier,
        }
        with uploads.sending(training):
            files = [self._sent(upload) for upload in (training, heldout)]
            with self._told("creating the job"):
                created = self.client.with_options(max_retries=0).fine_tuning.jobs.create(
                    model=link.parent or link.base_model,
                    training_file=files[0],
                    validation_file=files[1],
                    method={"type": "supervised", "supervised": {"hyperparameters": chosen}},  # type: ignore[arg-type]
                    seed=link.seed,
                    suffix=tune.suffix if tune.suffix else openai.omit,
                    metadata={KEY: link.key, "shardtune_recipe": link.name},
                    extra_body=tune.extra_body or None,
                )
        return self._job(created, link.key)

    def _sent(self, upload: uploads.Upload) -> str:
        """The id of the file at the provider: one that is there already, or a new one."""
        with self._told(f"sending {upload.name!r}"):
            there = [f for f in self._files({upload.name}) if f.status not in ("error", "deleted")]
            if there:
                return str(there[0].id)
            with upload.opened() as stream:
                files = self.client.with_options(timeout=1_800.0).files
                sent = files.create(file=(upload.name, stream, "application/jsonl"), purpose="fine-tune")
            if sent.status not in ("processed", "uploaded"):  # Azure wants to have read it first
                sent = self.client.files.wait_for_processing(sent.id, poll_interval=self.poll[0])
            return sent.id

    def _files(self, names: set[str]) -> list[Any]:
        """Files of these names, oldest first."""
        listed = self.client.files.list(purpose="fine-tune", limit=1_000)
        return sorted((f for f in listed if f.filename in names), key=lambda f: (f.created_at, f.id))

    def tidy(self, link: Link) -> None:
        """Delete the files sent for this link that no job of the account uses."""
        sent = uploads.of(link, MOST_HELDOUT)
        with uploads.sending(sent[0]), self._told("removing files that no job uses"):
            files = self._files({upload.name for upload in sent})
            if not files:
                return
            jobs = list(self.client.fine_tuning.jobs.list(limit=100))
            used = {j.training_file for j in jobs} | {j.validation_file for j in jobs}
            for file in files:
                if file.id not in used:
                    self.client.files.delete(file.id)

    def status(self, job: Job) -> Status:
        """State, losses from events and, once there, from the result file, and what was billed."""
        return standing.status(self, job)

    def cancel(self, job: Job) -> None:
        """Ask for the end; a job that has ended already, or is not known, is left alone."""
        try:
            with self._told(f"cancelling job {job.id!r}"):
                self.client.fine_tuning.jobs.cancel(job.id)
        except VanishedError:
            return
        except BackendError:
            if self.status(job).state not in ("succeeded", "failed", "cancelled"):
                raise

    def prompts(self, tune: OpenAITune, conversations: Sequence[Sequence[Message]]) -> list[str]:
        """All turns of an example of this format but the answer."""
        return [asked(line(turns, "", "openai")) for turns in conversations]

    def parity(self, link: Any, kept: str) -> None:
        """None: the provider keeps the model, and there is but one of it."""

    def answer(
        self,
        model: str | None,
        tune: OpenAITune,
        conversations: Sequence[Sequence[Message]],
        *decodings: Decoding,
    ) -> list[list[Answer]]:
        """Chat completions, some at a time; a model that was tuned a moment ago is waited for."""
        return [prompting.answers(self, model, conversations, drawn) for drawn in decodings]
