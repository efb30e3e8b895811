"""A made-up catalogue of the real one's size, shape and dirt.

`python -m deployments.demo.catalogue --rows N --out FILE`

The shares of blanks, entities, glued words, tails and duplicates and the distributions of lengths are those measured
on AmazonTitles-1.3MM trn.json (2,248,619 lines). Products, brands and books are invented, but honest in this: what a
content says of material, colour and size belongs to its title. The same rows and seed give the same bytes.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from json.encoder import encode_basestring_ascii as quoted
from typing import Any

import numpy as np

from deployments.demo import words

FULL = 2_248_619
CHUNK = 20_000
ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=FULL, help=f"lines to write (default {FULL:,})")
    parser.add_argument("--out", required=True, help="file to write")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", action="store_true", help="add every kind of bad line; the last is cut short")
    options = parser.parse_args()
    size = write(options.out, options.rows, options.seed, options.faults)
    print(f"{options.rows:,} made-up lines, {size / 1e6:,.1f} MB: {options.out}")


def write(out: str, rows: int, seed: int = 1, faults: bool = False) -> int:
    """Write the catalogue; returns its size in bytes. With `faults`, bad lines come on top of `rows`."""
    work = [(seed, start, min(CHUNK, rows - start), rows) for start in range(0, rows, CHUNK)]
    with open(out, "wb") as stream:
        for n, data in enumerate(_map(work)):
            stream.write(data)
            if faults and n == len(work) // 2:
                stream.write(b"".join(bad_lines()))
        if faults:
            stream.write(b'{"uid": "B0CUTSHORT", "title": "A line that ends in the mid')
        return stream.tell()


def _map(work: list[Any]) -> Iterator[bytes]:
    if len(work) == 1:
        yield chunk(work[0])
        return
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        yield from pool.map(chunk, work)


_LONG = b" ".join(b"word %d" % n for n in range(20_000))


def bad_lines() -> list[bytes]:
    """One line for every way in which a line can be bad, and two extreme ones that are good or too long."""
    return [
        b'{"uid": "B0MALFORM1", "title": "x", "content": \n',
        b'{"uid": "B0WRONGTYP", "title": 7, "content": "a number for a title"}\n',
        b'{"uid": "B0MISSING1", "title": "no content here"}\n',
        b'{"uid": "B0BADUTF81", "title": "bad \xff\xfe bytes", "content": "not UTF-8"}\n',
        b'{"uid": "B0NULBYTE1", "title": "a NUL \x00 byte", "content": "in the line"}\n',
        b'["not", "an", "object"]\n',
        b"\n",
        b'{"uid": "B0SURROGAT", "title": "Lone \\ud800 surrogate", "content": "Kept, with a mark for what is lost."}\n',
        b'{"uid": "B0LONGTEXT", "title": "A long one", "content": "' + _LONG[:200_000] + b'"}\n',
        b'{"uid": "B0TOOLONG1", "title": "A line of 50 MB", "content": "' + b"too long " * 5_555_556 + b'"}\n',
    ]


def chunk(work: tuple[int, int, int, int]) -> bytes:
    """Lines `start` to `start + count` of a catalogue of `total` lines, made from the seed and `start` alone."""
    seed, start, count, total = work
    rng = np.random.default_rng([seed, 1, start])
    place = (start + np.arange(count)) / total
    head = place < 0.15
    books = rng.random(count) < np.where(head, 0.66, 0.213)
    titles, contents = products(rng, count, books)
    stock_titles, stock_contents = stock(seed, total)
    pick, twin = rng.integers(len(stock_titles), size=count).tolist(), rng.random(count)
    blank = rng.random(count)
    no_content = np.where(head, 0.235, 0.351)
    tails, odd = rng.random(count), rng.random(count)
    uids = [
        book_uid(n) if b else other_uid(n) for n, b in zip(range(start, start + count), books.tolist(), strict=True)
    ]
    targets = target_pool(seed)
    target = rng.integers(len(targets), size=count).tolist()
    lines = []
    for n in range(count):
        title, content = titles[n], contents[n]
        if books[n] and not (twin[n] < 0.044):
            content = _book_tail(content, tails[n], bool(head[n]), n)
        if twin[n] < 0.030:
            title, content = stock_titles[pick[n]], stock_contents[pick[n]]
        elif twin[n] < 0.044:
            title = stock_titles[pick[n]]
        elif odd[n] < 0.012:
            content = _odd(title, content, odd[n] / 0.012, n)
        if blank[n] < 0.0082:
            title = content = ""
        elif blank[n] < 0.0564:
            title = ""
        elif blank[n] < 0.0482 + no_content[n]:
            content = ""
        lines.append(
            f'{{"uid": "{uids[n]}", "title": {quoted(title)}, "content": {quoted(content)}, {targets[target[n]]}}}'
        )
    return ("\n".join(lines) + "\n").encode("ascii")


@cache
def stock(seed: int, total: int) -> tuple[list[str], list[str]]:
    """Products that come up more than once: drawn twice each on average, which leaves 1.7 % exact repeats."""
    count = max(1, int(total * 0.030 / 2))
    rng = np.random.default_rng([seed, 2])
    return products(rng, count, rng.random(count) < 0.28)


@cache
def target_pool(seed: int) -> list[str]:
    """Some thousand pairs of target lists, about 17 numbers each; nothing reads them but parsers."""
    rng = np.random.default_rng([seed, 3])
    pool = []
    for length in np.minimum(rng.geometric(1 / 17, 4_000), 100):
        numbers = ", ".join(map(str, np.sort(rng.integers(1_305_265, size=length)).tolist()))
        pool.append(f'"target_ind": [{numbers}], "target_rel": [{", ".join(["1.0"] * int(length))}]')
    return pool


def products(rng: np.random.Generator, count: int, books: Any) -> tuple[list[str], list[str]]:
    """Titles and contents with the lengths and the dirt of the real ones, no blanks yet."""
    title_room = np.clip(rng.lognormal(3.99, 0.52, count), 4, 1_999).astype(int).tolist()
    spread = rng.standard_normal(count)  # log-normal, its right side a little lighter, with a thin tail to 200,000
    lengths = np.clip(np.exp(5.99 + np.where(spread > 0, 0.93, 1.06) * spread), 5, 4_900)
    long = rng.random(count) < 0.004
    lengths[long] = np.minimum(5_000 / np.sqrt(1 - rng.random(int(long.sum()))), 200_000)
    content_room = lengths.astype(int).tolist()
    numbers = rng.integers(1 << 30, size=(count, 12)).tolist()
    dirt = rng.random((count, 6)).tolist()
    titles, contents = [], []
    for n in range(count):
        title, content = (book if books[n] else article)(numbers[n], title_room[n], content_room[n])
        titles.append(entity(title, numbers[n][0]) if dirt[n][5] < 0.02 else title)
        contents.append(soil(content, dirt[n], numbers[n], bool(books[n])))
    return titles, contents


@cache
def _categories() -> list[tuple[str, list[str], list[str], list[str], list[str]]]:
    return [(name, *(part.split("|") for part in parts)) for name, parts in words.CATEGORIES.items()]  # type: ignore[misc]


def article(z: list[int], title_room: int, room: int) -> tuple[str, str]:
    """A thing: title and content agree in brand, series, material, colour and size."""
    category, nouns, materials, uses, parts = _categories()[z[0] % len(words.CATEGORIES)]
    brand, noun = words.BRANDS[z[1] % 25], nouns[z[3] % len(nouns)]
    line = f"{words.LINES[z[2] % 15]} {10 * (10 + z[2] // 15 % 90)}"
    material, colour = materials[z[4] % len(materials)], words.COLOURS[z[5] % 16]
    width, height = 4 + z[6] % 40, 3 + z[7] % 47
    values: dict[str, Any] = {
        "brand": brand, "line": line, "noun": noun.lower(), "m": material, "c": colour, "w": width, "h": height,
        "k": 2 + z[8] % 94, "adj": words.ADJECTIVES[z[9] % 16].lower(), "use": uses[z[10] % len(uses)],
        "part": parts[z[11] % len(parts)], "name": f"{brand} {line} {noun}", "p": 12 + z[8] % 80, "y": 2 + z[9] % 9,
        "c2": words.COLOURS[(z[5] + 1 + z[6] % 15) % 16], "code": f"{line[0]}{z[7] % 900 + 100}",
    }  # fmt: skip
    title = f"{brand} {line} {noun}"
    for more in (
        f", {colour.title()}", f", {width} x {height} Inches", f", {material.title()}",
        f", {words.ADJECTIVES[z[9] % 16]}", f", Model {values['code']}", f", for {values['use'].title()}",
        f" ({category})",
    ):  # fmt: skip
        if len(title) >= title_room - 6:
            break
        title += more
    return title, _tell(values, words.OPENERS, words.SENTENCES, z, room)


def book(z: list[int], title_room: int, room: int) -> tuple[str, str]:
    """A book: title and content agree in subject, place, author and kind."""
    subject = f"{words.KINDS[z[0] // 16 % 16]} {words.SUBJECTS[z[0] % 16]}"
    place = words.PLACES[z[1] % len(words.PLACES)]
    who = f"{words.FIRST[z[2] % 16]} {words.LAST[z[3] % 11]}"
    genre, volume = words.GENRES[z[4] % 10], 1 + z[5] % 24
    title = f"The {subject}"
    for more in (f" of {place}", f": A {genre.title()}", f" (Volume {volume})", f" by {who}", ", Revised Edition"):
        if len(title) >= title_room - 6:
            break
        title += more
    values = {
        "title": title, "genre": genre, "who": who, "place": place, "subject": subject.lower(), "p": 40 + z[6] % 900,
        "hero": f"{words.FIRST[z[7] % 16]} {words.LAST[z[8] % 11]}", "y": 2 + z[9] % 18, "y2": z[10] % 100,
    }  # fmt: skip
    return title, _tell(values, words.BOOK_OPENERS, words.BOOK_SENTENCES, z, room)


def _tell(values: dict[str, Any], openers: tuple[str, ...], sentences: tuple[str, ...], z: list[int], room: int) -> str:
    """About `room` characters on the product: an opening sentence, then others, none twice before all were said."""
    chosen = [openers[z[11] % len(openers)] % values]
    length, step = len(chosen[0]), (1, 5, 7, 11, 13, 17)[z[10] % 6]  # steps coprime to 12 and 18 visit every sentence
    at = z[9] % len(sentences)
    while length < room - 30:
        at = (at + step) % len(sentences)
        chosen.append(sentences[at] % values)
        length += len(chosen[-1]) + 1
    text = " ".join(chosen)
    return text if len(text) <= room + 60 else text[: text.rfind(" ", 0, room + 20)]


def soil(text: str, dirt: list[float], z: list[int], is_book: bool) -> str:
    """The dirt of the real file: shared blurbs, glued words, glued sentences, double spaces, entities."""
    if is_book and dirt[0] < 0.10:
        text = words.BLURBS[z[0] % len(words.BLURBS)]
    if dirt[1] < 0.142:
        text = text.replace(". ", ".", 1 + z[1] % 3)
    if dirt[2] < 0.21:
        text = text.replace(". ", ".  ")
    at = text.find(" ", z[2] % max(1, len(text)))
    if dirt[3] < 0.22 and 0 < at < len(text) - 2:
        text = text[:at] + text[at + 1].upper() + text[at + 2 :]
    if dirt[4] < 0.012:
        return entity(text, z[3], words.WINDOWS)
    for _ in range(1 + z[4] % 5 if dirt[4] < 0.20 else 0):
        text = entity(text, z[4] + len(text))
    return text


@cache
def _entities() -> list[str]:
    pairs = [pair.split() for pair in words.ENTITIES.split("|")]
    return [name for name, weight in pairs for _ in range(int(weight))]


def entity(text: str, z: int, names: Any = None) -> str:
    """`text` with one entity at a word's end."""
    names = names or _entities()
    at = text.find(" ", z % max(1, len(text)))
    return f"{text[:at]}{names[z % len(names)]}{text[at:]}" if at > 0 else text + names[z % len(names)]


def _book_tail(content: str, draw: float, head: bool, n: int) -> str:
    """Copyright and 'This text refers to' tails, as often as at the head of the real file and after it."""
    if draw < (0.14 if head else 0.09):
        content += words.COPYRIGHTS[n % len(words.COPYRIGHTS)]
    if 0.05 < draw < (0.30 if head else 0.17):
        content += words.TAILS[n % len(words.TAILS)]
    return content


def _odd(title: str, content: str, draw: float, n: int) -> str:
    """What little there is of everything else."""
    if draw < 0.02:
        return ("&nbsp;", "&#160;", "&nbsp; &nbsp;")[n % 3]
    if draw < 0.12:
        return title
    if draw < 0.72:
        return f"{title} {content}"
    if draw < 0.80:
        return words.BOILERPLATE[n % len(words.BOILERPLATE)]
    if draw < 0.82:
        return words.TAILS[n % len(words.TAILS)]
    return words.JUNK if draw < 0.821 else content[: 5 + n % 14]


def book_uid(n: int) -> str:
    """Ten digits with leading zeros, as old book numbers; rising with the line."""
    return f"{n * 29 + 31909:09d}{'0123456789X'[n % 11]}"


def other_uid(n: int) -> str:
    """B0 and eight letters or digits, rising with the line."""
    value, digits = n * 7919 + 36**7, ""
    for _ in range(8):
        value, digit = divmod(value, 36)
        digits = ALPHABET[digit] + digits
    return f"B0{digits}"


if __name__ == "__main__":
    main()
