"""The check of answers on answers written by hand: `python -m tests.benchmarks.claims learn`, or `score ROWS ANSWERS`.

The cases lie in `tests/tasks/answers/cases`. `learn` writes `tasks/answers/weights.json` from the part of their rows
that is learnt from; the other part was not looked at while the rules were written. `score` reads files from
elsewhere.
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tasks.answers import claims, doubt
from tasks.answers.alignment import row_of
from tasks.answers.clauses import statements
from tasks.answers.doubt import Clause

FOREIGN = 0.65  # share of foreign answers among the false ones
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


class Bag(NamedTuple):
    """The features of an answer's claims, a row each, whether it is false, and what it weighs in learning."""

    claims: Any
    false: bool
    weight: float


def features(case: Case) -> list[list[float]]:
    """Of every claim of an answer; none where a rule contradicts one, so that nothing is left to weigh."""
    row = row_of(case["title"], case["content"])
    looked = [clause for text in statements(case["answer"]) for clause in claims.look(text, row).clauses]
    if any(clause.against for clause in looked):
        return []
    return [list(doubt.features(clause).values()) for clause in looked]


def foreign(cases: Sequence[Case], times: int = 3, seed: int = 1) -> list[Case]:
    """True answers held to the row of another product: what they say is new there."""
    chance = random.Random(seed)
    made = []
    for case in (case for case in cases if case["true"] for _ in range(times)):
        other = chance.choice([one for one in cases if one["uid"] != case["uid"]])
        made.append(case | {"true": False, "title": other["title"], "content": other["content"]})
    return made


def learn(cases: Sequence[Case], rounds: int = 5) -> dict[str, float]:
    """Weights by logistic regression, none of them against doubt but the bias.

    True and false answers weigh the same; of the false ones, foreign answers (invented facts) weigh `FOREIGN`. Of a
    false answer only one claim need be false: the one in most doubt.
    """
    kinds = [(cases, True, 0.5), (cases, False, 0.5 - FOREIGN / 2), (foreign(cases), False, FOREIGN / 2)]
    bags = [bag for some, true, share in kinds for bag in _bags([c for c in some if c["true"] is true], share)]
    names = list(doubt.features(Clause("", (), (), (), 0.0)))
    free = np.array([name == "bias" for name in names])
    w = np.zeros(len(names))
    chosen = [bag.claims[0] for bag in bags]
    for _ in range(rounds):
        rows = [
            (row, bag) for bag, one in zip(bags, chosen, strict=True) for row in ([one] if bag.false else bag.claims)
        ]
        weight = np.array([bag.weight / (1 if bag.false else len(bag.claims)) for _, bag in rows]) * len(cases)
        w = _fitted(
            np.array([row for row, _ in rows]), np.array([bag.false for _, bag in rows], float), weight, w, free
        )
        chosen = [max(bag.claims, key=lambda row: float(np.dot(row, w))) for bag in bags]
    return {name: round(float(one), 4) for name, one in zip(names, w, strict=True)}


def _bags(cases: Sequence[Case], share: float) -> list[Bag]:
    """Answers that together weigh `share`."""
    found = [(looked, not case["true"]) for case in cases if (looked := features(case))]
    return [Bag(np.array(looked), false, share / len(found)) for looked, false in found]


def _fitted(x: Any, y: Any, weight: Any, w: Any, free: Any) -> Any:
    """Logistic regression by projected gradient; squares of weights but the bias cost one."""
    for _ in range(1_500):
        w = w - 0.01 * (x.T @ (weight * (1 / (1 + np.exp(-x @ w)) - y)) + w * ~free)
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
        doubt.weights.cache_clear()
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
