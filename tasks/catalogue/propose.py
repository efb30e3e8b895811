"""Propose: which columns of a catalogue are its uid, title, content and facts, by their names and what they hold.

A sample of the first records is looked at. Names count in the languages that shop systems speak; where no name tells,
what a column holds does: an identifier is short and there once, a title is a short text, a content the longest one.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from charset_normalizer import from_bytes

from tasks.catalogue import mapping, sources
from tasks.catalogue.how import How, of
from tasks.core.errors import CatalogueError
from tasks.recipe.fields import Fields
from tasks.recipe.model import Catalogue

RECORDS, BYTES = 2_000, 1 << 25  # that are looked at, at most
COLUMNS = 500
ENCODINGS = ("cp1252", "cp1250", "cp1251", "cp1253", "cp932", "gb18030", "big5", "euc_kr")
IDS = (
    "uid parentasin asin productid itemid articleid variantid listingid gid handle sku variantsku "
    "productsku productcode "
    "itemcode articlenumber artikelnummer artikelnr artnr itemnumber stockcode partnumber mpn referencia reference ref "
    "codigo codice kod gtin gtin14 ean ean13 barcode upc isbn isbn13 isbn10 productkey itemkey code id key nr no number"
).split()
TITLES = (
    "title producttitle itemtitle productname itemname articlename name titel bezeichnung artikelbezeichnung "
    "produktname artikelname titulo nombre nome nom designation libelle denominazione naam nazwa postttitle posttitle "
    "headline label product item artikel producto produto produit prodotto"
).split()
CONTENTS = (
    "content description productdescription itemdescription longdescription fulldescription descriptionhtml bodyhtml "
    "body producttext text beschreibung artikelbeschreibung produktbeschreibung langtext descripcion descricao "
    "descrizione descriptif omschrijving opis postcontent overview about summary abstract"
).split()
MORE = (
    "shortdescription feature features bulletpoints bulletpoint bullets highlights kurzbeschreibung kurztext "
    "descripcioncorta descricaocurta postexcerpt excerpt aboutproduct aboutthisitem specifications technicaldetails "
    "details"
).split()
FACTS = {
    "price": "price variantprice regularprice saleprice sellingprice listprice preis precio preco prix prezzo prijs "
    "unitprice currentprice finalprice discountedprice",
    "brand": "brand vendor manufacturer marke hersteller marca marque fabricant store brandname",
    "category": "category categories maincategory maincat producttype googleproductcategory kategorie warengruppe "
    "categoria categorie productcategory type department section genre",
    "color": "color colour farbe couleur cor colore",
    "size": "size groesse grosse taille talla tamanho",
    "material": "material materials matiere materiale",
    "availability": "availability stock verfuegbarkeit instock",
    "author": "author authors autor auteur",
}
URL = re.compile(r"\s*(https?://|www\.|//)\S+\s*$")
NUMBER = re.compile(r"\s*[-+€$£]?\s*\d[\d.,\s]*\s*(€|\$|£|[A-Z]{3})?\s*$")


@dataclass
class Column:
    """What a sample holds under one name or path."""

    name: str
    texts: list[str] = field(default_factory=list)
    empty: bool = True

    @property
    def key(self) -> str:
        """The name without case, signs and a prefix such as `g:`; of a path its last step."""
        last = self.name.rpartition(".")[2] if not self.name.endswith(".") else self.name
        plain = unicodedata.normalize("NFKD", last.lower().removeprefix("g:").replace("ß", "ss"))
        return re.sub(r"[^a-z0-9]", "", plain)

    def full(self, rows: Sequence[int]) -> float:
        """Share of these rows that have it."""
        return sum(bool(self.texts[n].strip()) for n in rows) / max(1, len(rows))

    def there(self, rows: Sequence[int]) -> list[str]:
        return [self.texts[n] for n in rows if self.texts[n].strip()]

    def once(self, rows: Sequence[int]) -> float:
        """Share of these values that are there once."""
        some = self.there(rows)
        return len(set(some)) / max(1, len(some))

    def mean(self, rows: Sequence[int]) -> float:
        some = self.there(rows)
        return sum(map(len, some)) / max(1, len(some))

    def share(self, pattern: re.Pattern[str], rows: Sequence[int]) -> float:
        some = self.there(rows)
        return sum(bool(pattern.match(text)) for text in some) / max(1, len(some))


@dataclass(frozen=True)
class Proposal:
    """`how` reads the catalogue; `why` says of each field what told it; `notes` what a person should know."""

    how: How
    fields: Fields
    why: dict[str, str]
    notes: tuple[str, ...]
    columns: tuple[str, ...]
    records: tuple[dict[str, Any], ...]
    looked: int


def propose(catalogue: Catalogue) -> Proposal:
    """A mapping of the catalogue; CatalogueError where nobody can make rows of what is there."""
    uri = str(catalogue.uri)
    how, notes = _read_as(catalogue)
    records = list(_sample(catalogue, how))
    if not records:
        raise CatalogueError(f"{uri!r} holds no record: give a file with at least one product")
    if _keyed(records):
        raise CatalogueError(
            f"{uri!r} is one object with a product under each key, such as {next(iter(records[0]))[:64]!r}: make it an "
            "array whose products hold their key, as `jq '[to_entries[] | .value + {uid: .key}]'` does"
        )
    columns = _columns(records)
    fields, why, more = _fields(uri, columns, len(records))
    names = tuple(c.name for c in columns)
    return Proposal(how, fields, why, (*notes, *more), names, tuple(records), len(records))


def _keyed(records: list[dict[str, Any]]) -> bool:
    """Whether the one record holds products by their ids: read as a product it would mix all of them."""
    values = list(records[0].values()) if len(records) == 1 else []
    if len(values) < 2 or not all(isinstance(value, dict) and value for value in values):
        return False
    return all({*value} & {*values[0]} for value in values)


def _read_as(catalogue: Catalogue) -> tuple[How, list[str]]:
    """How the file is read: with another encoding where it is no UTF-8."""
    how = of(catalogue)._replace(wanted=())
    head = b""
    for block in _found(catalogue, how).blocks():
        head += block
        if len(head) > 1 << 20:
            break
    try:
        head.decode("utf-8")
        return how, []
    except UnicodeDecodeError as error:
        if error.start >= len(head) - 4:
            return how, []
    if b"\0" in head:
        return how, []
    found = from_bytes(head[: 1 << 18], cp_isolation=list(ENCODINGS))
    best = found.best()
    western = next((one for one in found if one.encoding == "cp1252"), None)
    usual = best is None or (western is not None and western.chaos <= best.chaos)
    encoding = "cp1252" if usual or best is None else best.encoding
    return how._replace(encoding=encoding), [f"the text is no UTF-8 and is read as {encoding}: catalogue.encoding"]


def _found(catalogue: Catalogue, how: How) -> sources.Source:
    return sources.find(str(catalogue.uri), catalogue.config, catalogue.split, how)


def _sample(catalogue: Catalogue, how: How) -> Iterator[dict[str, Any]]:
    """The first records, each with all its keys."""
    rest, count, size = b"", 0, 0
    for block in _found(catalogue, how).blocks():
        *lines, rest = (rest + block).split(b"\n")
        size += len(block)
        for line in lines:
            if (record := _record(line)) is not None:
                yield record
                count += 1
            if count >= RECORDS:
                return
        if size > BYTES:
            return
    if (record := _record(rest)) is not None:
        yield record


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line.removeprefix(b"\xef\xbb\xbf"), parse_float=str)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _columns(records: Sequence[dict[str, Any]]) -> list[Column]:
    """Every name, and every path one or two steps into objects, with its texts."""
    names: dict[str, None] = {}
    for record in records:
        for key, value in record.items():
            inner = [f"{key}.{k}" for k in value] if isinstance(value, dict) else []
            for name in (key, *inner):
                usable = name and len(name) <= 200 and not set(name) & set("{}") and name.isprintable()
                if usable and len(names) < COLUMNS:
                    names.setdefault(name)
    found = []
    for name in names:
        column = Column(name)
        for record in records:
            value = record.get(name)
            if value is None and "." in name:
                first, *rest = name.split(".")
                value = mapping.at(record.get(first), rest)
            column.texts.append(mapping.flat(value, "\n"))
        found.append(column)
    return found


def _named(columns: Sequence[Column], names: Sequence[str]) -> list[Column]:
    """The columns with one of these names, in the order of the names."""
    place = {name: n for n, name in enumerate(names)}
    return sorted((c for c in columns if c.key in place), key=lambda c: (place[c.key], c.name.count("."), len(c.name)))


def _fields(uri: str, columns: list[Column], count: int) -> tuple[Fields, dict[str, str], list[str]]:
    everything = range(count)
    why: dict[str, str] = {}
    notes: list[str] = []
    columns = [c for c in columns if c.there(everything)]
    flat = [c for c in columns if not _of_objects(c, columns)]
    title = _title(flat, everything, why)
    if title is None:
        told = ", ".join(repr(c.name) for c in columns[:20])
        raise CatalogueError(f"{uri!r} has no column that looks like a title; it has {told}: write catalogue.fields")
    rows = [n for n in everything if title.texts[n].strip()]
    uid = _uid([c for c in flat if c is not title], rows, why)
    if uid is None:
        uid = title
        why["uid"] = "no column identifies a product, so its title does"
        notes.append("no column identifies a product: add one, since a changed title is a new product")
    elif uid.once(rows) < 0.98:
        notes.append(f"{uid.name!r} is not unique: of several rows of one uid the first stays (clean.same_uid)")
    content = _content([c for c in columns if c not in (title, uid)], rows, why)
    taken = {title.name, uid.name, *(name for part in content for name in [part])}
    facts = _facts([c for c in flat if c.name not in taken], rows)
    if not content:
        content = _attributes([c for c in flat if c.name not in (title.name, uid.name)], rows)
        why["content"] = "no column is a description, so the others are named one by one"
    if not content:
        content = (title.name,)
        why["content"] = "there is nothing but the title"
        notes.append("no column describes the products: rows without a description teach a model little")
    fields = Fields.model_validate({"uid": uid.name, "title": title.name, "content": content, "facts": facts})
    return fields, why, notes


def _of_objects(column: Column, columns: Sequence[Column]) -> bool:
    return any(other.name.startswith(f"{column.name}.") for other in columns)


def _title(columns: Sequence[Column], rows: Sequence[int], why: dict[str, str]) -> Column | None:
    named = [c for c in _named(columns, TITLES) if c.full(rows) > 0.05 and c.share(URL, rows) < 0.5]
    told = [c for c in named if c.share(NUMBER, rows) < 0.5]
    if told:
        why["title"] = "by its name"
        return told[0]
    texts = [
        c for c in columns
        if c.full(rows) > 0.5 and 3 <= c.mean(rows) <= 250 and c.share(URL, rows) < 0.2 and c.share(NUMBER, rows) < 0.2
        and c.key not in CONTENTS and " " in "".join(c.there(rows)[:20])
    ]  # fmt: skip
    if texts:
        why["title"] = "a short text, nearly always there and seldom twice"
        return max(texts, key=lambda c: (round(c.once(rows), 1), -c.mean(rows)))
    return named[0] if named else None


def _uid(columns: Sequence[Column], rows: Sequence[int], why: dict[str, str]) -> Column | None:
    """Among the rows that have a title, as exports give a product's further rows none."""
    usable = [c for c in columns if c.mean(rows) <= 100 and c.full(rows) >= 0.9]
    named = _named(usable, IDS)
    once = [c for c in named if c.once(rows) >= 0.9]
    if once or named:
        why["uid"] = "by its name" + ("" if once else ", though it is not unique")
        return (once or named)[0]
    likely = [c for c in usable if c.full(rows) == 1 == c.once(rows) and c.mean(rows) <= 40 and len(rows) > 1]
    likely = [c for c in likely if not any(" " in t.strip() for t in c.there(rows)[:50]) and c.share(URL, rows) == 0]
    if likely:
        why["uid"] = "short, always there and never twice"
        return likely[0]
    return None


def _content(columns: Sequence[Column], rows: Sequence[int], why: dict[str, str]) -> tuple[str, ...]:
    usable = [c for c in columns if c.full(rows) > 0.02 and c.share(URL, rows) < 0.5]
    main = [c for c in _named(usable, CONTENTS) if c.mean(rows) >= 10]
    more = [c for c in _named(usable, MORE) if c.mean(rows) >= 5]
    if main or more:
        why["content"] = "by its name" if len(main[:1] + more) == 1 else "by their names"
        best = max(main[:3], key=lambda c: c.full(rows) * min(c.mean(rows), 500)) if main else None
        return tuple(c.name for c in ([best] if best else []) + more)
    texts = [c for c in usable if c.mean(rows) >= 30 and c.share(NUMBER, rows) < 0.2]
    if texts:
        why["content"] = "the longest text"
        return (max(texts, key=lambda c: c.mean(rows) * c.full(rows)).name,)
    return ()


def _facts(columns: Sequence[Column], rows: Sequence[int]) -> dict[str, str]:
    found = {}
    for fact, names in FACTS.items():
        some = [c for c in _named(columns, names.split()) if c.full(rows) >= 0.05 and c.share(URL, rows) < 0.5]
        short = [c for c in some if c.mean(rows) <= 200]
        if short:
            found[fact] = short[0].name
    return found


def _attributes(columns: Sequence[Column], rows: Sequence[int]) -> tuple[str, ...]:
    """`Color: {Color}` for each column that says something of a product."""
    said = [c for c in columns if c.full(rows) >= 0.1 and c.share(URL, rows) < 0.5 and c.key not in ("index", "rank")]
    told = [f"{c.name.rpartition('.')[2].replace('_', ' ').strip().capitalize()}: {{{c.name}}}" for c in said if c.name]
    return tuple(told[:30])


def link(proposal: Proposal, uid: str, place: str) -> str:
    """Where a person finds a product: what a column of addresses says of each one's uid, else `place`."""
    ids = mapping.of(Fields.model_validate({"uid": uid, "title": uid, "content": uid}))
    rows = [(row.uid, record) for record in proposal.records if isinstance(row := ids.of(record), mapping.Row)]
    for name in proposal.columns:
        found = {str(record[name]).replace(str(uid), "{uid}", 1) for uid, record in rows if record.get(name)}
        if len(found) == 1 and len(rows) > 1 and URL.match(told := found.pop()) and "{uid}" in told:
            return told
    if all(re.fullmatch(r"B0[A-Z0-9]{8}|\d{9}[\dX]", str(uid)) for uid, _ in rows) and rows:
        return "https://www.amazon.com/dp/{uid}"
    return f"{place}#{{uid}}"
