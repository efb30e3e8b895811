"""An arrival starts what is tuned on that catalogue, and nothing else: Prefect's own matching of its own events."""

from __future__ import annotations

import os

import pytest
import yaml
from prefect.server.events.schemas.events import RelatedResource, ResourceSpecification

from deployments import register
from tasks.catalogue import arrival


def starts(waiting: str, arrived: str) -> bool:
    """Whether an event about `arrived` meets the trigger of a deployment whose catalogue is `waiting`."""
    written = yaml.safe_load(register.FILE.read_text())["definitions"]["arrived"]["match_related"]
    match = {key: value.replace("{{ place }}", arrival.resource(waiting)) for key, value in written.items()}
    related = [RelatedResource.model_validate(one) for one in arrival.related(arrived)]
    return ResourceSpecification.model_validate(match).includes(related)


@pytest.mark.parametrize(
    ("waiting", "arrived", "wanted"),
    [
        ("s3://shop/catalogues", "s3://shop/catalogues", True),
        ("s3://shop/catalogues/", "s3://shop/catalogues/2026/11/trn.json", True),
        ("s3://shop/catalogues", "s3://shop/catalogues-old/trn.json", False),
        ("s3://shop/catalogues/a.json", "s3://shop/catalogues/b.json", False),
        ("s3://shop/catalogues/a.json", "s3://shop/catalogues", False),
        ("https://example.org/trn.json.gz", "https://example.org/trn.json.gz", True),
        ("owner/products", "owner/products", True),
        ("owner/products", "owner/other", False),
        ("/data/catalogues", "/data/catalogues/new.json", True),
        ("/data/./catalogues/../catalogues/x.json", "/data/catalogues/x.json", True),
    ],
)
def test_an_event_meets_the_trigger_of_its_own_catalogue(waiting, arrived, wanted):
    assert starts(waiting, arrived) is wanted


def test_a_relative_path_means_the_file_of_this_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.makedirs("demo")
    (tmp_path / "demo" / "a.json").touch()
    assert starts("demo/a.json", str(tmp_path / "demo" / "a.json"))
    assert not starts("demo/a.json", str(tmp_path / "demo" / "b.json"))
