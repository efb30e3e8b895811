"""A query of a real PostgreSQL as a catalogue: streamed, read-only, ids as text, and errors of one line."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.catalogue import databases, plan
from tasks.catalogue.how import How
from tasks.core.errors import CatalogueError
from tasks.recipe.fields import Fields
from tasks.recipe.model import Catalogue
from tests.kit import catalogues
from tests.kit.stack import POSTGRES, end

QUERY = "select sku, name, about, price, tags, born from items order by id"
FILLED = """
create table items (id int primary key, sku text, name text, about text, price numeric(9, 2), tags jsonb, born date);
insert into items select n, lpad(n::text, 6, '0'), 'Kettle ' || n,
  'Kettle number ' || n || ' of a long row of kettles.',
  n + 0.50, '{"made": ["in", "Wales"]}', date '2026-01-01' + n from generate_series(1, 25) n;
"""


@pytest.fixture(scope="module")
def shop() -> Iterator[str]:
    """The URI of a database with 25 products."""
    if not POSTGRES.exists():
        pytest.skip(f"PostgreSQL 15 is not in {str(POSTGRES)!r}: apt-get install postgresql-15")
    place = Path(tempfile.mkdtemp(prefix="shardtune-shop-"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    user: dict[str, Any] = {"cwd": "/"}
    if os.geteuid() == 0:  # who may not run a database
        user |= {"user": "postgres", "group": "postgres", "extra_groups": []}
        shutil.chown(place, "postgres")
    made = [str(POSTGRES / "initdb"), "-D", str(place / "data"), "-U", "shop", "--auth=trust", "--encoding=UTF8", "-N"]
    subprocess.run(made, check=True, capture_output=True, **user)
    serve = [str(POSTGRES / "postgres"), "-D", str(place / "data"), "-k", str(place), "-p", str(port), "-F"]
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(serve, start_new_session=True, **quiet, **user)
    try:
        uri = f"postgresql://shop@127.0.0.1:{port}/postgres"
        client = [shutil.which("psql") or str(POSTGRES / "psql"), uri, "-v", "ON_ERROR_STOP=1", "-c", FILLED]
        for _ in range(200):
            if subprocess.run(client, capture_output=True, **user).returncode == 0:
                break
            time.sleep(0.1)
        yield uri
    finally:
        end(process)
        shutil.rmtree(place, ignore_errors=True)


def test_a_query_becomes_rows(shop, tmp_path):
    content = ["about", "Made {tags.made}", "Since {born}"]
    fields = Fields.model_validate({"uid": "sku", "title": "name", "content": content, "facts": ["price"]})
    catalogue = Catalogue(uri=shop, query=QUERY, fields=fields, lines_per_shard=10)
    done = catalogues.run(catalogue, tmp_path)
    found = [row for one in done.finished for row in catalogues.rows(one.shard)]
    assert [len(done.finished), len(found), done.prepared.quarantined] == [3, 25, 0]
    assert found[6]["uid"] == "000007" and found[6]["line"] == 7 and found[6]["facts"] == '{"price": "7.50"}'
    assert found[6]["content"] == "Kettle number 7 of a long row of kettles.\nMade in, Wales\nSince 2026-01-08"
    assert plan.plan(catalogue, str(tmp_path)) == done.plan  # asked again, with the same bytes


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("", "is a database: say what to read of it as catalogue.query"),
        ("select nothing from items", 'column "nothing" does not exist.*check catalogue.query'),
        ("delete from items returning sku", "gave no rows"),
        ("select sku from items; drop table items", "gave no rows"),
        ("select sku, name from items", "has the columns 'sku', 'name', and no 'uid'"),
    ],
)
def test_what_is_no_query_of_products_is_told_and_changes_nothing(shop, query, told):
    with pytest.raises(CatalogueError, match=told):
        list(databases.records(shop, How(query=query)))
    assert len(b"".join(databases.records(shop, How((), query=QUERY))).splitlines()) == 25


def test_a_database_that_is_not_there_is_told_in_one_line():
    with pytest.raises(CatalogueError, match=r"gave no rows .*PGPASSWORD") as refused:
        list(databases.records("postgresql://shop@127.0.0.1:9/none", How(query="select 1")))
    assert "\n" not in str(refused.value)
