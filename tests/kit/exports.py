"""Ten catalogues as other tools write them: made-up products under those tools' own column names and shapes."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pandas as pd

THINGS = ("Kettle", "Teapot", "Lantern", "Hammock", "Spade", "Quilt", "Ladle", "Stool")
COLOURS = ("copper", "green", "walnut", "ivory", "scarlet")


def products(many: int = 24) -> list[dict[str, Any]]:
    exports = []
    for n in range(many):
        thing, colour = THINGS[n % len(THINGS)], COLOURS[n % len(COLOURS)]
        exports.append(
            {
                "id": f"00{4711 + n}", "name": f"{colour.title()} {thing} No {n}", 
                "brand": ("Orrin", "Vale & Sons")[n % 2],
                "text": f'A {colour} {thing.lower()} for {n + 2} people; it weighs {n + 3} hundred grams, "they say".',
                "price": 10 + n + 0.5, "colour": colour, "image": f"https://img.example/{n}.jpg",
            }
        )  # fmt: skip
    return exports


def _rows(names: dict[str, Any]) -> list[dict[str, Any]]:
    return [{k: v(p) if callable(v) else p.get(v, v) for k, v in names.items()} for p in products()]


def pandas_csv(folder: Path) -> Path:
    rows = _rows({"product_id": "id", "product_name": "name", "product_description": "text", "price": "price"})
    pd.DataFrame(rows).to_csv(path := folder / "frame.csv")  # with its index, a column without a name
    return path


def excel(folder: Path) -> Path:
    book = openpyxl.Workbook()
    sheet: Any = book.active
    sheet.append(["Price list, spring"])
    sheet.append([])
    sheet.append(["Art.-Nr.", "Bezeichnung", "Beschreibung", "Preis"])
    for n, p in enumerate(products(), 4):
        sheet.append([int(p["id"]), p["name"], p["text"], p["price"]])
        sheet.cell(n, 1).number_format = "000000"
    book.save(path := folder / "price list.xlsx")
    return path


def r_csv(folder: Path) -> Path:
    rows = _rows({"artikelnummer": "id", "titel": "name", "langtext": "text", "preis": "price"})
    frame = pd.DataFrame(rows)
    frame["titel"] = frame["titel"] + " für Tee"
    frame.to_csv(path := folder / "r.csv", sep=";", decimal=",", index=False, encoding="cp1252", quoting=2)
    return path


def sql_csv(folder: Path) -> Path:
    rows = _rows(
        {"item_id": "id", "item_name": "name", "long_description": "text", "category": "colour", "deleted": "\\N"}
    )
    pd.DataFrame(rows).to_csv(path := folder / "dump.csv.gz", sep="|", index=False, lineterminator="\r\n")
    return path


def shopify(folder: Path) -> Path:
    names = ["Handle", "Title", "Body (HTML)", "Vendor", "Type", "Tags", "Published", "Option1 Name", "Option1 Value"]
    names += ["Variant SKU", "Variant Price", "Image Src"]
    rows: list[dict[str, Any]] = []
    for p in products():
        handle = p["name"].lower().replace(" ", "-")
        body = {
            "Body (HTML)": f"<p>{p['text']}</p>\n<ul><li>Dry well</li></ul>",
            "Vendor": p["brand"],
            "Type": p["colour"],
        }
        rows.append({"Handle": handle, "Title": p["name"], **body, "Variant SKU": p["id"], "Variant Price": p["price"]})
        rows.append(
            {"Handle": handle, "Option1 Value": "Large", "Variant SKU": f"{p['id']}-L", "Image Src": p["image"]}
        )
    pd.DataFrame(rows, columns=names).to_csv(path := folder / "products_export_1.csv", index=False)
    return path


def woocommerce(folder: Path) -> Path:
    rows = _rows(
        {
            "ID": lambda p: int(p["id"]), "Type": "simple", "SKU": "id", "GTIN, UPC, EAN, or ISBN": "", "Name": "name",
            "Published": 1, "Is featured?": 0, "Visibility in catalog": "visible", "Short description": "colour",
            "Description": lambda p: p["text"] + "\\n<strong>New</strong>", "In stock?": 1, "Regular price": "price",
            "Categories": "Home > Kitchen", "Tags": "", "Images": "image", "Attribute 1 name": "Colour",
            "Attribute 1 value(s)": "colour",
        }
    )  # fmt: skip
    pd.DataFrame(rows).to_csv(path := folder / "wc-product-export.csv", index=False, encoding="utf-8-sig")
    return path


def merchant(folder: Path) -> Path:
    names = {"id": "id", "title": "name", "description": "text", "link": lambda p: f"https://shop.example/p/{p['id']}"}
    rest = {
        "image link": "image",
        "price": lambda p: f"{p['price']:.2f} USD",
        "brand": "brand",
        "google product category": 536,
    }
    pd.DataFrame(_rows(names | rest)).to_csv(path := folder / "feed.tsv", sep="\t", index=False)
    return path


def amazon_2018(folder: Path) -> Path:
    rows = _rows(
        {
            "category": lambda p: ["Home", p["colour"]], "description": lambda p: [p["text"]], "title": "name",
            "also_buy": lambda p: ["B000000001"], "brand": "brand", "feature": lambda p: ["It pours.", "It holds."],
            "rank": "1,234 in Home (", "asin": "id", "imageURLHighRes": lambda p: [p["image"]], "price": lambda p: None,
        }
    )  # fmt: skip
    (path := folder / "meta_Home.json.gz").write_bytes(gzip.compress("\n".join(map(repr, rows)).encode()))
    return path


def amazon_2023(folder: Path) -> Path:
    rows = _rows(
        {
            "main_category": "Home", "title": "name", "average_rating": 4.5, "rating_number": 12,
            "features": lambda p: ["It pours.", p["text"]], "description": lambda p: [], "price": "price",
            "images": lambda p: [{"large": p["image"]}], "videos": lambda p: [], "store": "brand",
            "categories": lambda p: ["Home", "Kitchen"],
            "details": lambda p: {"Colour": p["colour"], "Rank": {"Home": 7}},
            "parent_asin": "id", "bought_together": lambda p: None,
        }
    )  # fmt: skip
    (path := folder / "meta.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def parquet(folder: Path) -> Path:
    names = {
        "sku": lambda p: int(p["id"]),
        "attributes": lambda p: {"name": p["name"], "about": p["text"], "tags": ["a", "b"]},
    }
    pd.DataFrame(_rows(names)).to_parquet(path := folder / "part-0.parquet")
    return path


EXPORTS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "pandas CSV": (pandas_csv, "004711"),
    "Excel": (excel, "004711"),
    "R CSV": (r_csv, "004711"),
    "SQL dump": (sql_csv, "004711"),
    "Shopify": (shopify, "copper-kettle-no-0"),
    "WooCommerce": (woocommerce, "004711"),
    "Google Merchant": (merchant, "004711"),
    "Amazon 2018": (amazon_2018, "004711"),
    "Amazon 2023": (amazon_2023, "004711"),
    "nested Parquet": (parquet, "4711"),
}
"""Of each shape what writes it, and the uid of its first product."""
