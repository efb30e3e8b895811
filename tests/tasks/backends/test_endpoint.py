"""What a base URL stands for: a simulator is never taken for the provider."""

from __future__ import annotations

import pytest

from tasks.backends import endpoint


@pytest.mark.parametrize(
    ("url", "told"),
    [
        (None, None),
        ("", None),
        ("https://api.openai.com/v1", None),
        ("https://eu.api.openai.com/v1/", None),
        ("https://shop.openai.azure.com/openai/v1", "shop.openai.azure.com/openai/v1"),
        ("http://127.0.0.1:8731/openai/v1", "loopback/openai/v1"),
        ("http://localhost:99/openai/v1/", "loopback/openai/v1"),
        ("http://[::1]:99/v1", "loopback/v1"),
        ("https://api.openai.com.evil.example/v1", "api.openai.com.evil.example/v1"),
        ("https://notapi.openai.com/v1", "notapi.openai.com/v1"),
        ("https://API.openai.com./v1", None),
    ],
)
def test_only_the_providers_own_host_has_no_name(url, told):
    assert endpoint.identity(url, "api.openai.com") == told


def test_another_port_is_the_same_simulator():
    assert endpoint.identity("http://127.0.0.1:1/v1", "x") == endpoint.identity("http://127.0.0.1:2/v1", "x")
