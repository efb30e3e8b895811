"""Sources: the same rows from every kind of place, and one line that says what is wrong with the others."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import re
import subprocess
import sys
import tarfile
import zipfile

import datasets
import fsspec
import numpy as np
import pytest

from tasks.catalogue import sources, unpack
from tasks.catalogue.plan import plan
from tasks.core.errors import CatalogueError
from tasks.recipe.model import Catalogue
from tests.kit.catalogues import line, lines, run, source

DATA = b"".join(lines(25))
ROWS = [json.loads(each) for each in lines(25)]


def read(uri: object) -> list[dict[str, str]]:
    """The rows of the catalogue at `uri`, which must be whole."""
    found = sources.find(str(uri))
    data = b"".join(found.blocks())
    assert not found.cut
    return [json.loads(each) for each in data.splitlines()]


def archive(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in members.items():
            packed.writestr(name, data)
    return out.getvalue()


PUBLISHED = {
    "LF-Amazon-1.3M/tst.json.gz": gzip.compress(line("TEST"), mtime=0),
    "LF-Amazon-1.3M/trn.json.gz": gzip.compress(DATA, mtime=0),
    "LF-Amazon-1.3M/lbl.json.gz": gzip.compress(line("LABEL"), mtime=0),
    "LF-Amazon-1.3M/filter_labels_train.txt": b"1 2\n",
}


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("trn.json", DATA),
        ("trn.jsonl", DATA.rstrip()),
        ("trn.json.gz", gzip.compress(DATA, mtime=0)),
        ("named-wrongly.json", gzip.compress(DATA, mtime=0)),
        (
            "members.gz",
            gzip.compress(b"".join(lines(10)), mtime=0) + gzip.compress(b"".join(lines(15, 10)), mtime=0) + b"\0" * 512,
        ),
        ("raw.zip", archive(PUBLISHED)),
        ("plain.zip", archive({"catalogue.jsonl": DATA, "__MACOSX/._catalogue.jsonl": b"\0\5"})),
        ("two.zip", archive({"b.json": b"".join(lines(15, 10)), "a.json": b"".join(lines(10)).rstrip()})),
    ],
)
def test_a_file_in_any_wrapping_gives_the_same_rows(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    assert read(tmp_path / name) == ROWS
    assert read(f"file://{tmp_path / name}") == ROWS
    with fsspec.open(f"memory://{name}", "wb") as stream:
        stream.write(data)
    assert read(f"memory://{name}") == ROWS


def test_a_folder_is_its_files_in_order(tmp_path):
    (tmp_path / "1.json.gz").write_bytes(gzip.compress(b"".join(lines(10)).rstrip()))
    (tmp_path / "2.jsonl").write_bytes(b"".join(lines(15, 10)))
    (tmp_path / "notes.txt").write_text("not a catalogue")
    assert read(tmp_path) == ROWS


def test_a_folder_of_several_formats_says_what_it_leaves_out(tmp_path):
    folder = tmp_path / "mixed"
    folder.mkdir()
    (folder / "1.jsonl").write_bytes(b"".join(lines(10)))
    (folder / "package.json").write_text("{}")
    catalogue = Catalogue(uri=str(folder))
    assert plan(catalogue, str(tmp_path / "root")).left == ()
    (folder / "2.csv").write_text("uid,title,content\n")
    (folder / "3.parquet").write_bytes(b"PAR1")
    assert read(folder) == ROWS[:10]
    assert plan(catalogue, str(tmp_path / "root")).left == ("2.csv", "3.parquet")
    assert sources.find(f"{folder}/*").left == ["2.csv", "3.parquet"]
    (folder / "1.jsonl").write_text('{"version": 1}\n')
    with pytest.raises(CatalogueError, match=r"holds no usable row.*not read: '2.csv', '3.parquet'"):
        run(catalogue, tmp_path / "root")


@pytest.mark.parametrize("kind", ["saved", "saved splits", "parquet", "csv"])
def test_a_hugging_face_data_set_gives_the_same_rows(tmp_path, kind):
    rows = datasets.Dataset.from_list([row | {"target_ind": [1, 2]} for row in ROWS])
    if kind == "saved":
        rows.save_to_disk(tmp_path / "set", num_shards=2)
    elif kind == "saved splits":
        parts = {"train": rows.select(range(10)), "test": rows.select(range(10, 25))}
        datasets.DatasetDict(parts).save_to_disk(tmp_path / "set")
    elif kind == "parquet":
        rows.select(range(10)).to_parquet(tmp_path / "set" / "data" / "part-0.parquet")
        rows.select(range(10, 25)).to_parquet(tmp_path / "set" / "data" / "part-1.parquet")
    else:
        (tmp_path / "set").mkdir()
        rows.remove_columns("target_ind").to_csv(tmp_path / "set" / "rows.csv")
    split = "train+test" if kind == "saved splits" else None
    found = sources.find(str(tmp_path / "set"), split=split)
    assert [json.loads(each) for each in b"".join(found.blocks()).splitlines()] == ROWS


def test_what_is_missing_in_a_data_set_goes_to_quarantine(tmp_path):
    datasets.Dataset.from_list([{"uid": "1", "title": None, "content": "x"}] + ROWS).save_to_disk(tmp_path / "null")
    prepared = run(Catalogue(uri=str(tmp_path / "null")), tmp_path).prepared
    assert (prepared.lines, prepared.quarantined, prepared.kept) == (26, 1, 25)
    datasets.Dataset.from_list([{"uid": 1, "title": "x"}]).save_to_disk(tmp_path / "short")
    with pytest.raises(CatalogueError, match="has the columns 'uid', 'title', and no 'content'"):
        run(Catalogue(uri=str(tmp_path / "short")), tmp_path)


@pytest.mark.parametrize("name", ["trn.json", "trn.json.gz", "raw.zip"])
def test_s3_gives_the_same_shards_as_a_local_file(tmp_path, bucket, name):
    data = {"trn.json": DATA, "trn.json.gz": gzip.compress(DATA, mtime=0), "raw.zip": archive(PUBLISHED)}[name]
    with fsspec.open(f"{bucket}/{name}", "wb") as stream:
        stream.write(data)
    remote = plan(Catalogue(uri=f"{bucket}/{name}", lines_per_shard=10), str(tmp_path))
    local = plan(source(tmp_path, DATA, 10), str(tmp_path))
    assert [s.digest for s in remote.shards] == [s.digest for s in local.shards]
    assert sources.find(f"{bucket}/{name}").identity == sources.find(f"{bucket}/{name}").identity is not None
    with fsspec.open(f"{bucket}/{name}", "wb") as stream:
        stream.write(gzip.compress(DATA + line()))
    assert plan(Catalogue(uri=f"{bucket}/{name}"), str(tmp_path)).lines == 26


def test_a_compressed_file_that_breaks_off_gives_what_it_has(tmp_path):
    data = b"".join(line(f"U{n}", content=os.urandom(100).hex()) for n in range(20_000))
    (tmp_path / "half.json.gz").write_bytes(gzip.compress(data)[:1_500_000])
    found = sources.find(str(tmp_path / "half.json.gz"))
    got = b"".join(found.blocks())
    assert found.cut
    assert data.startswith(got)
    assert len(got) > len(data) / 3


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("nowhere.json", "no catalogue at 'nowhere.json': name a file"),
        ("data/nowhere.json", "no catalogue at 'data/nowhere.json': name a file"),
        ("gopher://host/trn.json", "cannot open 'gopher://host/trn.json'.*gopher"),
        ("abfs://container/trn.json", "cannot open 'abfs://container/trn.json'.*[Ii]nstall"),
        ("memory://nowhere.json", "no catalogue at 'memory://nowhere.json': check the address"),
        ("somebody/nothing-of-the-kind", "somebody/nothing-of-the-kind"),
        ("hf://datasets/somebody/nothing", "somebody/nothing"),
    ],
)
def test_what_cannot_be_read_is_told_in_one_line(tmp_path, monkeypatch, uri, told):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CatalogueError, match=told):
        plan(Catalogue(uri=uri), str(tmp_path))


NAMES = {"part-9.json": (0, 5), "part-10.jsonl": (5, 5), "part-11.json.gz": (10, 15)}


def parts(name: str) -> bytes:
    """What lies in the file of this name: its rows, and no line end after the last."""
    start, count = NAMES[name]
    data = b"".join(lines(count, start)).rstrip()
    return gzip.compress(data, mtime=0) if name.endswith(".gz") else data


def test_a_prefix_a_folder_and_a_pattern_are_their_files_in_the_order_of_their_numbers(bucket, tmp_path):
    (tmp_path / "local").mkdir()
    for place in (f"{bucket}/folder", str(tmp_path / "local")):
        for name in (*NAMES, "notes.txt"):
            with fsspec.open(f"{place}/{name}", "wb") as stream:
                stream.write(parts(name) if name in NAMES else b"no catalogue")
    places = [f"{bucket}/folder/", f"{bucket}/folder", f"{bucket}/folder/part-*", f"{bucket}/fold*/*.*"]
    places += [str(tmp_path / "local"), str(tmp_path / "loc*" / "part-*")]
    for place in places:
        assert read(place) == ROWS, place
    plans = [plan(Catalogue(uri=place, lines_per_shard=10), str(tmp_path / "root")) for place in places]
    assert len({tuple(s.digest for s in made.shards) for made in plans}) == 1
    assert read(f"{bucket}/folder/part-1*") == ROWS[5:]


def test_a_file_that_arrives_under_a_prefix_is_seen(bucket):
    for name in NAMES:
        with fsspec.open(f"{bucket}/feed/{name}", "wb") as stream:
            stream.write(parts(name))
        known = sources.find(f"{bucket}/feed/")
        assert [file.rpartition("/")[2] for file in known.files] == list(NAMES)[: list(NAMES).index(name) + 1]
        assert known.identity == sources.find(f"{bucket}/feed/").identity is not None


@pytest.mark.parametrize("place", ["shop/nowhere/", "shop/no*", "shop/txt/", "shop/txt/*"])
def test_a_prefix_or_pattern_of_nothing_is_told(bucket, place):
    with fsspec.open(f"{bucket}/txt/notes.txt", "wb") as stream:
        stream.write(b"nothing")
    with pytest.raises(CatalogueError, match=f"no .* '?s3://{re.escape(place)}|{re.escape(place)}"):
        sources.find(f"s3://{place}")


def test_s3_tells_a_missing_file(bucket):
    with pytest.raises(CatalogueError, match="no catalogue at 's3://shop/nowhere"):
        sources.find(f"{bucket}/nowhere.json")


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("bad.zip", archive(PUBLISHED)[:400], "zip archive that cannot be read"),
        ("other.zip", archive({"readme.txt": b"nothing"}), "holds no JSON lines"),
    ],
)
def test_an_archive_of_no_use_says_so(tmp_path, name, data, told):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(CatalogueError, match=told):
        plan(Catalogue(uri=str(tmp_path / name)), str(tmp_path))


@pytest.fixture
def little(monkeypatch) -> None:
    """Limits as they are, on files that a test can afford."""
    monkeypatch.setattr(unpack, "SLACK", 1 << 16)
    monkeypatch.setattr(unpack, "LIST", 4_096)


ZEROS = b"\0" * (1 << 25)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("zeros.json.gz", gzip.compress(ZEROS)),
        ("members.json.gz", gzip.compress(ZEROS[: 1 << 20]) * 32),
        ("zeros.zip", archive({"trn.json": ZEROS})),
        ("nested.zip", archive({"trn.json.gz": gzip.compress(ZEROS)})),
        ("twice.zip", archive({"trn.json.gz": gzip.compress(gzip.compress(ZEROS, 0))})),
    ],
)
def test_a_bomb_is_left_in_its_wrapping(tmp_path, little, name, data):
    (tmp_path / name).write_bytes(data)
    read, most = 0, unpack.RATIO * len(data) + unpack.SLACK
    with pytest.raises(CatalogueError, match="unpacks to more than 100 times its size"):
        for block in sources.find(str(tmp_path / name)).blocks():
            read += len(block)
    assert read <= most
    with pytest.raises(CatalogueError):
        plan(Catalogue(uri=str(tmp_path / name)), str(tmp_path / "root"))
    assert not list((tmp_path / "root").rglob("*.jsonl"))


def test_a_catalogue_that_repeats_itself_is_no_bomb(tmp_path, little):
    said = "A red drum of steel screws, for long days at sea. Each is packed by hand. "
    rows = b"".join(line(f"U{n}", content=said + os.urandom(4).hex()) for n in range(20_000))
    (tmp_path / "trn.json.gz").write_bytes(gzip.compress(rows))
    assert b"".join(sources.find(str(tmp_path / "trn.json.gz")).blocks()) == rows


def test_a_long_line_of_nothing_takes_no_memory(tmp_path):
    script = (
        "import re, sys\n"
        "from pathlib import Path\n"
        "from tasks.catalogue import sources\n"
        "seen = sum(len(block) for block in sources.find(sys.argv[1]).blocks())\n"
        "print(seen, re.search('VmHWM:\\\\s+(\\\\d+)', Path('/proc/self/status').read_text())[1])\n"
    )
    peaks = []
    for mebibytes in (1, 60):
        name = tmp_path / f"{mebibytes}.json.gz"
        name.write_bytes(gzip.compress(b"\0" * (mebibytes << 20)))
        done = subprocess.run([sys.executable, "-c", script, str(name)], capture_output=True, text=True, check=True)
        seen, peak = map(int, done.stdout.split())
        assert seen == mebibytes << 20
        peaks.append(peak)
    assert peaks[1] < peaks[0] + 20_000, peaks  # KiB


def test_an_archive_of_endless_members_is_not_even_listed(tmp_path, little):
    (tmp_path / "many.zip").write_bytes(archive({f"{n}.json": b"{}" for n in range(200)}))
    with pytest.raises(CatalogueError, match=r"list of files in .* is longer"):
        list(sources.find(str(tmp_path / "many.zip")).blocks())


def test_members_with_the_names_of_other_places_are_only_read(tmp_path):
    link = zipfile.ZipInfo("link.json")
    link.external_attr = 0o120777 << 16
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        packed.writestr("../../escaped.json", DATA)
        packed.writestr("/absolute.json", line("U25"))
        packed.writestr(link, "/etc/passwd")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "names.zip").write_bytes(out.getvalue())
    before = sorted(tmp_path.rglob("*"))
    lines_read = b"".join(sources.find(str(tmp_path / "in" / "names.zip")).blocks()).splitlines()
    rows = [json.loads(each)["uid"] for each in lines_read if each.startswith(b"{")]
    assert sorted(rows) == sorted(f"U{n}" for n in range(26))
    assert b"/etc/passwd" in lines_read and b"root:" not in b"".join(lines_read)
    assert sorted(tmp_path.rglob("*")) == before


def test_pickles_are_no_catalogue(tmp_path):
    class Evil:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "ran"),))

    for name, write in {
        "rows.npz": lambda path: np.savez(path, rows=np.array([Evil()], dtype=object)),
        "rows.pkl": lambda path: path.write_bytes(pickle.dumps(Evil())),
        "rows.npy": lambda path: np.save(path, np.array([Evil()], dtype=object)),
    }.items():
        (tmp_path / name).mkdir()
        write(tmp_path / name / name)
        with pytest.raises(CatalogueError):
            list(sources.find(str(tmp_path / name)).blocks())
    (tmp_path / "script").mkdir()
    (tmp_path / "script" / "script.py").write_text(f"import os; os.mkdir({str(tmp_path / 'ran')!r})")
    with pytest.raises(CatalogueError):
        list(sources.find(str(tmp_path / "script")).blocks())
    tar = tmp_path / "tar" / "rows.tar"
    tar.parent.mkdir()
    (tmp_path / "1.pickle").write_bytes(pickle.dumps(Evil()))
    with tarfile.open(tar, "w") as packed:
        packed.add(tmp_path / "1.pickle", "1.pickle")
    with pytest.raises(CatalogueError, match=r"holds no JSON lines and no table, but '1\.pickle'"):
        list(sources.find(str(tar.parent)).blocks())
    assert not (tmp_path / "ran").exists()


def test_an_empty_folder_says_so(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(CatalogueError, match="is empty: name a folder"):
        sources.find(str(tmp_path / "empty"))
