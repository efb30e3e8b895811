"""Note: the description that MLflow shows on the first page of a run: what was tuned, the result, and where to look.

MLflow renders it as Markdown. Products, questions and answers come from outside, so every character of them is escaped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from tasks.backends.contract import Link
from tasks.core.models import Finetuned
from tasks.record.names import COST, FLOW_RUN, JOB_PAGE, LINES, SHARDS, value

SAMPLES, LONGEST = 3, 240  # answers that are shown, and characters of each


def begun(link: Link, tags: Mapping[str, str]) -> str:
    """What is being tuned on what, and the pages that show it."""
    return "\n\n".join(text for text in (f"Tunes {_what(link, tags)}.", pages(tags)) if text)


def stopped(reason: str, link: Link | None, tags: Mapping[str, str]) -> str:
    """Why the run waits or failed; the reason stands first."""
    about = f"It was to tune {_what(link, tags)}." if link else ""
    return "\n\n".join(text for text in (reason, about, pages(tags)) if text)


def ended(result: Finetuned, link: Link, tags: Mapping[str, str], runs: str, facts: Mapping[str, object]) -> str:
    """Held-out loss before and after, what was tuned, some answers beside the true text, and the pages.

    `runs` is the address of the list of runs, `facts` what training measured.
    """
    parts = [_loss(result), f"Tuned {_what(link, tags)}; {result.steps} steps, cost {value(tags, COST)}."]
    # MLflow folds all but the first lines of a long description: what leads elsewhere stands among them.
    parts += [" · ".join(text for text in (pages(tags), f"[All runs, lowest held-out loss first]({runs})") if text)]
    if result.simulated:
        parts.insert(0, f"**Simulated by {result.simulated}: no provider was asked, no number here is real.**")
    if result.parity and not result.parity.holds:
        parts.insert(0, f"**The kept model is not the trained one:** {result.parity.summary}.")
    too_long = {"left out": facts.get("left_out"), "cut": facts.get("truncated")}
    if counted := [f"{many} {what}" for what, many in too_long.items() if many]:
        parts.append(f"Examples longer than `max_length`: {', '.join(counted)}.")
    if result.answers:
        parts.append(_samples(result))
    parts.append(
        "Charts of both losses: *Model metrics*. All answers, scores and what was measured: *Artifacts* "
        "(`answers.json`, `scores.json`, `facts.json`)."
    )
    return "\n\n".join(parts)


def pages(tags: Mapping[str, str]) -> str:
    """Links to the flow run and to the provider's page of the job."""
    links = {"The flow run in Prefect": value(tags, FLOW_RUN), "The job at its provider": value(tags, JOB_PAGE)}
    return " · ".join(f"[{words}]({address})" for words, address in links.items() if address)


def _what(link: Link, tags: Mapping[str, str]) -> str:
    lines = value(tags, LINES)
    several = "shards" if " " in value(tags, SHARDS, link.shards) else "shard"
    counted = f" ({int(lines):,} catalogue lines, {sum(e.examples for e in link.train):,} examples)" if lines else ""
    after = " from its parent's model" if link.parent_key else ""
    return (
        f"`{link.base_model}` on {several} {value(tags, SHARDS, link.shards)}{counted}{after}, backend {link.backend}"
    )


def _loss(result: Finetuned) -> str:
    before, after = result.heldout_loss.get("before"), result.heldout_loss.get("after")
    if before is None or after is None:
        return f"Held-out loss after: {'unknown' if after is None else f'**{after:.3f}**'}."
    better = "lower is better, same rows before and after"
    return f"Held-out loss **{before:.3f} → {after:.3f}** nats per answer token ({better})."


def _samples(result: Finetuned) -> str:
    """The first unseen and seen questions with their answers at temperature 0, as a table."""
    rows = sorted(result.answers, key=lambda row: row.group != "unseen")[:SAMPLES]
    lines = ["| question | before | after | the row's own text |", "|---|---|---|---|"]
    for row in rows:
        texts = (f"{row.question} ({row.group})", row.before_t0, row.after_t0, row.content)
        lines.append(f"| {' | '.join(cell(text) for text in texts)} |")
    return "\n".join(lines)


def cell(text: str) -> str:
    """A text from outside as a cell of a Markdown table: one line, cut, and no character of it is markup."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    short = line if len(line) <= LONGEST else f"{line[:LONGEST]}…"
    # As entities: a backslash does not keep every renderer from making links of bare addresses or HTML of tags.
    return re.sub(r"[^\w\s.,;?()%$'…-]", lambda match: f"&#{ord(match[0])};", short)
