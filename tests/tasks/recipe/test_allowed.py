"""Reach: what a recipe of a server's form may name, and that no link, dot, chain or look-alike leads out of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import datasets
import pytest
from pydantic import BaseModel

from tasks.backends.gemini import bucket
from tasks.backends.local import models
from tasks.backends.openai import azure, backend
from tasks.catalogue import sources
from tasks.catalogue.publish import publish
from tasks.core.errors import CatalogueError, RecipeError
from tasks.examples.templates import Rendering, load_tokenizer
from tasks.recipe import allowed
from tasks.recipe.model import Recipe
from tasks.recipe.tuning import Deploy, GeminiTune, LocalTune, OpenAITune
from tests.kit.catalogues import lines

DATA = b"".join(lines(5))


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The one folder that is allowed, beside one that is not; the working folder is the allowed one."""
    for name in ("shop", "shop-of-others"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "trn.json").write_bytes(DATA)
    monkeypatch.setenv(allowed.VARIABLE, f"{tmp_path / 'shop'}, s3://shop/in, hf://, https://good.example/v1")
    monkeypatch.chdir(tmp_path / "shop")
    return tmp_path / "shop"


def test_what_is_allowed_is_read(shop):
    (shop / "linked.json").symlink_to(shop / "trn.json")
    for name in ("trn.json", "./trn.json", f"{shop}/../shop/trn.json", f"file://{shop}/trn.json", "linked.json", "."):
        assert b"".join(sources.find(name).blocks()).startswith(DATA[:20])


@pytest.mark.parametrize(
    "uri",
    [
        "/etc/passwd",
        "../shop-of-others/trn.json",
        "../shop-of-others",
        "file:///etc/passwd",
        "file://../shop-of-others/trn.json",
        "FILE:///etc/passwd",
        "local:///etc/passwd",
        "simplecache::file:///etc/passwd",
        "zip://trn.json::s3://shop/in/raw.zip",
        "filecache::s3://shop/in/trn.json",
        "s3://shop/inner/trn.json",
        "s3://shop/in/../out/trn.json",
        "s3://shop/in/%2e%2e/out/trn.json",
        "s3://shopping/in/trn.json",
        "http://169.254.169.254/latest/meta-data",
        "https://good.example@evil.example/v1/trn.json",
        "https://good.example.evil.example/v1",
        "memory://trn.json",
    ],
)
def test_what_leads_elsewhere_is_refused_with_the_value(shop, uri):
    with pytest.raises(RecipeError) as refused:
        sources.find(uri)
    shown = uri.replace("good.example@", "***@")  # what stands before an @ may be a password
    assert repr(shown) in str(refused.value) and "\n" not in str(refused.value)


def test_a_link_does_not_lead_out(shop):
    (shop / "folder").mkdir()
    (shop / "folder" / "1.json").symlink_to(shop.parent / "shop-of-others" / "trn.json")
    (shop / "way").symlink_to(shop.parent / "shop-of-others")
    for name in ("folder/1.json", "folder", "way", "way/trn.json"):
        with pytest.raises(RecipeError, match=f"{allowed.VARIABLE} does not allow.*add it"):
            sources.find(name)


def test_a_data_set_may_not_name_files_of_others(shop):
    rows = datasets.Dataset.from_list([{"uid": "1", "title": "a", "content": "b"}])
    rows.to_parquet(shop.parent / "shop-of-others" / "rows.parquet")
    (shop / "set").mkdir()
    rows.to_parquet(shop / "set" / "rows.parquet")
    card = "---\nconfigs: [{config_name: default, data_files: %s}]\n---\n"
    (shop / "set" / "README.md").write_text(card % "rows.parquet")
    assert b'"title":"a"' in b"".join(sources.find("set").blocks())
    (shop / "set" / "README.md").write_text(card % "../../shop-of-others/rows.parquet")
    with pytest.raises((RecipeError, CatalogueError), match="shop-of-others"):
        list(sources.find("set").blocks())
    rows.save_to_disk(shop.parent / "shop-of-others" / "saved")
    rows.save_to_disk(shop / "saved")
    state = shop / "saved" / "state.json"
    (there,) = (shop.parent / "shop-of-others" / "saved").glob("*.arrow")
    state.write_text(state.read_text().replace(there.name, f"../../shop-of-others/saved/{there.name}"))
    with pytest.raises(RecipeError, match="shop-of-others"):
        list(sources.find("saved").blocks())


def test_without_a_list_a_person_reads_their_own_files(shop, monkeypatch):
    monkeypatch.delenv(allowed.VARIABLE)
    assert b"".join(sources.find("../shop-of-others/trn.json").blocks()) == DATA


def test_the_usual_list_is_the_catalogues_and_not_the_databases(own_root, monkeypatch):
    monkeypatch.setenv(allowed.VARIABLE, allowed.usual(str(own_root)))
    for folder in ("catalogues", "prefect"):
        (own_root / folder).mkdir(parents=True)
        (own_root / folder / "prefect.db").write_bytes(DATA)
    assert sources.find(str(own_root / "catalogues" / "prefect.db")).files
    with pytest.raises(RecipeError):
        sources.find(str(own_root / "prefect" / "prefect.db"))


def test_an_empty_list_allows_nothing(shop, monkeypatch):
    monkeypatch.setenv(allowed.VARIABLE, "")
    with pytest.raises(RecipeError):
        sources.find("trn.json")


def tune(**values: Any) -> OpenAITune:
    return OpenAITune(base_model="m", **values)


def test_a_key_is_sent_to_nobody_who_is_not_listed(shop, monkeypatch):
    backend.backend(tune(base_url="https://good.example/v1/"))
    for url in ("https://evil.example/v1", "https://good.example/v1/../v2", "http://good.example/v1"):
        with pytest.raises(RecipeError, match=r"tune\.base_url|climb"):
            backend.backend(tune(base_url=url))
    monkeypatch.setenv("OPENAI_BASE_URL", "https://own.example/v1")
    backend.backend(tune(base_url="https://own.example/v1"))
    other = Deploy(subscription="s", resource_group="g", account="a", management_url="https://evil.example")
    with pytest.raises(RecipeError, match=r"management_url"):
        azure.deployed(other, "m", (1, 1))
    monkeypatch.setenv("SHARDTUNE_BUCKET", "gs://own/folder")
    assert bucket.folder_of(GeminiTune(base_model="m", bucket="gs://own/folder/x")) == "gs://own/folder/x"
    with pytest.raises(RecipeError, match=r"tune\.bucket"):
        bucket.folder_of(GeminiTune(base_model="m", bucket="gs://own/folders"))


@pytest.mark.parametrize(
    "name", ["PREFECT_API_AUTH_STRING", "AWS_SECRET_ACCESS_KEY", "HOME", "MLFLOW_TRACKING_PASSWORD"]
)
def test_no_other_secret_can_be_named_as_the_key(name):
    with pytest.raises(ValueError, match="pattern"):
        tune(key_variable=name)


def test_base_models_lie_in_the_list_under_the_root_or_in_a_package(shop, own_root, monkeypatch):
    for folder in (shop / "model", shop.parent / "model", own_root / "models" / "made"):
        folder.mkdir(parents=True)
    assert models.locate("model") == shop / "model"
    assert models.locate(str(own_root / "models" / "made")) == own_root / "models" / "made"
    assert models.locate("facebook/opt-125m") is None
    with pytest.raises(RecipeError, match=r"tune\.base_model"):
        models.locate("../model")
    with pytest.raises(RecipeError, match="below"):
        models.locate("package:yaml/../../../../etc/passwd")
    monkeypatch.setenv(allowed.VARIABLE, "hf://facebook/opt-125m")
    assert models.locate("facebook/opt-125m") is None
    with pytest.raises(RecipeError):
        models.locate("facebook/opt-125m-evil")


def test_code_of_a_model_runs_only_where_the_list_names_that_model(shop, monkeypatch):
    wanted = LocalTune(base_model="shop/model", trust_remote_code=True)
    with pytest.raises(RecipeError, match=r"trust_remote_code.*'hf://shop/model' itself"):
        models.resolve(wanted)
    with pytest.raises(RecipeError, match="trust_remote_code"):
        load_tokenizer(Rendering(template="chat", tokenizer="shop/model", max_length=16, trust_remote_code=True))
    with pytest.raises(RecipeError, match="tokenizer = '/etc' leads to"):
        load_tokenizer(Rendering(template="chat", tokenizer="/etc", max_length=16))
    monkeypatch.setenv(allowed.VARIABLE, "hf://, hf://shop/model")
    assert models.resolve(wanted) == "shop/model"


def test_a_snapshot_in_the_hubs_cache_is_the_model_it_is_of(shop, tmp_path, monkeypatch):
    cache = tmp_path / "hub"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    monkeypatch.setenv(allowed.VARIABLE, "hf://shop/model")
    for folder in ("models--shop--model", "models--shop--other"):
        (cache / folder / "snapshots" / "1").mkdir(parents=True)
    assert allowed.place(str(cache / "models--shop--model" / "snapshots" / "1")) == "hf://shop/model"
    allowed.code(str(cache / "models--shop--model" / "snapshots" / "1"))
    for path in ("models--shop--other/snapshots/1", "models--shop--model/snapshots/1/../../../../shop"):
        with pytest.raises(RecipeError):
            allowed.model("tokenizer", str(cache / path))


def test_nothing_is_published_elsewhere(shop):
    with pytest.raises(RecipeError, match="the target = "):
        publish(None, "../out")


# Every free text of a recipe: where it is an address, what looks at it; else that it leads nowhere.
TEXTS = {
    "name": "a pattern", "description": "shown", "catalogue.uri": "sources.find",
    "catalogue.config": "of a data set's card", "catalogue.split": "of a data set",
    "catalogue.query": "asked of the database of the URI",
    "catalogue.encoding": "a codec of text", "catalogue.delimiter": "one character",
    "catalogue.fields.uid": "a column", "catalogue.fields.title": "columns", "catalogue.fields.content": "columns",
    "catalogue.fields.facts": "columns", "ask.product_url": "shown",
    "tune.local.base_model": "base.locate", "tune.local.revision": "of a hub model", "tune.local.lora.target_modules":
    "names of layers", "tune.openai.base_model": "a name at the provider", "tune.openai.suffix": "a pattern",
    "tune.openai.base_url": "openai.backend", "tune.openai.key_variable": "a pattern",
    "tune.openai.extra_body": "sent", "tune.openai.deploy.subscription": "sent",
    "tune.openai.deploy.resource_group": "sent", "tune.openai.deploy.account": "sent", "tune.openai.deploy.sku": "sent",
    "tune.openai.deploy.base": "a name at the provider",
    "tune.openai.deploy.management_url": "deploy.deployed", "tune.openai.deploy.token_variable": "a pattern",
    "tune.gemini.base_model": "a name at the provider", "tune.gemini.project": "sent",
    "tune.gemini.bucket": "bucket.of",
}  # fmt: skip


def texts(model: type[BaseModel], before: str = "") -> set[str]:
    """Every field, at any depth, that takes free text."""
    found = set()
    for name, field in model.model_fields.items():
        waiting, kinds = [field.annotation], []
        while waiting:
            kinds.append(waiting.pop())
            waiting += [] if "Literal" in str(kinds[-1])[:16] else get_args(kinds[-1])
        for kind in kinds:
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                own = kind.model_fields.get("kind")
                found |= texts(kind, f"{before}{name}." + (f"{own.default}." if own else ""))
            elif kind is str:
                found.add(f"{before}{name}")
    return found


def test_every_text_of_a_recipe_is_accounted_for():
    assert texts(Recipe) == set(TEXTS)
