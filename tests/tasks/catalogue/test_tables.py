"""Tables: every value is the text that was written, and a table of other columns says which it has."""

from __future__ import annotations

import csv
import decimal
import gzip
import io
import json
import struct

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.catalogue import sources
from tasks.core.errors import CatalogueError
from tasks.recipe.model import Catalogue
from tests.kit.catalogues import lines, quarantine, rows, run, source

ROWS = [json.loads(each) for each in lines(4)]
ROWS[0] |= {"uid": "0001048790", "title": "Mug, blue; 3|4\tof it", "content": 'First line\nsecond "line" of a café.'}
ROWS[1] |= {"uid": "1e5", "title": "NA"}
ROWS[2] |= {"uid": "31909", "title": "None"}
FRAME = pd.DataFrame(ROWS)


def read(path: object) -> list[dict[str, object]]:
    found = [json.loads(each) for each in b"".join(sources.find(str(path)).blocks()).splitlines()]
    return [row | {"uid": str(row["uid"])} for row in found]


def written(**how: object) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, ["price", "title", "uid", "content"], **how)  # type: ignore[arg-type]
    writer.writeheader()
    writer.writerows(row | {"price": "1,50"} for row in ROWS)
    return out.getvalue()


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_a_table_is_its_rows_whatever_stands_between_its_cells(tmp_path, delimiter):
    table = written(delimiter=delimiter)
    for number, data in enumerate(
        (table.encode(), table.encode("utf-8-sig"), table.encode("utf-16"), gzip.compress(table.encode()))
    ):
        (tmp_path / f"{number}.json").write_bytes(data)  # whatever it is called
        assert read(tmp_path / f"{number}.json") == ROWS
    for label in ("n", None):  # without a label the first name is empty
        FRAME.to_csv(tmp_path / "pandas.csv", sep=delimiter, index_label=label)
        assert read(tmp_path / "pandas.csv") == ROWS
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "pandas.tsv").write_bytes((tmp_path / "pandas.csv").read_bytes())
    assert read(tmp_path / "folder") == ROWS


@pytest.mark.parametrize("cell", ["plain", '"code:\n{ a }\n"'])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_table_is_one_whatever_ends_its_lines_and_begins_those_of_its_cells(tmp_path, end, cell):
    path = tmp_path / "t.csv"
    path.write_bytes(end.join(["uid,title,content", f"A1,Mug,{cell}", "A2,Jug,x", ""]).encode())
    assert [(row["uid"], row["content"]) for row in read(path)] == [("A1", cell.strip('"')), ("A2", "x")]


def test_a_record_that_does_not_fit_goes_to_quarantine_and_its_neighbours_do_not(tmp_path):
    table = (
        b"uid,title,content\r\nA1,Mug,A mug of clay that holds 350 ml.\r\n\r\n"
        b"A2,Jug, white,A jug of clay that holds 950 ml.\r\nA3,Cup\r\n"
        b"A4,Caf\xe9,A cup of clay that holds 80 ml.\r\n,Pan,A pan of iron for eggs.\r\n"
        b"A6,Pot,A pot of iron for soup.\r\n"
    )
    (shard,) = run(source(tmp_path, table, name="items.csv").model_copy(update={"max_quarantined_share": 1}), tmp_path)[
        4
    ].shards
    assert [(row["uid"], row["line"]) for row in rows(shard)] == [("A1", 1), ("A6", 6)]
    assert [(n, rule) for n, _, rule in quarantine(shard)] == [
        (2, "wrong_type"), (3, "wrong_type"), (4, "invalid_utf8"), (5, "blank_uid"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "data",
    [b"asin,product_name,description\n1,a,b\n2,c,d\n", b"ASIN;Name;Text\n1;a;b\n", b"sku\tname\n1\ta\n2\tb\n"],
)
def test_other_columns_are_named_with_those_that_are_wanted(tmp_path, data):
    (tmp_path / "own").mkdir()
    for name in ("own.csv", "own/own.csv"):
        (tmp_path / name).write_bytes(data)
    for place in (tmp_path / "own.csv", tmp_path / "own"):
        with pytest.raises(CatalogueError, match=r"has the columns '.*', and no 'uid', 'title', 'content': say under"):
            run(Catalogue(uri=str(place)), tmp_path / "root")


def test_a_quote_that_is_never_closed_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("tasks.catalogue.tables.FIELD", 3_000)
    csv.field_size_limit(3_000)
    try:
        with pytest.raises(CatalogueError, match=r"cannot be read as a table near line .*quote"):
            run(source(tmp_path, b'uid,title,content\nA1,Mug,"' + b"never closed\n" * 400, name="q.csv"), tmp_path)
    finally:
        csv.field_size_limit(131_072)


def test_a_quote_that_is_never_closed_hides_no_rows(tmp_path):
    good = b"".join(b"A%d,Mug,A mug of clay that holds 350 ml.\n" % n for n in range(5))
    path = tmp_path / "q.csv"
    path.write_bytes(b"uid,title,content\n" + good + b'B1,Jug,"A jug of clay.\n' + good)
    with pytest.raises(CatalogueError, match=r"'A jug of clay.*goes on to the end of the file.*quote"):
        read(path)
    # One row that breaks off within its cell is no row, and takes no other with it.
    path.write_bytes(b"uid,title,content\n" + good + b'B1,Jug,"A jug of clay, and\nof more than')
    *rows, last = b"".join(sources.find(str(path)).blocks()).splitlines()
    assert len(rows) == 5 and isinstance(json.loads(last), list) and b"the end" not in last
    path.write_bytes(b"uid,title,content\n" + good + b'B1,Jug,"A jug of clay."')
    assert [row["uid"] for row in read(path)][-1] == "B1"


def test_a_line_that_never_ends_is_not_held(tmp_path, monkeypatch):
    monkeypatch.setattr("tasks.catalogue.tables.FIELD", 10_000)
    path = tmp_path / "long.csv"
    path.write_bytes(b"uid,title,content\nA1,Mug," + b"x," * 9_000)
    with pytest.raises(CatalogueError, match="a line is longer than 10,000 characters"):
        read(path)


def test_bytes_that_are_no_text_stop_no_table(tmp_path):
    numbers = pa.array([decimal.Decimal("1.5")])
    pq.write_table(pa.table({"uid": numbers, "title": ["Mug"], "content": [b"caf\xe9"]}), tmp_path / "x.parquet")
    (found,) = b"".join(sources.find(str(tmp_path / "x.parquet")).blocks()).splitlines()
    assert b"caf\xe9" in found


@pytest.mark.parametrize("kind", ["int", "binary", "large", "dictionary", "view", "fixed", "binary view"])
def test_columns_of_any_type_that_is_text_or_a_number_of_a_product_are_read(tmp_path, kind):
    ids = [2**63 - 1, 0, 7] if kind == "int" else ["007", "B12", "cé"] if kind == "fixed" else ["007", "B1", "é"]
    types = {
        "int": pa.int64(), "binary": pa.binary(), "large": pa.large_string(),
        "dictionary": pa.dictionary(pa.int8(), pa.string()), "view": pa.string_view(),
        "fixed": pa.binary(3), "binary view": pa.binary_view(),
    }  # fmt: skip
    stored = [i.encode() for i in ids] if kind in ("binary", "fixed", "binary view") else ids
    told = pa.array(["A kettle of copper, for two litres."] * 3)
    table = pa.table({"n": [1, 2, 3], "uid": pa.array(stored, types[kind]), "title": told, "content": told})
    if "view" not in kind:
        pq.write_table(table, tmp_path / "x.parquet")
    with pa.ipc.new_file(tmp_path / "x.arrow", table.schema) as out:
        out.write_table(table, max_chunksize=2)
    with pa.ipc.new_stream(tmp_path / "x.stream", table.schema) as out:
        out.write_table(table, max_chunksize=2)
    for path in tmp_path.glob("x.*"):
        assert [row["uid"] for row in read(path)] == [str(i) for i in ids], path.name


@pytest.mark.parametrize("kind", ["string", "large", "dictionary"])
def test_text_that_is_no_utf8_goes_to_quarantine_by_itself(tmp_path, kind):
    told = pa.array(["A kettle of copper, for two litres."] * 2)
    titles = pa.array([b"caf\xe9", b"Jug"], pa.large_binary() if kind == "large" else pa.binary())
    titles = titles.view(pa.large_string() if kind == "large" else pa.string())
    if kind == "dictionary":
        titles = pa.DictionaryArray.from_arrays(pa.array([0, 1]), titles)
    table = pa.table({"uid": ["1", "2"], "title": titles, "content": told})
    pq.write_table(table, tmp_path / "x.parquet")
    with pa.ipc.new_file(tmp_path / "x.arrow", table.schema) as out:
        out.write_table(table)
    for name in ("x.parquet", "x.arrow") if kind != "dictionary" else ("x.arrow",):  # Parquet's reader looks itself
        prepared = run(Catalogue(uri=str(tmp_path / name)), tmp_path / "root").prepared
        assert (prepared.kept, prepared.reasons) == (1, {"invalid_utf8": 1}), name


def test_a_column_that_is_there_twice_is_told(tmp_path):
    names = ["uid", "title", "title", "content"]
    table = pa.table([pa.array([each]) for each in ("1", "Mug", "Jug", "A kettle of copper, for two litres.")], names)
    pq.write_table(table, tmp_path / "x.parquet")
    with pa.ipc.new_file(tmp_path / "x.arrow", table.schema) as out:
        out.write_table(table)
    (tmp_path / "x.csv").write_text("uid,title,title,content\n1,Mug,Jug,A kettle of copper.\n")
    for name in ("x.parquet", "x.arrow", "x.csv"):
        with pytest.raises(CatalogueError, match="has more than one column 'title': rename the others"):
            run(Catalogue(uri=str(tmp_path / name)), tmp_path / "root")


def test_a_cell_that_names_a_place_is_never_opened(tmp_path):
    """As `datasets` stores a picture: its reader would open the path."""
    import datasets

    told = "A kettle of copper, for two litres."
    features = {"uid": datasets.Value("string"), "title": datasets.Value("string"), "content": datasets.Image()}
    held = {"uid": ["1"], "title": [told], "content": [{"bytes": None, "path": "http://127.0.0.1:9/x.png"}]}
    pictures = datasets.Dataset.from_dict(held, features=datasets.Features(features))
    (tmp_path / "set").mkdir()
    pq.write_table(pictures.data.table, tmp_path / "set" / "x.parquet")
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "state.json").write_text('{"_data_files": [{"filename": "x.arrow"}]}')
    with pa.ipc.new_stream(tmp_path / "saved" / "x.arrow", pictures.data.table.schema) as out:
        out.write_table(pictures.data.table)
    for place in ("set", "saved"):
        with pytest.raises(CatalogueError, match=r"wrong_type \(content is dict"):
            run(Catalogue(uri=str(tmp_path / place)), tmp_path / "root")


@pytest.mark.parametrize("cut", [20, -20])
def test_a_damaged_table_is_told(tmp_path, cut):
    FRAME.to_parquet(tmp_path / "x.parquet")
    (tmp_path / "x.parquet").write_bytes((tmp_path / "x.parquet").read_bytes()[:cut])
    with pytest.raises(CatalogueError, match=r"damaged Parquet or Arrow file .*fetch it again"):
        run(Catalogue(uri=str(tmp_path / "x.parquet")), tmp_path / "root")


@pytest.mark.parametrize("compression", ["snappy", "zstd"])
def test_a_damaged_page_is_no_fault_of_the_credentials(tmp_path, compression):
    FRAME.to_parquet(tmp_path / "x.parquet", compression=compression)
    data = bytearray((tmp_path / "x.parquet").read_bytes())
    place = pq.read_metadata(tmp_path / "x.parquet").row_group(0).column(2).data_page_offset - 30
    data[place : place + 20] = b"\xff" * 20  # of the page of the dictionary before it
    (tmp_path / "x.parquet").write_bytes(data)
    with pytest.raises(CatalogueError, match=r"damaged Parquet or Arrow file .*fetch it again"):
        run(Catalogue(uri=str(tmp_path / "x.parquet")), tmp_path / "root")


@pytest.mark.parametrize("opened", [pa.ipc.new_file, pa.ipc.new_stream])
def test_offsets_that_lead_out_of_an_arrow_file_are_told(tmp_path, opened):
    """Arrow itself does not look, and reads memory that is not its own."""
    table = pa.table({name: [name * 3, name * 4, name * 5] for name in ("uid", "title", "content")})
    with opened(tmp_path / "x.arrow", table.schema) as out:
        out.write_table(table)
    data = (tmp_path / "x.arrow").read_bytes()
    ends = struct.pack("<4i", 0, 15, 35, 60)
    assert data.count(ends) == 1
    (tmp_path / "x.arrow").write_bytes(data.replace(ends, struct.pack("<4i", 0, 15, 1 << 30, 60)))
    with pytest.raises(CatalogueError, match=r"damaged Parquet or Arrow file .*fetch it again"):
        run(Catalogue(uri=str(tmp_path / "x.arrow")), tmp_path / "root")
