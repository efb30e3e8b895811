"""Candidacy: the place of a candidate among all that were tried, and how much evidence its place asks for.

Every try may go wrong, so each has a part of one error rate. Champion after champion has a part of it, each a smaller
one, and of this part candidate after candidate. However many there will be, all parts together are `WRONG`.
"""

from __future__ import annotations

from collections.abc import Iterable

from tasks.core.models import Frozen
from tasks.evaluation.evalues import share

WRONG = 0.05  # the chance that any model ever becomes champion that is not better than the one before and the base
NOBODY = "base"  # whom the first champion replaces


class Candidacy(Frozen):
    """Candidate `number`, from 1, of those tried against `champion`, before which so many `champions` were."""

    champion: str  # NAME/VERSION, or NOBODY
    champions: int
    number: int

    @property
    def level(self) -> float:
        """The chance of a wrong promotion that this try may have."""
        return WRONG / ((self.champions + 1) * (self.champions + 2)) * share(self.number)

    @property
    def needed(self) -> float:
        """The e-value that is enough."""
        return 1 / self.level


def following(tried: Iterable[Candidacy], champion: str | None) -> Candidacy:
    """The candidacy after all that were tried; with a new champion the candidates are counted from 1 again."""
    known = list(tried)
    places = {one.champion: one.champions for one in known}
    name = champion or NOBODY
    return Candidacy(
        champion=name,
        champions=places.get(name, 1 + max(places.values(), default=-1)),
        number=1 + max((one.number for one in known if one.champion == name), default=0),
    )
