"""The gemini backend: tuning jobs of Gemini models on Vertex.

The create call is made once and never retried. A job carries its key as a label and in the names of its files.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from tasks.backends import endpoint, lifecycle, offers, pricing, shapes, uploads
from tasks.backends.contract import Answer, Decoding, Job, JobStatus, Link, Quote
from tasks.core.errors import BackendError, MissingExtraError, TransientError, VanishedError
from tasks.core.models import Finding, Format, Message
from tasks.examples.lines import line
from tasks.examples.questions import asked
from tasks.recipe.tuning import GeminiTune

try:
    from google.genai import types

    from tasks.backends.gemini import answers, bucket
    from tasks.backends.gemini import client as vertex
    from tasks.backends.gemini import status as stage
except ImportError as error:
    raise MissingExtraError("google-genai", "gemini") from error

KEY = "shardtune_key"  # among a job's labels
MOST_HELDOUT, SHARE = 5_000, 0.3  # most rows of a validation file, in number and as a share of the training rows


def backend(tune: GeminiTune) -> Gemini:
    """The backend of this module, for the project and location of `tune`."""
    return Gemini(tune)


class Gemini:
    """Tunes in the project and location of one tune."""

    name = "gemini"
    paid = True

    def __init__(self, tune: GeminiTune) -> None:
        self.tune = tune
        self.base_url = os.environ.get("GOOGLE_VERTEX_BASE_URL") or None
        if self.base_url:
            endpoint.checked("GOOGLE_VERTEX_BASE_URL", self.base_url, "GOOGLE_APPLICATION_CREDENTIALS")
        self.poll = (0.2, 1.0) if endpoint.is_loopback(self.base_url) else (10.0, 180.0)

    @cached_property
    def reading(self) -> Any:
        """A client for reads: it retries."""
        return vertex.client(self.tune, self.tune.location, attempts=4)

    @cached_property
    def creating(self) -> Any:
        """A client for create and cancel calls: it never retries."""
        return vertex.client(self.tune, self.tune.location, attempts=1)

    def format(self, tune: GeminiTune) -> Format:
        """Lines of Gemini."""
        return "gemini"

    def rendering(self, tune: GeminiTune) -> None:
        """None: the service renders conversations itself."""

    def base_digest(self, tune: GeminiTune) -> None:
        """None: the base lies at the service."""

    def endpoint(self, tune: GeminiTune) -> str | None:
        """Project and location, and the host if it is not Google's."""
        other = endpoint.identity(self.base_url, "googleapis.com")
        project = tune.project or os.environ.get("GOOGLE_CLOUD_PROJECT")  # a quote needs none
        return "/".join(part for part in (other, project, tune.location) if part)

    @property
    def offer(self) -> offers.Offer | None:
        """The offer for the base, with its prices."""
        return offers.find("gemini", self.tune.base_model)

    def check(self, link: Link) -> list[Finding]:
        """Findings about sizes and the base model. BackendError if project, credentials or bucket are missing."""
        findings = uploads.findings(link, "gemini")
        findings += offers.findings("gemini", link.base_model, offers.today(), offers.needed_until(link))
        if any(f.level == "error" for f in findings):
            return findings
        folder = bucket.folder_of(self.tune)
        with vertex.translated("asking whether this account may tune"):
            next(iter(self.reading.tunings.list(config=types.ListTuningJobsConfig(page_size=1))), None)
        bucket.reachable(folder)
        return findings

    def quote(self, link: Link) -> Quote:
        """An estimate: tokens by script, times epochs, times the price of the base model."""
        return pricing.of_link(link, self.tune.epochs, self.offer)

    def find(self, key: str) -> Job | None:
        """The oldest job of this key that runs or has succeeded, else the newest."""
        mine = [j for j in self._jobs(self.reading, key) if _is_of(j, key)]
        mine = mine or [j for j in self._jobs(self.reading) if _is_of(j, key)]
        mine.sort(key=lambda j: (str(j.create_time), j.name))
        live = [job for job in mine if stage.STATES.get(stage.word(job), "running") not in ("failed", "cancelled")]
        return self._job((live[:1] or mine[-1:])[0], key) if mine else None

    def _jobs(self, client: Any, key: str | None = None) -> list[Any]:
        """All jobs, or with `key` those with its label; none if the service has no such filter."""
        wanted = {"filter": f"labels.{KEY}={key}"} if key else {}
        try:
            with vertex.translated("looking for jobs"):
                listed = client.tunings.list(config=types.ListTuningJobsConfig(page_size=100, **wanted))
                return list(shapes.once(listed, lambda job: job.name))
        except TransientError:
            raise
        except BackendError as error:
            if key is None or " 400 " not in str(error):
                raise
            return []

    def _job(self, job: Any, key: str) -> Job:
        if not job.name:
            raise vertex.misshapen("reading a job", ValueError("it has no name"))
        made = job.create_time.isoformat() if job.create_time else ""
        return Job(key=key, backend=self.name, id=job.name, submitted_at=made)

    def submit(self, link: Link) -> Job:
        """Write the files that are not in the bucket yet, and create the job: one call, never retried."""
        tune, folder = self.tune, bucket.folder_of(self.tune)
        training, heldout = self._uploads(link)
        parent, _, checkpoint = (link.parent or "").partition("#")
        if link.parent_key and "/models/" not in parent:
            raise BackendError(f"the link before left {parent!r}, which is no model to go on from: look at its job")
        # As an object, not a dict: the SDK drops the checkpoint from a dict.
        config = types.CreateTuningJobConfig(
            tuned_model_display_name=f"shardtune {link.name} {link.key[:8]}"[:128],
            labels={KEY: link.key, "shardtune_recipe": "".join(c if c.isalnum() else "-" for c in link.name)[:63]},
            epoch_count=tune.epochs,
            learning_rate_multiplier=tune.learning_rate_multiplier,
            adapter_size=f"ADAPTER_SIZE_{_SIZES[tune.adapter_size]}" if tune.adapter_size else None,  # type: ignore[arg-type]
            pre_tuned_model_checkpoint_id=checkpoint or None,
        )
        with uploads.sending(training):
            sent = bucket.put(training, folder)
            config.validation_dataset = types.TuningValidationDataset(gcs_uri=bucket.put(heldout, folder))
            # The SDK warns at the first call that tuning is experimental.
            translating = vertex.translated("creating the job", self.poll[1])
            mark = lifecycle.creating(link.key, self.poll)
            with mark as answered, translating, warnings.catch_warnings(action="ignore"):
                created = self.creating.tunings.tune(
                    base_model=parent or link.start,
                    training_dataset=types.TuningDataset(gcs_uri=sent),
                    config=config,
                )
                return answered(self._job(created, link.key))

    def _uploads(self, link: Link) -> tuple[uploads.Upload, uploads.Upload]:
        rows = sum(e.examples for e in link.train)
        return uploads.of_link(link, max(1, min(MOST_HELDOUT, int(SHARE * rows))))

    def tidy(self, link: Link, job: Job | None = None) -> None:
        """Delete the objects sent for this link that no job reads, in any region where its base model is tuned.

        Their names contain the link's key, so they are all of this link, also those of an older version or of another
        number of held-out rows.
        """
        with uploads.sending(self._uploads(link)[0]):
            objects = bucket.there(uploads.stem(link.key), bucket.folder_of(self.tune))
            if not objects:
                return
            # The link's own job is looked up by its name, since a list may not show it yet.
            used = _read_by([self._retrieved(job)]) if job else set()
            if job and (not used or used.issuperset(objects)):
                return  # all are in use, or the job does not show which it reads
            regions = {self.tune.location, *(self.offer.regions if self.offer else ())}
            clients = [self.reading if r == self.tune.location else vertex.client(self.tune, r, 4) for r in regions]
            used |= _read_by([one for client in clients for one in self._jobs(client)])
            bucket.remove([uri for uri in objects if uri not in used])

    def _retrieved(self, job: Job) -> Any:
        with vertex.translated(f"reading job {job.id!r}"):
            return self.reading.tunings.get(name=job.id)

    def status(self, job: Job) -> JobStatus:
        """State, progress and statistics, and at the end the losses if the service has left any."""
        with vertex.translated(f"reading job {job.id!r}"):
            tuning = self.reading.tunings.get(name=job.id)
            if not tuning.name and not tuning.state:
                raise ValueError("no name and no state")
            status = stage.status(tuning, job, self.poll)
        tokens, epochs = status.facts.get("billable_tokens"), status.facts.get("epochs") or self.tune.epochs
        if not tokens or not epochs or status.state != "succeeded":
            return status
        # An estimate: the service counts tokens and sends no bill.
        estimated = pricing.billed_usd(self.offer, tokens * epochs)
        return status.model_copy(update={"facts": status.facts | {"estimated_usd": estimated}})

    def cancel(self, job: Job) -> None:
        """Cancel the job; no error if it has ended already or is unknown."""
        try:
            with vertex.translated(f"cancelling job {job.id!r}"):
                self.creating.tunings.cancel(name=job.id)
        except VanishedError:
            return
        except BackendError:
            if self.status(job).state not in ("succeeded", "failed", "cancelled"):
                raise

    def prompts(self, tune: GeminiTune, conversations: Sequence[Sequence[Message]]) -> list[str]:
        """The messages of an example in this format, without the answer."""
        return [asked(line(turns, "", "gemini")) for turns in conversations]

    def parity(self, link: Any, kept: str) -> None:
        """None: only the provider has the model, so there is no copy to compare."""

    def answer(
        self, model: str | None, tune: GeminiTune, conversations: Sequence[Sequence[Message]], *decodings: Decoding
    ) -> list[list[Answer]]:
        """Answers of the base or of a tuned endpoint, several at a time."""
        return [answers.answers(tune, model, conversations, drawn, self.poll) for drawn in decodings]


def _read_by(jobs: Sequence[Any]) -> set[str]:
    """URIs of the objects that these jobs read."""
    specs = [job.supervised_tuning_spec for job in jobs]
    return {uri for s in specs if s for uri in (s.training_dataset_uri, s.validation_dataset_uri) if uri}


def _is_of(job: Any, key: str) -> bool:
    """Whether label or training file say that the job is of this key."""
    spec = job.supervised_tuning_spec
    sent = str(spec.training_dataset_uri if spec else "").rpartition("/")[2]
    return (job.labels or {}).get(KEY) == key or sent.startswith(uploads.stem(key))


_SIZES = {1: "ONE", 2: "TWO", 4: "FOUR", 8: "EIGHT", 16: "SIXTEEN"}
