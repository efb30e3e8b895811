"""The local backend: a job is a process on this machine with a folder under the root."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import psutil

from tasks.backends.contract import ENDED, Answer, Decoding, Job, JobStatus, Quote
from tasks.backends.local import distributed, engines, jobs, memory, models, parity, sampler
from tasks.core import processes, settings, store
from tasks.core.errors import BackendError, DamagedError, ShardtuneError
from tasks.core.models import Export, Finding, Format, Message, Parity
from tasks.examples import templates
from tasks.examples.export import read_rows
from tasks.examples.styles import STYLES
from tasks.examples.templates import Rendering, load_tokenizer, render
from tasks.recipe import allowed
from tasks.recipe.tuning import LocalTune

CANCELLED = "cancelled.json"  # in a job's folder: it was cancelled on purpose
GRACE = 20.0  # seconds for a cancelled trainer to write its last status


def backend(tune: LocalTune) -> Local:
    """The backend of this module."""
    return Local()


class Local:
    """Fine-tunes on this machine. Jobs outlive the process that submits them."""

    name = "local"
    paid = False
    poll = (0.5, 5.0)

    def format(self, link_tune: LocalTune) -> Format:
        """`chat` if the base has a chat template and the recipe wants it, else `alpaca`."""
        return models.rendering(link_tune).template

    def rendering(self, tune: LocalTune) -> Rendering | None:
        """The model's chat template, or Alpaca if it has none."""
        return models.rendering(tune)

    def base_digest(self, tune: LocalTune) -> str | None:
        """The digest of the files on this machine; None for a hub name."""
        return models.digest(tune)

    def endpoint(self, tune: LocalTune) -> str | None:
        """None: the result does not depend on which machine trains."""
        return None

    def tidy(self, link: jobs.LocalLink, job: Job | None = None) -> None:
        """Nothing is uploaded, so there is nothing to delete."""

    def check(self, link: jobs.LocalLink) -> list[Finding]:
        """Findings about engine, base model, template, lengths and memory."""
        tune = link.tune
        findings = engines.findings(tune.engine, tune.load_in_4bit)
        try:
            config = models.config(tune)
        except ShardtuneError as error:
            return [*findings, Finding(rule="base model", level="error", message=str(error))]
        findings += distributed.findings(tune, engines.gpus())
        limit = config.get("max_position_embeddings")
        if isinstance(limit, int) and tune.max_length > limit:
            message = f"tune.max_length={tune.max_length!r} is above the {limit} positions of the base model"
            findings.append(Finding(rule="length", level="error", message=message))
        findings += _too_long(link)
        drawn = models.rendering(tune)
        system = STYLES[link.style].system is not None
        with engines.lean(tune):
            findings += templates.findings(drawn.template, load_tokenizer(drawn), system)
        if any(f.level == "error" for f in findings):
            return findings
        return [*findings, *memory.findings(config, tune, engines.has_gpu(), engines.precision())]

    def quote(self, link: jobs.LocalLink) -> Quote:
        """Examples and tokens that will be trained on; it costs nothing."""
        counted = [_counted(export, link) for export in link.train]
        examples, tokens = sum(many for many, _ in counted), [total for _, total in counted]
        tune = link.tune
        share = tune.epochs
        if tune.max_steps:
            share = tune.max_steps * tune.batch_size * tune.gradient_accumulation / max(examples, 1)
        total = None if None in tokens else int(sum(t or 0 for t in tokens) * share)
        return Quote(
            examples=int(examples * share),
            tokens=total,
            usd_low=0.0,
            usd_high=0.0,
            basis="runs on this machine, nobody sends a bill",
        )

    def find(self, key: str) -> Job | None:
        """The job in the folder of this key, in any state."""
        return jobs.Folder.of(key).read("job.json", Job)

    def submit(self, link: jobs.LocalLink) -> Job:
        """Start the trainer unless it runs or has succeeded. After a kill it resumes from its newest checkpoint."""
        folder = jobs.Folder.of(link.key)
        patience = time.monotonic() + 10
        while True:
            with folder.lock() as lock:
                if lock is not None:
                    return self._started(folder, link, lock)
            job = self.find(link.key)
            if job is not None and folder.process is not None:
                return job
            if time.monotonic() > patience:
                raise BackendError(f"job folder {str(folder.path)!r} is held by an unknown process: end it, then again")
            time.sleep(0.05)

    def _started(self, folder: jobs.Folder, link: jobs.LocalLink, lock: int) -> Job:
        job = self.find(link.key)
        status = folder.status
        if job is not None and status.state == "succeeded" and models.stands(status.model, status.model_digest):
            return job
        if link.parent_model and not models.stands(link.parent_model, link.parent_digest):
            raise DamagedError(
                f"the model {link.parent_model!r} that this link starts from is gone or not as it was written: run the "
                "same command again, it is made anew"
            )
        now = datetime.now(UTC).isoformat(timespec="seconds")
        job = job or Job(key=link.key, backend=self.name, id=link.key, url=folder.path.as_uri(), submitted_at=now)
        folder.write("link.json", link)
        folder.write("status.json", JobStatus(state="queued"))
        (folder.path / CANCELLED).unlink(missing_ok=True)
        # Written before the trainer starts: if this process dies here, the job is found again as interrupted.
        folder.write("job.json", job)
        process = _spawned(distributed.command(str(folder.path / "link.json"), link.tune.processes), folder.log, lock)
        with suppress(psutil.NoSuchProcess):  # it has ended already; its status says why
            folder.sign(psutil.Process(process.pid))
        return job

    def status(self, job: Job) -> JobStatus:
        """The last status of the trainer; failed and interrupted if its process is gone before the end."""
        folder = jobs.Folder.of(job.key)
        if not (folder.path / "job.json").exists():
            raise BackendError(f"job {job.id!r}: no folder {str(folder.path)!r} on this machine; was it started here?")
        # Read the lock before the file: a trainer writes its last status before it releases the lock.
        gone = not folder.is_locked()
        status = folder.status.model_copy(update={"points": folder.points})
        if status.state == "succeeded" and not models.stands(status.model, status.model_digest):
            lost = f"its adapter {status.model!r} is gone or damaged: run the same command, it is made again"
            return status.model_copy(update={"state": "failed", "interrupted": True, "error": lost})
        if status.state in ENDED or not gone:
            return status
        if (folder.path / CANCELLED).exists():
            return status.model_copy(update={"state": "cancelled", "detail": "cancelled"})
        reason = f"the trainer is gone without an end (see {str(folder.log)!r}): run the same command, it goes on"
        return status.model_copy(update={"state": "failed", "interrupted": True, "error": reason})

    def cancel(self, job: Job) -> None:
        """Cancel the job: ask the trainer to stop, then kill it. No error if it has ended already."""
        folder = jobs.Folder.of(job.key)
        process = folder.process if folder.is_locked() else None
        if process is not None:
            # Written before the signal, so that a status read afterwards says cancelled and not interrupted.
            folder.write(CANCELLED, {"at": datetime.now(UTC).isoformat(timespec="seconds")})
            _stop(process)
        with folder.lock() as lock:
            if lock is not None and (folder.path / "job.json").exists() and folder.status.state not in ENDED:
                ended = folder.status.model_copy(update={"state": "cancelled", "detail": "cancelled"})
                folder.write("status.json", ended)

    def prompts(self, tune: LocalTune, conversations: Sequence[Sequence[Message]]) -> list[str]:
        """Each conversation as rendered by the base model's template."""
        drawn = models.rendering(tune)
        with engines.lean(tune):
            tokenizer = load_tokenizer(drawn)
        return [render(turns, drawn.template, tokenizer) for turns in conversations]

    def parity(self, link: jobs.LocalLink, kept: str) -> Parity | None:
        """The comparison with the answers noted in training; None if that job noted none."""
        return parity.asked(jobs.Folder.of(link.key), kept)

    def answer(
        self, model: str | None, tune: LocalTune, conversations: Sequence[Sequence[Message]], *decodings: Decoding
    ) -> list[list[Answer]]:
        """Answers of the base or of base + adapter. The model is loaded once for all decodings, then released."""
        if not conversations:
            return [[] for _ in decodings]
        with tempfile.TemporaryDirectory(prefix="shardtune-") as folder:
            adapter = None if model is None else fetched(model, Path(folder))
            asked = sampler.SamplingRequest(
                base=models.resolve(tune),
                adapter=adapter,
                tune=tune,
                version=version(tune, adapter),
                decodings=decodings,
                conversations=tuple(tuple(talk) for talk in conversations),
            )
            try:
                return _elsewhere(asked, folder) if engines.apart(tune) else _here(asked)
            except Exception as error:
                raise BackendError(f"model {model or tune.base_model!r} did not answer: {error}") from error


def _here(asked: sampler.SamplingRequest) -> list[list[Answer]]:
    with engines.lean(asked.tune):
        engines.quiet()
        return sampler.answers(asked)


def _elsewhere(asked: sampler.SamplingRequest, folder: str) -> list[list[Answer]]:
    """Answers from a child process, which releases the GPU's memory when it ends."""
    question, answered = f"{folder}/asked.json", f"{folder}/answers.json"
    store.write_json(question, asked.model_dump(mode="json"))
    command = [sys.executable, "-m", "tasks.backends.local.sampler", question, answered]
    env = processes.environment("hub")
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, env=env)
    if done.returncode != 0:
        raise RuntimeError((done.stderr.strip().splitlines() or ["no output"])[-1])
    return [[Answer.model_validate(a) for a in answers] for answers in store.read_json(answered)]


def _spawned(command: list[str], log: Path, lock: int) -> subprocess.Popen[bytes]:
    """Start the trainer in its own session. It inherits the lock; a thread reaps it while this process lives."""
    os.set_inheritable(lock, True)
    with log.open("ab") as stream:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=(lock,),
            env=processes.environment("hub", settings.root()) | {settings.ROOT_VARIABLE: settings.root()},
        )
    threading.Thread(target=process.wait, name=f"reap-{process.pid}", daemon=True).start()
    return process


def _stop(process: psutil.Process) -> None:
    try:
        process.send_signal(signal.SIGTERM)
        process.wait(GRACE)
    except psutil.TimeoutExpired:
        # The group of its session: the trainer and all processes that it started.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(GRACE)
    except psutil.NoSuchProcess:
        return


def _too_long(link: jobs.LocalLink) -> list[Finding]:
    """A finding about training examples that are longer than the model reads, and what happens to them."""
    many, whole = sum(e.truncated or 0 for e in link.train), sum(e.examples for e in link.train)
    if not many or link.too_long is None:
        return []
    then = {"drop": "left out", "cut": "cut, their end kept", "split": "split at the ends of sentences"}[link.too_long]
    message = (
        f"{many} of {whole} training examples are longer than tune.max_length={link.tune.max_length!r} tokens: they "
        f"are {then} (tune.too_long={link.too_long!r}); raise tune.max_length to take them whole"
    )
    none = many == whole and link.too_long == "drop"
    return [Finding(rule="too long", level="error" if none else "warning", message=message)]


def _counted(export: Export, link: jobs.LocalLink) -> tuple[int, int | None]:
    """Examples and tokens of an export that are trained on. Too long examples are left out or cut.

    Examples that will be split count whole: the number of pieces is known only once they are made.
    """
    if not export.truncated or link.too_long == "split":
        return export.examples, export.tokens
    lengths, longest = read_rows(export, ["tokens"])["tokens"].to_numpy(), link.tune.max_length
    if link.too_long == "drop":
        lengths = lengths[lengths <= longest]
    return len(lengths), int(lengths.clip(max=longest).sum())


def version(tune: LocalTune, adapter: str | None) -> str:
    """The version of a model: the base's name, with an adapter also the digest of its files."""
    return tune.base_model if adapter is None else f"{tune.base_model}+{models.digest_of(Path(adapter))[:16]}"


def fetched(model: str, into: Path) -> str:
    """The adapter as a folder on this machine."""
    if "://" not in model:
        if not (Path(model) / "adapter_config.json").exists():
            raise BackendError(f"model {model!r} is no adapter on this machine: run finetune again, or name another")
        status = jobs.Folder(Path(model).parent).status  # if it is the adapter of a job
        if status.model == model and not models.stands(model, status.model_digest):
            raise DamagedError(f"model {model!r} is not as it was written: run finetune again, it is made anew")
        return model
    import fsspec

    allowed.check("model", model, settings.root())
    fs, name = fsspec.core.url_to_fs(model)
    fs.get(f"{name}/", f"{into}/adapter/", recursive=True)
    return str(into / "adapter")
