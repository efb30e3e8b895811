"""Endpoint: which service a base URL leads to. A simulator on this machine must never pass for the provider."""

from __future__ import annotations

import ipaddress
import os
from urllib.parse import urlsplit

from tasks.core import redaction
from tasks.core.errors import BackendError, RecipeError

CERTIFICATES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")  # some libraries read only the first, some only the second


def checked(name: str, url: str, secret_variable: str) -> str:
    """`url` if it is a web address with a host and without a password, else RecipeError. `name` is its setting."""
    if refused := redaction.refusal(name, url, secret_variable):
        raise RecipeError(refused)
    try:
        parts = urlsplit(url)
        whole = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:  # a port that is no number
        whole = False
    if not whole or url != url.strip() or any(c.isspace() for c in url):
        raise RecipeError(f"{name} = {url!r} is not a web address: write it as https://HOST/v1")
    return url


def identity(url: str | None, official: str) -> str | None:
    """None for the provider's own service (or no URL), "loopback/…" for this machine, else host and path."""
    if not url:
        return None
    parts = urlsplit(url)
    host = parts.hostname or ""
    if _is_of(host, official):
        return None
    return ("loopback" if is_loopback(url) else host) + parts.path.rstrip("/")


def _is_of(host: str, domain: str) -> bool:
    """Whether `host` is `domain` or lies in it: `eu.api.openai.com` does, `notgoogleapis.com` does not."""
    return host.lower().rstrip(".") == domain or host.lower().rstrip(".").endswith(f".{domain}")


def offered(url: str | None, hosts: dict[str, str]) -> str | None:
    """The section of offers.yaml for the host of `url`; `hosts` maps domains to sections. None for an unknown host."""
    host = urlsplit(url).hostname if url else None
    return next((section for domain, section in hosts.items() if host and _is_of(host, domain)), None)


def is_loopback(url: str | None) -> bool:
    """Whether the URL leads to this machine."""
    host = urlsplit(url).hostname if url else None
    if host is None:
        return False
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_page(body: object) -> bool:
    """Whether an answer is HTML, which a proxy or a login page of the network sends instead of the provider."""
    return isinstance(body, str) and body.lstrip().startswith("<")


def trusting() -> None:
    """Make all HTTP libraries trust the same certificates: a file named in one variable counts in the other too.

    BackendError where the named file is not there.
    """
    named = {name: value for name in CERTIFICATES if (value := os.environ.get(name))}
    for name, value in named.items():
        if not os.path.exists(value):
            raise BackendError(f"{name} = {value!r} does not exist: set it to a file of CA certificates, or unset it")
    for name in CERTIFICATES:
        if named and name not in named:
            os.environ[name] = next(iter(named.values()))


def key_of(variable: str, key: str) -> str:
    """`key` if it can be sent in a header, else BackendError; the key itself is never shown."""
    if not key.isascii() or not key.isprintable() or " " in key:
        what = "a line break or a space" if key.isascii() else "a character that is not ASCII"
        raise BackendError(f"the key in {variable} holds {what}: set {variable} again, to the key alone")
    return key


def unanswered(error: BaseException) -> str:
    """Why there was no answer and what to do, from the chain of exceptions of any HTTP library."""
    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in chain:
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__
    words = " ".join(f"{type(one).__name__} {one}" for one in chain).lower()
    name = type(chain[1] if len(chain) > 1 else error).__name__
    proxy = next((f"{n} = {redaction.redacted(v)!r}" for n in _PROXIES if (v := os.environ.get(n))), None)
    if "certificate" in words or "sslerror" in words:
        return (
            f"the certificate of the server is not trusted ({name}): set SSL_CERT_FILE to the file of your network's "
            "CA certificates, and check this machine's clock"
        )
    if "proxy" in words or (proxy and "connect" in words):
        return f"the proxy does not answer ({proxy or name}): correct or unset that variable"
    if "illegal header" in words or "invalid header" in words:
        return "a header cannot be sent: look for line breaks in the variables that begin with OPENAI_ or GOOGLE_"
    return f"no answer ({name})"


_PROXIES = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")
