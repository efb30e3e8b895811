"""Prepare of tables under their own column names, beside Hugging Face datasets: `python -m tests.benchmarks.tables`.

The same rows as CSV, Parquet and JSON lines, with columns asin, product_name, description and price.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet

from deployments.demo import catalogue
from tests.benchmarks import contenders, prepare

NAMES = contenders.OWN


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=catalogue.FULL, help=f"rows (default {catalogue.FULL:,})")
    parser.add_argument("--shapes", nargs="+", choices=("csv", "parquet", "jsonl"), default=["csv", "parquet", "jsonl"])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for shape in options.shapes:
            source = _made(folder, options.rows, shape)
            print(f"\n{shape}, {source.stat().st_size / 1e6:,.0f} MB", flush=True)
            ways = ("shardtune", "datasets")
            prepare.table({way: prepare.measure(way, str(source), folder) for way in ways}, options.rows, 1)
            source.unlink()


def _made(folder: Path, rows: int, shape: str) -> Path:
    """A made-up catalogue in this shape; of a few hundred MB at a time in memory."""
    lines, path = folder / "lines.json", folder / f"table.{shape}"
    catalogue.write(str(lines), rows)
    schema = pa.schema({name: pa.string() for name in (*NAMES.values(), "price")})
    told = pa.schema({name: pa.string() for name in NAMES})
    parse = pyarrow.json.ParseOptions(explicit_schema=told, unexpected_field_behavior="ignore")
    reader = pyarrow.json.open_json(lines, pyarrow.json.ReadOptions(block_size=1 << 24), parse)
    with path.open("wb") as out:
        writer = None
        if shape != "jsonl":
            writer = (
                pyarrow.csv.CSVWriter(out, schema) if shape == "csv" else pyarrow.parquet.ParquetWriter(out, schema)
            )
        for batch in reader:
            columns = [*(batch[name] for name in NAMES), pa.array(["9.90"] * batch.num_rows)]
            made = pa.record_batch(columns, schema=schema)
            if writer:
                writer.write_batch(made)
            else:
                out.write(made.to_pandas().to_json(orient="records", lines=True).encode())
        if writer:
            writer.close()
    lines.unlink()
    return path


if __name__ == "__main__":
    main()
