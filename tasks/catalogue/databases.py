"""Databases: the rows of a query as JSON lines, streamed from one read-only snapshot.

`catalogue.uri` is the database (`postgresql://user@host/shop`), `catalogue.query` the query, which says the order of
its rows (`order by`). A password is never part of the URI: PostgreSQL takes PGPASSWORD, a password file or a service.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from tasks.catalogue import tables
from tasks.catalogue.how import How
from tasks.core import redaction
from tasks.core.errors import CatalogueError

DATABASE = re.compile(r"(postgres(?:ql)?|mysql|mariadb|mssql|oracle|sqlite|duckdb)(\+\w+)?://", re.IGNORECASE)
DRIVER = "postgresql+psycopg://"
BATCH = 2_000  # rows fetched at a time

_encoder = msgspec.json.Encoder(enc_hook=str)


def is_database(uri: str) -> bool:
    """Whether `uri` names a database and no file."""
    return DATABASE.match(uri) is not None


def records(uri: str, how: How) -> Iterator[bytes]:
    """The rows of `how.query`; CatalogueError where the database refuses it."""
    if not how.query:
        raise CatalogueError(
            f"{uri!r} is a database: say what to read of it as catalogue.query (select … from … order by …)"
        )
    import sqlalchemy

    place = DRIVER + uri.partition("://")[2] if re.match(r"postgres(ql)?://", uri, re.IGNORECASE) else uri
    try:
        engine = sqlalchemy.create_engine(place, poolclass=sqlalchemy.NullPool)
        with engine.connect() as connection:
            options: dict[str, Any] = {"stream_results": True, "max_row_buffer": BATCH}
            if engine.dialect.name == "postgresql":
                options |= {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
            rows = connection.execution_options(**options).exec_driver_sql(how.query)
            yield from _lines(uri, rows, how)
    except ImportError as error:
        raise CatalogueError(
            f"{uri!r} needs the package {error.name!r}: pip install 'psycopg[binary]', or that"
        ) from error
    except (sqlalchemy.exc.SQLAlchemyError, ValueError) as error:
        told = redaction.redacted(" ".join(str(getattr(error, "orig", None) or error).split()))[:300]
        raise CatalogueError(
            f"{uri!r} gave no rows ({told}): check catalogue.query, the address, and your rights; a password comes "
            "from PGPASSWORD or a password file"
        ) from error


def _lines(uri: str, rows: Any, how: How) -> Iterator[bytes]:
    if not rows.returns_rows:
        raise CatalogueError(f"catalogue.query = {how.query!r} gives no rows: write a select")
    names = list(rows.keys())
    columns = tables.chosen(uri, names, how.wanted)
    places = [names.index(column) for column in columns]
    for part in rows.partitions(BATCH):
        yield b"".join(
            _encoder.encode({name: _value(row[place]) for name, place in zip(columns, places, strict=True)}) + b"\n"
            for row in part
        )


def _value(value: Any) -> Any:
    return bytes(value).decode("utf-8", "replace") if isinstance(value, bytes | memoryview) else value
