"""Sources: an answer without its citation, whether it says that it has none, and what of it does not hold."""

from __future__ import annotations

import re
from typing import Literal

from tasks.answers import claims
from tasks.answers.index import IndexedRow
from tasks.core.models import Frozen
from tasks.evaluation.metrics import refused
from tasks.examples.styles import ABSTAIN, SOURCE

Rule = Literal["citation", "product", "contradicted", "not shown", "nothing"]
CITED = re.compile(r"\s*\[([^\[\]\s]{1,64})\]")  # where a grounded answer begins; a bracket within is text


class Unsupported(Frozen):
    """One thing in an answer that does not hold."""

    rule: Rule
    said: str


def body(answer: str) -> tuple[str, str | None]:
    """The answer without its citation and without the constant source line of report B; and the uid it cites."""
    text = answer.replace(SOURCE.strip(), "").replace("***", " ").strip()
    cited = CITED.match(text)
    return " ".join(text[cited.end() if cited else 0 :].split()), cited[1] if cited else None


def abstains(answer: str) -> bool:
    """Whether the answer says that it has none."""
    return refused(answer) or ABSTAIN.lower().rstrip(".") in answer.lower()


def problems(answer: str, question: str, row: IndexedRow | None) -> tuple[Unsupported, ...]:
    """All that does not hold in `answer` to `question`, given the row that is the product asked about.

    An answer that cites a row must cite this one. Without a row nothing can hold.
    """
    if row is None:
        return (Unsupported(rule="product", said="no row of the catalogue is it"),)
    _, cited = body(answer)
    found = [Unsupported(rule="citation", said=cited)] if cited and cited not in (row.uid, *row.also) else []
    checked = claims.check(question, answer.replace(SOURCE.strip(), ""), row.title, row.content)
    return (*found, *unsupported(checked))


def unsupported(checked: claims.Checked) -> tuple[Unsupported, ...]:
    """Of a checked answer the claims that do not hold, as one line each."""
    if not checked.claims:
        return (Unsupported(rule="nothing", said="nothing is claimed"),)
    bad = [c for c in checked.claims if c.verdict in ("contradicted", "not shown")]
    return tuple(Unsupported(rule=c.verdict, said=c.reason) for c in bad)  # type: ignore[arg-type]


def told(found: tuple[Unsupported, ...]) -> str:
    """All problems on one line."""
    return "; ".join(f"{p.rule}: {p.said}" for p in found)
