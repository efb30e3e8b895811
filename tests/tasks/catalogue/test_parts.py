"""Parts: files of tests and labels are left out by one rule everywhere; cards choose files, and only their own."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import datasets
import fsspec
import pytest

from tasks.catalogue import parts, sources
from tasks.catalogue.plan import plan
from tasks.core.errors import CatalogueError, RecipeError
from tasks.recipe import allowed
from tasks.recipe.model import Catalogue
from tests.kit.catalogues import line, lines, run
from tests.tasks.catalogue.test_forms import zipped


def uids(place: object, **how: str) -> list[str]:
    found = sources.find(str(place), **how)
    return [json.loads(each)["uid"] for each in b"".join(found.blocks()).splitlines()]


# As published: LF-Amazon-1.3M.raw.zip, and data sets as the hub's users name their files.
PUBLISHED = {"trn.json.gz": "T", "tst.json.gz": "X", "lbl.json.gz": "L"}
HUB = {
    "data/train-00000-of-00002.json": "T",
    "data/train-00001-of-00002.json": "U",
    "data/test-00000-of-00001.json": "X",
}
PLAIN = {"part-1.json": "T", "products_test.json": "X", "label-makers.json": "U", "test/more.json": "X"}


@pytest.mark.parametrize("names", [PUBLISHED, HUB, PLAIN], ids=["published", "hub", "plain"])
def test_a_folder_an_archive_a_prefix_and_a_pattern_choose_the_same_files(tmp_path, names):
    made = {n: line(uid) if n.endswith("json") else gzip.compress(line(uid)) for n, uid in names.items()}
    for name, data in (
        made | {"filter_labels_train.txt": b"1 2\n", "dataset_infos.json": b'{"default": {}}\n'}
    ).items():
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).write_bytes(data)
        with fsspec.open(f"memory://{tmp_path.name}/{name}", "wb") as stream:
            stream.write(data)
    (tmp_path / "set.zip").write_bytes(zipped({f"LF/{name}": data for name, data in made.items()}))
    places = [tmp_path / "set", tmp_path / "set.zip", f"memory://{tmp_path.name}/", tmp_path / "set" / "**" / "*.json*"]
    for place in places:
        assert sorted(uids(place)) == sorted({"T", "U"} & set(names.values())), place
    left = plan(Catalogue(uri=str(tmp_path / "set")), str(tmp_path / "root")).left
    assert sorted(left) == sorted(name for name, uid in names.items() if uid in "XL")
    assert set(uids(tmp_path / "set", split="test")) == {"X"}
    assert plan(Catalogue(uri=str(tmp_path / "set.zip"), split="test"), str(tmp_path / "root")).lines >= 1


def test_the_name_of_the_place_says_nothing_of_its_files(tmp_path):
    for name in ("train.json", "part.json"):
        for place in (str(tmp_path / "test" / "in"), f"memory://{tmp_path.name}/test"):
            with fsspec.open(f"{place}/{name}", "wb", auto_mkdir=True) as stream:
                stream.write(line(name))
    for place in (tmp_path / "test" / "in", tmp_path / "test" / "in" / "*.json", f"memory://{tmp_path.name}/test"):
        assert uids(place) == ["part.json", "train.json"], place
    assert uids(f"memory://{tmp_path.name}/test/*.json") == ["part.json", "train.json"]


def test_who_names_a_test_file_gets_it(tmp_path):
    (tmp_path / "tst.json").write_bytes(line("X"))
    assert uids(tmp_path) == uids(tmp_path / "tst.json") == uids(tmp_path / "*.json") == ["X"]
    with pytest.raises(CatalogueError, match=r"catalogue.split = 'train': no file .* those here tell test"):
        sources.find(str(tmp_path), split="train")


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train.json", "train"), ("a/trn.json.gz", "train"), ("x-train-3.csv", "train"),
        ("val_01.parquet", "validation"),
        ("dev.jsonl.xz", "validation"), ("test/part-1.json", "test"), ("lbl.json", "labels"), ("labels.csv", "labels"),
        ("trains.json", None), ("test-tubes.json", None), ("latest.json", None), ("part-00000-of-00001.json", None),
    ],
)  # fmt: skip
def test_the_split_that_a_name_tells(name, split):
    assert parts.split_of(name) == split


CARD = """---
license: mit
configs:
- config_name: toys
  data_files:
  - split: train
    path: toys/*.json
  - split: test
    path: [toys-test.json]
- config_name: books
  data_files: "books.json"
---
# A set
"""


@pytest.fixture
def carded(tmp_path):
    folder = tmp_path / "set"
    (folder / "toys").mkdir(parents=True)
    for name in ("toys/a.json", "toys/b.json", "toys-test.json", "books.json", "other.json"):
        (folder / name).write_bytes(line(name))
    (folder / "README.md").write_text(CARD)
    return folder


def test_a_card_chooses_by_configuration_and_split(carded, tmp_path):
    with pytest.raises(CatalogueError, match=r"has the configurations toys, books: name one as catalogue.config"):
        sources.find(str(carded))
    with pytest.raises(CatalogueError, match=r"catalogue.config = 'toy': .* toys, books"):
        sources.find(str(carded), "toy")
    with pytest.raises(CatalogueError, match=r"catalogue.split = 'dev': the data set has train, test"):
        sources.find(str(carded), "toys", "dev")
    assert uids(carded, config="toys") == ["toys/a.json", "toys/b.json"]
    assert uids(carded, config="toys", split="train+test") == ["toys/a.json", "toys/b.json", "toys-test.json"]
    assert uids(carded, config="books") == ["books.json"]
    toys = run(Catalogue(uri=str(carded), config="toys"), tmp_path / "root").prepared
    books = run(Catalogue(uri=str(carded), config="books"), tmp_path / "root").prepared
    assert (toys.kept, books.kept) == (1, 1)  # lines that differ in their uid alone
    assert Path(toys.shards[0].uri).parent != Path(books.shards[0].uri).parent
    assert "other.json" in toys.left


@pytest.mark.parametrize(
    "said",
    [
        "http://127.0.0.1:9/x.csv", "simplecache::http://127.0.0.1:9/x.csv", "zip://x.csv::https://h.example/a.zip",
        "s3://other/x.csv", "hf://datasets/other/set/x.csv", "file:///etc/passwd", "/etc/passwd", "../other/x.csv",
        "data/../../x.csv", "~/x.csv", "[{split: train, path: ['books.json', 'ftp://h.example/x']}]", "{train: //h/x}",
    ],
)  # fmt: skip
def test_a_card_that_leads_out_of_its_data_set_is_refused_before_anything_is_asked(carded, monkeypatch, said):
    def opened(*_: object, **__: object) -> None:
        raise AssertionError("nothing may be opened")

    data_files = said if said[0] in "[{" else json.dumps(said)
    (carded / "README.md").write_text(f"---\nconfigs: [{{config_name: default, data_files: {data_files}}}]\n---\n")
    monkeypatch.setattr(fsspec.core, "url_to_fs", opened)
    with pytest.raises(CatalogueError, match=r"which does not lie in the data set: fetch that yourself"):
        sources.find(str(carded))


@pytest.mark.parametrize("header", ["configs: [", "configs: &a [*a]", "configs: 7", "a: b", ""])
def test_a_card_that_says_nothing_of_files_or_is_broken(carded, header):
    (carded / "README.md").write_text(f"---\n{header}\n---\n")
    if header == "configs: [":
        with pytest.raises(CatalogueError, match=r"is no YAML .*mend it"):
            sources.find(str(carded))
    else:
        assert sources.find(str(carded)).files


def test_the_split_of_a_saved_data_set(tmp_path):
    rows = datasets.Dataset.from_list([json.loads(each) for each in lines(5)])
    some = {"train": rows.select([0, 1]), "test": rows.select([2, 3]), "holdout": rows.select([4])}
    datasets.DatasetDict(some).save_to_disk(tmp_path / "saved")
    assert uids(tmp_path / "saved") == ["U0", "U1"]
    assert uids(tmp_path / "saved", split="holdout") == ["U4"]
    datasets.DatasetDict({"a": rows, "b": rows}).save_to_disk(tmp_path / "other")
    with pytest.raises(CatalogueError, match=r"has the splits a, b: name one as catalogue.split"):
        sources.find(str(tmp_path / "other"))
    (tmp_path / "saved" / "train" / "state.json").write_text("{")
    with pytest.raises(CatalogueError, match=r"state.json' is damaged .*fetch the data set again"):
        sources.find(str(tmp_path / "saved"))


def test_no_message_says_what_lies_outside_the_list(tmp_path, monkeypatch):
    (tmp_path / "shop").mkdir()
    (tmp_path / "secret").mkdir()
    for name in ("kept.json", "kept.csv"):
        (tmp_path / "secret" / name).write_bytes(line("S"))
    (tmp_path / "shop" / "1.json").symlink_to(tmp_path / "secret" / "kept.json")
    (tmp_path / "shop" / "way").symlink_to(tmp_path / "secret")
    monkeypatch.setenv(allowed.VARIABLE, str(tmp_path / "shop"))
    for place in ("shop/*.json", "shop/**/*.*", "shop/w*/*", "shop", "shop/1.json", "shop/w*/../secret/*"):
        with pytest.raises(RecipeError, match=f"{allowed.VARIABLE} does not allow") as refused:
            sources.find(str(tmp_path / place))
        if place not in ("shop/1.json",):
            assert "kept" not in str(refused.value), place


def test_credentials_that_are_not_there_are_told_in_one_line(monkeypatch):
    import s3fs

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    s3fs.S3FileSystem.clear_instance_cache()
    for place in ("s3://shop/trn.json", "s3://shop/feed/", "s3://shop/*.json"):
        with pytest.raises(CatalogueError, match=f"cannot open '{re.escape(place)}': .*[Cc]redentials") as refused:
            sources.find(place)
        assert "\n" not in str(refused.value)
    s3fs.S3FileSystem.clear_instance_cache()
