"""Lint: every line of an export looked at before it is sent; bad ones go to quarantine where that is asked for."""

from __future__ import annotations

import codecs
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import msgspec
import xxhash

from tasks.core import store
from tasks.core.errors import ExportError
from tasks.core.models import Export, Finding, Format, Frozen
from tasks.examples import counting, rules
from tasks.examples.quarantine import SNIPPET, uids, without

SHOWN = 1_000  # findings that are kept; of more, the first of each rule
AT_ONCE = 4_096  # examples whose tokens are counted together


class Linted(Frozen):
    """What was found in an export. `counts` is {rule: number}, always whole; `export` has its tokens counted."""

    export: Export
    findings: tuple[Finding, ...]
    counts: dict[str, int]
    bad: int  # lines with an error; left out of `export` and in quarantine where that was asked for
    longest: int  # tokens of the longest example; 0 where they are not counted
    quarantine_uri: str | None = None


def of_export(export: Export, model: str, fix: bool) -> Linted:
    """Look at every line of `export` as the provider of `model` would; with `fix`, leave lines with errors out."""
    found = _Findings(export.format, uids(export), export.split == "train")
    tokens = found.look(export.uri, model)
    findings = [*found.of_file(export.uri), *found.findings]
    counts = Counter(f.rule for f in findings)
    kept = export
    if tokens and export.tokens is None:
        kept = export.model_copy(update={"tokens": sum(tokens), "tokens_high": found.most})
    bad = {f.line for f in findings if f.level == "error" and f.line}
    quarantine = None
    if fix and bad:
        kept, quarantine = without(kept, bad, findings, "fixed")
        good = _Findings(export.format, [])
        tokens = good.look(kept.uri, model)
        kept = kept.model_copy(update={"tokens": sum(tokens), "tokens_high": good.most} if tokens else {"tokens": None})
    return Linted(
        export=kept,
        findings=tuple(findings if len(findings) <= SHOWN else _firsts(findings)),
        counts=dict(counts),
        bad=len(bad),
        longest=max(tokens, default=0),
        quarantine_uri=quarantine,
    )


def of_file(path: str, format: Format, model: str) -> tuple[list[Finding], int]:
    """Look at every line of a file that nobody here has made; what was found, and how many lines there are."""
    found = _Findings(format, [])
    try:
        found.look(path, model)
    except (OSError, ValueError, ImportError) as error:
        why = "there is no such file" if isinstance(error, FileNotFoundError) else f"{type(error).__name__}: {error}"
        raise ExportError(f"cannot read the training file {path!r}: {why}; check its name and your rights") from error
    every = [*found.of_file(path), *found.findings]
    return [finding.model_copy(update={"file": path}) for finding in every], found.lines


def fixed(path: str, findings: Sequence[Finding]) -> tuple[str, int]:
    """Write the lines of a file without those that have an error beside it, those into a quarantine file.

    Returns the URI of the good lines and the number of bad ones. The file itself stays as it is.
    """
    base = f"{path.removesuffix('.jsonl')}-fixed"
    reasons: dict[int, list[str]] = {}
    for found in findings:
        if found.level == "error" and found.line:
            reasons.setdefault(found.line, []).append(f"{found.rule}: {found.message}")
    with (
        store.reading(path) as stream,
        store.writing(f"{base}.jsonl") as good,
        store.writing(f"{base}.quarantine.jsonl") as bad,
    ):
        for line, raw in enumerate(stream, 1):
            if line not in reasons:
                good.write(raw.rstrip(b"\r\n") + b"\n")
                continue
            snippet = raw.decode("utf-8", "replace")[:SNIPPET]
            row = {"line": line, "rule": "; ".join(reasons[line]), "snippet": snippet}
            bad.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
    return f"{base}.jsonl", len(reasons)


def of_link(train: Sequence[Export], holdout: Sequence[Export], rows: int) -> list[Finding]:
    """Held-out questions, of the first `rows`, that are trained on: what is measured on them would be memory."""
    if not train or train[0].format not in rules.ROLES:
        return []
    known = {prompt for export in train for _, prompt in _prompts(export.uri, export.format)}
    found = []
    left = rows
    for export in holdout:
        lines = list(islice(_prompts(export.uri, export.format), left))
        left -= len(lines)
        names = uids(export)
        for line, prompt in lines:
            if prompt in known:
                message = f"held-out line {line} of shard {export.shard} asks what is trained on: prepare again"
                found.append(Finding(rule="overlap", level="error", message=message, line=line, uid=names[line - 1]))
    return found


def _prompts(uri: str, format: Format) -> Iterator[tuple[int, int]]:
    """Line number and hash of the question of every example that can be read."""
    with store.reading(uri) as stream:
        for number, raw in enumerate(stream, 1):
            try:
                turns, _ = rules.read(msgspec.json.decode(raw.removeprefix(codecs.BOM_UTF8)), format)
            except msgspec.DecodeError:
                continue
            yield number, _hash(turns[:-1])


def _hash(turns: Sequence[rules.Turn]) -> int:
    return xxhash.xxh3_64_intdigest("\0".join(part for turn in turns for part in turn).encode("utf-8", "replace"))


class _Findings:
    """The findings of one file, and what must be remembered from line to line."""

    def __init__(self, format: Format, names: list[str], trains: bool = True) -> None:
        self.format, self.names, self.trains = format, names, trains
        self.limits = rules.limits().get(format, rules.limits()["local"])
        self.findings: list[Finding] = []
        self.seen: dict[int, tuple[int, int]] = {}  # question -> line, answer
        self.lines = self.bytes = self.most = 0

    def add(self, line: int, problem: rules.Problem) -> None:
        uid = self.names[line - 1] if line <= len(self.names) else None
        self.findings.append(Finding(line=line, uid=uid, **problem._asdict()))

    def look(self, uri: str, model: str) -> list[int]:
        """Every line; returns the tokens of each example that could be read."""
        tokens: list[int] = []
        with store.reading(uri) as stream:
            while batch := list(islice(stream, AT_ONCE)):
                if not self.lines:
                    batch[0] = batch[0].removeprefix(codecs.BOM_UTF8)  # Azure wants one; nobody else minds
                    if batch[0].startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                        self.add(1, rules.error("UTF-8", "the file is UTF-16: save it as UTF-8"))
                        return []
                read = [self._line(self.lines + n, raw) for n, raw in enumerate(batch, 1)]
                good = [(self.lines + n, turns) for n, turns in enumerate(read, 1) if turns]
                counted = counting.of_examples([turns for _, turns in good], self.format, model)
                for (line, _), many in zip(good, counted or (), strict=False):
                    self._length(line, many)
                tokens += counted or ()
                turns_of = [turns for _, turns in good]
                self.most += sum(counting.most_of_examples(turns_of, self.format, model, counted) or ())
                self.lines += len(batch)
        return tokens

    def _line(self, line: int, raw: bytes) -> list[rules.Turn]:
        """The turns of one line; none where nothing can be made of it."""
        self.bytes += len(raw)
        if not raw.strip():
            self.add(line, rules.error("blank", "the line is blank"))
            return []
        try:
            raw.decode()
        except UnicodeDecodeError as error:
            self.add(line, rules.error("UTF-8", f"byte {raw[error.start]:#x} at {error.start} is no UTF-8"))
            return []
        try:
            value: Any = msgspec.json.decode(raw)
        except msgspec.DecodeError as error:
            lone = _lone(raw)
            self.add(line, lone or rules.error("JSON", f"is no JSON ({error})"))
            return []
        turns, problems = rules.read(value, self.format)
        if not any(p.level == "error" for p in problems):  # else what follows would only say it again
            problems += rules.of_turns(turns, self.format)
        for problem in problems:
            self.add(line, problem)
        if not any(p.level == "error" for p in problems):
            self._repeats(line, turns)
        return turns

    def _repeats(self, line: int, turns: list[rules.Turn]) -> None:
        question, answer = _hash(turns[:-1]), _hash(turns[-1:])
        first, said = self.seen.setdefault(question, (line, answer))
        if first == line:
            return
        if said == answer:
            self.add(line, rules.warning("duplicate", f"says the same as line {first}"))
        else:
            self.add(line, rules.warning("contradiction", f"gives another answer to the question of line {first}"))

    def _length(self, line: int, tokens: int) -> None:
        most = self.limits.get("tokens")
        if most is not None and tokens > most:
            told = f"has {tokens} tokens, {most} are read: the end of the answer would be cut off"
            self.add(line, rules.error("length", told))

    def of_file(self, uri: str) -> Iterator[Finding]:
        """What is wrong with the file as a whole."""
        few, some, most = (self.limits.get(name) for name in ("fewest", "recommended", "most"))
        if not self.trains:
            few = some = None
        if few is not None and self.lines < few:
            yield _whole("examples", "error", f"{self.lines} examples, at least {few} are needed")
        elif some is not None and self.lines < some:
            yield _whole("examples", "warning", f"{self.lines} examples, {some} or more are recommended")
        if most is not None and self.lines > most:
            yield _whole("examples", "error", f"{self.lines} examples, {most} are taken")
        if (room := self.limits.get("bytes")) is not None and self.bytes > room:
            yield _whole("size", "error", f"{self.bytes:,} bytes, {room:,} are taken: use more shards")
        if not uri.endswith(".jsonl"):
            yield _whole("name", "error", f"the file {uri.rpartition('/')[2]!r} must end in .jsonl")


def _lone(raw: bytes) -> rules.Problem | None:
    """The problem of a line that is JSON but for half a character."""
    try:
        found = rules.SURROGATE.search(json.dumps(json.loads(raw), ensure_ascii=False))
    except ValueError:
        return None
    return rules.error("surrogate", f"{found.group()!r} is half a character: no UTF-8 can hold it") if found else None


def _whole(rule: str, level: Any, message: str) -> Finding:
    return Finding(rule=rule, level=level, message=message)


def _firsts(findings: Sequence[Finding]) -> list[Finding]:
    """The first of each rule, as many of each as fit."""
    each = SHOWN // len({f.rule for f in findings})
    told: Counter[str] = Counter()
    kept = []
    for finding in findings:
        told[finding.rule] += 1
        if told[finding.rule] <= each:
            kept.append(finding)
    return kept
