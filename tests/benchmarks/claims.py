"""The check of answers on answers written by hand: `python -m tests.benchmarks.claims learn`, or `score ROWS ANSWERS`.

The cases lie in `tests/tasks/answers/cases`. `learn` writes `tasks/answers/weights.json` from the part of their rows
that is learnt from; the other part was not looked at while the rules were written. `score` reads files from
elsewhere.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tasks.answers import claims
from tasks.answers.alignment import row_of

CASES = Path(__file__).parents[1] / "tasks/answers/cases"
Case = dict[str, Any]


def read(rows: Path, answers: Path) -> list[Case]:
    """Answers, each with the title and content of its row."""
    held = {r["uid"]: r for r in map(json.loads, rows.read_text("utf-8").splitlines())}
    told = map(json.loads, answers.read_text("utf-8").splitlines())
    return [case | {"title": held[case["uid"]]["title"], "content": held[case["uid"]]["content"]} for case in told]


def own() -> list[Case]:
    """The cases of this project."""
    return read(CASES / "rows.jsonl", CASES / "answers.jsonl")


def learnt(case: Case) -> bool:
    """Whether the row of a case is one of those that weights are learnt from."""
    return hashlib.sha256(case["uid"].encode()).digest()[0] % 5 < 3


def features(case: Case) -> list[list[float]]:
    """Of every claim of an answer that no rule contradicts."""
    row = row_of(case["title"], case["content"])
    looked = [claims.look(text, yes, row) for text, yes in claims.split(case["answer"])]
    return [one.features for one in looked if one.said]


def learn(cases: Sequence[Case], rounds: int = 6) -> dict[str, float]:
    """Weights by logistic regression, none of them against doubt but the bias.

    Of a false answer only one claim need be false: the one in most doubt.
    """
    bags = [(features(case), not case["true"]) for case in cases]
    bags = [(bag, false) for bag, false in bags if bag]
    free = np.array([name == "bias" for name in claims.NAMES])
    w = np.zeros(len(claims.NAMES))
    chosen = [bag[0] for bag, _ in bags]
    for _ in range(rounds):
        x = [row for (bag, false), one in zip(bags, chosen, strict=True) for row in ([one] if false else bag)]
        y = [false for bag, false in bags for _ in range(1 if false else len(bag))]
        w = _fitted(np.array(x), np.array(y, float), w, free)
        chosen = [max(bag, key=lambda row: float(np.dot(row, w))) for bag, _ in bags]
    return {name: round(float(one), 4) for name, one in zip(claims.NAMES, w, strict=True)}


def _fitted(x: Any, y: Any, w: Any, free: Any) -> Any:
    """Logistic regression by projected gradient: both kinds weigh the same, squares of weights cost one."""
    weight = np.where(y > 0, 0.5 / max(1, y.sum()), 0.5 / max(1, (1 - y).sum())) * len(y)
    for _ in range(4_000):
        w = w - 0.004 * (x.T @ (weight * (1 / (1 + np.exp(-x @ w)) - y)) + 1.0 * w)
        w = np.where(free, w, np.maximum(w, 0.0))
    return w


def rates(cases: Sequence[Case]) -> dict[str, float]:
    """Shares: check mark on false ones, contradicted of both kinds, accepted false and rejected true ones."""
    found = [(case, claims.check(case["question"], case["answer"], case["title"], case["content"])) for case in cases]
    false, true = ([one for case, one in found if case["true"] is kind] for kind in (False, True))
    verdicts = [[c.verdict for c in one.claims] for one in false], [[c.verdict for c in one.claims] for one in true]
    mark = [bool(v) and all(x == "verbatim" for x in v) for v in verdicts[0]]
    against = [["contradicted" in v for v in some] for some in verdicts]
    return {
        "false": len(false), "true": len(true), "mark on false": _share(mark),
        "mark on true": _share([bool(v) and all(x == "verbatim" for x in v) for v in verdicts[1]]),
        "contradicted of false": _share(against[0]), "contradicted of true": _share(against[1]),
        "false accepted": _share([one.holds for one in false]),
        "true rejected": _share([not one.holds for one in true]),
    }  # fmt: skip


def _share(told: Sequence[bool]) -> float:
    return round(sum(told) / len(told), 3) if told else 0.0


def main(what: str, *files: str) -> None:
    """Learn, or print the rates, and what went wrong."""
    if what == "learn":
        held = learn([case for case in own() if learnt(case)] if "--all" not in files else own())
        place = Path(claims.__file__).parent / "weights.json"
        place.write_text(json.dumps(held, indent=1) + "\n")
        claims.weights.cache_clear()
    cases = read(Path(files[0]), Path(files[1])) if what == "score" else own()
    parts = (
        {"all": cases}
        if what == "score"
        else {"learnt": [c for c in cases if learnt(c)], "not seen": [c for c in cases if not learnt(c)]}
    )
    for name, some in parts.items():
        print(name, rates(some))


if __name__ == "__main__":
    main(*sys.argv[1:])
