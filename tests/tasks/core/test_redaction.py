"""Secrets inside URIs are refused in recipes and never shown; what only looks like one is left alone."""

from __future__ import annotations

import logging
import time

import jsonschema
import pytest

from tasks.core import redaction, settings
from tasks.core.errors import CatalogueError, RecipeError
from tasks.recipe import allowed, loader
from tasks.recipe.model import Recipe

# The second is the example of Amazon's page on presigned URLs, the third of Microsoft's on shared access signatures.
HOLD = [
    ("https://me:hush@shop.example/products.json", "FSSPEC_HTTPS"),
    (
        "https://examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=hush%2F20130524"
        "%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
        "&X-Amz-Signature=hush",
        "FSSPEC_HTTPS",
    ),
    ("https://a.blob.core.windows.net/c/b?sp=r&st=2023-05-24T01:13:55Z&spr=https&sv=2022-11-02&sr=b&sig=hush%2B", ""),
    ("https://hush@raw.example/products.json", "FSSPEC_HTTPS"),
    ("s3://AKIAIOSFODNN7EXAMPLE:hush@bucket/products.json", "AWS_SECRET_ACCESS_KEY"),
    ("https://shop.example/products.json?page=2&token=hush", "FSSPEC_HTTPS"),
    ("https://shop.example/v1?api_key=hush", "FSSPEC_HTTPS"),
    ("simplecache::https://me:hush@shop.example/products.json", "FSSPEC_HTTPS"),
    ("https://shop.azurewebsites.net/api/products?code=hushhushhush-hushhushhush==", "FSSPEC_HTTPS"),
    ("postgresql://me:hush@host:5432/shop", "PGPASSWORD"),
    ("mysql://me:hush@host:3306/shop", "variable"),
    ("https://me:h@ush@shop.example/products.json", ""),
]  # fmt: skip
HARMLESS = [
    "https://shop.example/products.json?page=2&monkey=1",
    "http://127.0.0.1:8700/openai/v1",
    "http://[::1]:8700/a@b",
    "http://shop.example:8080?to=me@shop.example",
    "http://shop.example:8080/a:b@c?to=me@shop.example#a@b",
    "https://shop.example/products.json?code=DE-404&zip=1",
    "hf://datasets/OWNER/NAME@main/data.json",
    "s3://bucket/a@b:c",
    "https://www.amazon.com/dp/{uid}",
    "/data/me:you@home.json",
    "gs://bucket/folder",
]


@pytest.mark.parametrize(("uri", "variable"), HOLD)
def test_a_secret_in_a_uri_is_refused_everywhere_with_what_to_set_instead(uri, variable):
    schema = Recipe.model_json_schema()
    for work in (
        lambda: loader.load(None, [f"catalogue.uri='{uri}'"]),
        lambda: loader.load("gpt-4o-mini", [f"tune.base_url='{uri}'"]),
        lambda: allowed.check("catalogue.uri", uri),
    ):
        with pytest.raises(RecipeError) as refused:
            work()
        told = str(refused.value)
        assert "hush" not in told and "ush@" not in told and "***" in told and "\n" not in told, told
    assert variable in told
    with pytest.raises(jsonschema.ValidationError):  # as a Prefect server does before it keeps a run's parameters
        jsonschema.validate({"catalogue": {"uri": uri}}, schema)
    for kept in (f"cannot open {uri!r}", f"a {uri} b", f"[{uri}]({uri})"):
        assert "hush" not in redaction.redacted(kept) and "hush" not in str(CatalogueError(kept))


@pytest.mark.parametrize("uri", HARMLESS)
def test_what_holds_no_secret_is_left_alone(uri):
    assert redaction.refusal("catalogue.uri", uri) is None and redaction.redacted(f"cannot open {uri!r}") == (
        f"cannot open {uri!r}"
    )
    jsonschema.validate({"catalogue": {"uri": uri}}, Recipe.model_json_schema())


@pytest.mark.parametrize(
    "text",
    [
        "authorization: BEARER hushhushhush",
        "{'Authorization': 'Basic bWU6aHVzaA=='}",
        "{'x-goog-api-key': 'hushhushhush', 'a': 1}",
        "api-key: hushhushhush",
        '{"private_key": "-----BEGIN PRIVATE KEY-----\\nhush\\n-----END PRIVATE KEY-----\\n", "type": "a"}',
        "-----BEGIN RSA PRIVATE KEY-----\nhush",
        "https://a.blob.core.windows.net/c/b?sv=2022-11-02&sig=hush%2Bhush%3D",
        "sv=2022-11-02&sig=hush%2Bhush%3D",
        "the signature is sig=hushhush",
        "GET /callback?code=4/0AX4hushhush&scope=email",
        "A?key=hush",
        '{"api_key": "hushhush", "n": 1}',
        "{'password': 'hush'}",
        r'"{\"api_key\": \"hush-hush\", \"n\": 1}"',
        r'"{\\\"access_token\\\": \\\"hushhush\\\"}"',
        r"{\"Authorization\": \"Basic bWU6aHVzaA==\"}",
        "Proxy-Authorization: Basic bWU6aHVzaA==",
        "sent Basic bWU6aHVzaA== to it",
        '{"authorization": "token hushhush"}',
        "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=hush+hush==;EndpointSuffix=core.windows.net",
    ],
)
def test_secrets_of_headers_and_key_files_are_not_shown(text):
    told = redaction.redacted(f"what came back: {text}")
    assert "***" in told and "hush" not in told and "bWU6aHVzaA" not in told


SOUNDS = [
    "What does token=blue mean?",
    "a@b.example: an api-key of it",
    "Basic black",
    "a basic assortment of pens, Basic Instruments",
    "colour code=12, design=flowers, signs=3, assign=abcdefgh",
    "/shelf?code=A12&page=2",
    '{"tokens": "none", "total_tokens": 12, "monkey": "brown", "keys": "piano", "key": "0123456789abcdef"}',
    '{"eos_token": "</s>", "pad_token": "[PAD]"}',
]


@pytest.mark.parametrize("text", SOUNDS)
def test_words_that_only_sound_like_secrets_are_left_alone(text):
    assert redaction.redacted(text) == text


def test_a_long_word_takes_no_long_time():
    began = time.process_time()
    redaction.redacted("a" * 300_000 + "=")
    redaction.refusal("catalogue.uri", "a" * 300_000)
    assert time.process_time() - began < 5


def test_a_log_and_a_root_show_no_secret(monkeypatch, caplog):
    before = logging.getLogRecordFactory()
    try:
        redaction.logs()
        redaction.logs()
        logging.getLogger("somebody.else").warning("GET %s %d", "https://me:hush@host/x?sig=hush", 200)
        logging.getLogger("somebody.else").warning("Authorization: Bearer hushhushhush")
    finally:
        logging.setLogRecordFactory(before)
    assert "hush" not in caplog.text and "GET https://***@host/x?sig=*** 200" in caplog.text
    monkeypatch.setenv("SHARDTUNE_ROOT", "s3://me:hush@bucket/root")
    with pytest.raises(RecipeError, match="AWS_SECRET_ACCESS_KEY"):
        settings.root()
