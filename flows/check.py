"""Check and quote: findings about a recipe, and its price, before anything is uploaded."""

from __future__ import annotations

from prefect import flow

from flows.prepare import ready
from tasks import check as verbs
from tasks import links
from tasks.backends.contract import Link
from tasks.core.models import Checked
from tasks.core.quotes import Quoted
from tasks.orchestrator import runs
from tasks.recipe.model import Recipe
from tasks.record import ledger


@flow(name="check", flow_run_name="check {recipe.name}", on_running=[runs.sign], on_failure=[runs.lost])
def check(recipe: Recipe) -> Checked:
    """Check every link: its exports line by line, the account, and the base model's retirement. Uploads nothing."""
    chain = _links(recipe)
    checked = verbs.summed([verbs.findings(link) for link in chain], chain)
    verbs.show_findings(checked)
    return checked


@flow(name="quote", flow_run_name="quote {recipe.name}", on_running=[runs.sign], on_failure=[runs.lost])
def quote(recipe: Recipe) -> Quoted:
    """Examples, tokens and price of every link, and the total against the recipe's budget."""
    priced = [verbs.priced(link, verbs.quote(link), ledger.finished(link.key)) for link in _links(recipe)]
    quoted = verbs.total(priced, recipe.budget_usd)
    verbs.show_quote(quoted)
    return quoted


def _links(recipe: Recipe) -> tuple[Link, ...]:
    return links.chain(*ready(recipe))
