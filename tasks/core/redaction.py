"""Redaction: find secrets inside URIs, refuse them in recipes, and replace them in everything shown or stored."""

from __future__ import annotations

import base64
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

NAMED = (
    r"x-amz-(?:signature|security-token|credential)|x-goog-(?:signature|credential)|awsaccesskeyid|signature|sig|"
    r"(?:[a-z]+[_-])*(?:token|password|passwd|pwd|secret)|(?:[a-z]+[_-])?api[_-]?key|(?:secret|access|account|private)"
    r"[_-]?key"
)
SIGNED = rf"(?:{NAMED}|key)"
# user:password@ of any scheme; a web address has no harmless name before its host, so there it is refused alone too.
USER = r"[A-Za-z][A-Za-z0-9+.-]{0,31}://[^\s/@:\[]*:(?!\d+(?:[/?#]|$))[^\s@]*@"
ALONE = r"(?:https?|wss?)://[^\s/?#@]+@"
CODE = r"code=[A-Za-z0-9%+/=_.-]{20}"  # the key of a function at Azure, the code of a login
QUERY = rf"://[^\s?#]*[?#](?:[^\s#]*&)?(?:{SIGNED}=[^&\s]|{CODE})"
SECRET = re.compile(rf"{USER}|{ALONE}|(?i:{QUERY})")
# What a form says of a URI field, so that a server refuses such a value before it keeps it. Plain enough for the
# regular expressions of browsers.
_NAMES = (
    "[Ss]ig|[Ss]ignature|[Tt]oken|[Pp]assw(?:or)?d|[Pp]wd|[Ss]ecret|[Cc]redential|[Aa]?[Kk]ey|[Aa]pi[Kk]ey|AccessKeyId"
)
REFUSED_IN_FORMS: dict[str, Any] = {
    "not": {"type": "string", "pattern": rf"{USER}|{ALONE}|[?&](?:[A-Za-z]+[_-])*(?:AWS)?(?:{_NAMES})=|[?&]{CODE}"}
}


def _login(match: re.Match[str]) -> str:
    """A header of basic authentication without its login; words that only follow "basic" stay."""
    scheme, _, encoded = match[0].partition(match[0][5])
    with suppress(ValueError):  # no base64, or no text
        login = base64.b64decode(encoded.strip() + "=" * (-len(encoded.strip()) % 4), validate=True).decode()
        if ":" in login and login.isprintable():
            return f"{scheme} ***"
    return match[0]


_QUOTE = r"\\{0,8}[\"']"  # JSON within JSON has its quotes escaped
_VALUE = r"(?![<\[])(?:[^\"'\\]|\\(?![\"'\\])){3,}"  # tokens of a tokenizer begin so, and are no secrets
_SHOWN: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    (re.compile(r"(-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----).*?(?:-----END|\Z)", re.DOTALL), r"\1***"),
    (re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,31}://)[^\s/@:'\"<>\[]*:(?!\d+(?:[/?#'\"\s]|$))[^\s'\"<>]*@"), r"\1***@"),
    (re.compile(r"((?:https?|wss?)://)[^\s/?#@'\"<>]+@"), r"\1***@"),
    (re.compile(rf"(?i)([?&;#]{SIGNED}=)[^&\s'\"<>#)]+"), r"\1***"),
    (re.compile(r"(?i)([?&;#]code=)[^&\s'\"<>#)]{8,}"), r"\1***"),  # of a login; short ones are product codes
    (re.compile(r"(?i)(?<![\w-])(sig(?:nature)?=)[A-Za-z0-9%+/=_-]{6,}"), r"\1***"),
    (
        re.compile(rf"(?i)({_QUOTE}(?:{NAMED}|(?:proxy-)?authorization){_QUOTE}\s{{0,9}}:\s{{0,9}}{_QUOTE}){_VALUE}"),
        r"\1***",
    ),
    (re.compile(r"(?i)(\bbearer\s+)[A-Za-z0-9._~+/=-]{8,}"), r"\1***"),
    (re.compile(r"(?i)(\bauthorization\W{1,12}basic\s+)[A-Za-z0-9+/=]{4,}"), r"\1***"),
    (re.compile(r"(?i)\bbasic\s+[A-Za-z0-9+/]{6,}={0,2}"), _login),
    (re.compile(r"(?i)(\b(?:x-goog-|x-)?api-key\b['\"]?\s*:\s*['\"]?)[^\s'\",;]{8,}"), r"\1***"),
)
VARIABLES = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "gcs": "GOOGLE_APPLICATION_CREDENTIALS",
    "hf": "HF_TOKEN",
    "postgresql": "PGPASSWORD or a password file",
    "postgres": "PGPASSWORD or a password file",
    "az": "AZURE_STORAGE_CONNECTION_STRING",
    "abfs": "AZURE_STORAGE_CONNECTION_STRING",
    "abfss": "AZURE_STORAGE_CONNECTION_STRING",
    "http": 'FSSPEC_HTTP (JSON of storage options, as in {"headers": {"Authorization": "…"}})',
    "https": 'FSSPEC_HTTPS (JSON of storage options, as in {"headers": {"Authorization": "…"}})',
}


def redacted(text: str) -> str:
    """`text` with `***` in place of passwords, signatures and tokens inside URIs and headers, and of private keys."""
    for pattern, shown in _SHOWN:
        text = pattern.sub(shown, text)
    return text


def logs() -> None:
    """Redact every log record of this process from now on, also those of libraries. Safe to repeat."""
    made = logging.getLogRecordFactory()
    if getattr(made, "redacts", False):
        return

    def redacting(*args: Any, **more: Any) -> logging.LogRecord:
        record = made(*args, **more)
        with suppress(Exception):  # a message that does not fit its values is the handler's to report
            message = record.getMessage()
            if (shown := redacted(message)) != message:
                record.msg, record.args = shown, None
        return record

    redacting.redacts = True  # type: ignore[attr-defined]
    logging.setLogRecordFactory(redacting)


def refusal(name: str, value: str, variable: str | None = None) -> str | None:
    """Why `value`, which `name` holds, is refused: it contains a secret. None where it does not."""
    if not SECRET.search(value):
        return None
    scheme = value.partition("://")[0].rpartition("::")[2].lower()
    instead = variable or VARIABLES.get(scheme, "the variable that the library of this address reads")
    return f"{name} = {redacted(value)!r} contains a password or a signature: remove it and set {instead} instead"


def refusals(value: Any, name: str = "") -> Iterator[str]:
    """A refusal for each string inside `value` (of dicts and lists) that contains a secret."""
    if isinstance(value, str):
        if name.endswith("base_url"):
            reason = refusal(name, value, "the variable that tune.key_variable names (OPENAI_API_KEY)")
        elif name.endswith("management_url"):
            reason = refusal(name, value, "AZURE_MANAGEMENT_TOKEN")
        else:
            reason = refusal(name, value)
        if reason:
            yield reason
    elif isinstance(value, dict):
        for part, inner in value.items():
            yield from refusals(inner, f"{name}.{part}" if name else str(part))
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            yield from refusals(inner, f"{name}.{number}")
