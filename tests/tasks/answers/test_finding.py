"""Finding: questions of every form over invented rows and the demo's; the right product, a list, or nothing."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from pathlib import Path

import pytest

from deployments.demo import catalogue
from tasks.answers import index
from tasks.answers.finding import Found, find
from tests.kit.catalogues import run, source

CASES = Path(__file__).parent / "cases"
ASKED = [json.loads(line) for line in (CASES / "questions.jsonl").read_text().splitlines()]


def held_out(question: str) -> bool:
    """Half of the questions were not looked at while finding was built."""
    return int(hashlib.sha256(question.encode()).hexdigest(), 16) % 2 == 1


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """Invented rows, with siblings, among 1,500 lines of the demo's catalogue."""
    folder = tmp_path_factory.mktemp("finding")
    catalogue.write(str(folder / "demo.json"), 1_500)
    lines = [path.read_bytes() for path in (CASES / "rows.jsonl", CASES / "siblings.jsonl", folder / "demo.json")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHARDTUNE_ROOT", str(folder))
        shards = run(source(folder, b"".join(lines), per=5_000), folder).prepared.shards
        index.update(folder / "index", shards)
        yield index.Index(folder / "index")


def uids(found: Found) -> list[set[str]]:
    return [{uid for row in product.rows for uid in (row.uid, *row.also)} for product in found.products]


def rates(opened: index.Index, questions: list[dict[str, object]]) -> tuple[dict[str, float], list[str]]:
    """Shares of what matters, and a line for each question that was not answered right."""
    told, missed = defaultdict(list), []
    for case in questions:
        found, expected = find(str(case["question"]), opened), set(case["expected"])
        products = uids(found)
        if not expected:
            told["declined"].append(found.state == "none")
            right = found.state == "none"
        else:
            hits = [bool(product & expected) for product in products]
            listed, several = found.state == "several", case["kind"] in ("category", "several")
            right = (found.state == "one" and hits[0]) or (found.state == "each" and all(hits))
            right = (listed and any(hits)) if several else right
            told["right"].append(right)
            told["first"].append(right or (listed and hits[0]))
            told["among"].append(right or (listed and any(hits)))
            told["wrong"].append(found.state in ("one", "each") and not right)
        if not right:
            missed.append(f"{case['question']} | {found.state} {found.probability} {products[:2]}")
    return {name: sum(values) / len(values) for name, values in told.items()}, missed
