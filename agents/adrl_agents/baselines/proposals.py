"""How a search that does not learn talks to whoever runs it."""

from collections.abc import Generator, Sequence
from typing import TypeAlias

from adrl_agents.runs import Episode

#: Gives bits of the searched layers, one configuration after the other, and is told what each was measured as. One
#: that breaks the budget is projected onto it; what ran is in ``Episode.bits``. What it does depends on nothing else,
#: so that it can be repeated.
Proposals: TypeAlias = Generator[Sequence[int], Episode, None]
