"""The protocol between a search that does not learn and the search loop."""

from collections.abc import Generator, Sequence
from typing import TypeAlias

from adrl_agents.runs import Episode

#: Yields bits of the searched layers, one configuration after the other, and receives the measured episode of each. A
#: configuration over the budget is projected onto it; ``Episode.bits`` has the one that ran. A search depends on
#: nothing else, so that a resumed run can repeat it.
Proposals: TypeAlias = Generator[Sequence[int], Episode, None]
