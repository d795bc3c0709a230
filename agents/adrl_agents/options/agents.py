"""Options of each agent's own, and of the searches that do not learn."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from typing_extensions import Self

from adrl_agents.adrl import ADRLConfig
from adrl_agents.options.shared import Options
from adrl_agents.registry import names
from adrl_gym.errors import AdrlGymError
from adrl_gym.evaluation import Score
from adrl_gym.sensitivity import Sensitivity

if TYPE_CHECKING:
    Algo: TypeAlias = str
    Method: TypeAlias = str
else:  # the choices that tyro offers and checks
    Algo, Method = Literal[names("sb3")], Literal[names("search")]


@dataclass(frozen=True, kw_only=True)
class ADRLOptions(ADRLConfig, Options):
    """Options of ADRL."""

    episodes: int = 40
    """Bit configurations to try."""
    evaluations: int | None = 40
    """Most passes over all search images, tables of sensitivity included; 100000 is as good as no limit."""
    policy: Path | None = None
    """File of a policy (adrl-gym pretrain) whose answer is tried first; loading it can run code: trust it."""

    def like(self, recorded: dict[str, Any]) -> Self:
        """Return these options for a run that is resumed; those before gradients measured, without a limit."""
        if "sensitivity" in recorded:
            return self
        limit = None if self.evaluations == ADRLOptions.evaluations else self.evaluations
        images = recorded.get("profile_images") if self.profile_images is None else self.profile_images
        return dataclasses.replace(self, sensitivity="measured", evaluations=limit, profile_images=images)

    def check(self) -> None:
        """Refuse impossible values, of all agents' options and of ADRL's own; raises ``AdrlGymError``."""
        super().check()
        self._at_least_one("k", *(["profile_images"] if self.profile_images is not None else []))
        if not self.memoization and self.cache != "none":
            raise AdrlGymError(
                "memoization is off, but a cache on disk remembers all the same: set cache to none", parameter="cache"
            )


@dataclass(frozen=True, kw_only=True)
class SB3Options(Options):
    """Options of Stable-Baselines3's own agents."""

    algo: Algo = "ddpg"
    """Which agent of Stable-Baselines3."""


@dataclass(frozen=True, kw_only=True)
class SearchOptions(Options):
    """Options of the searches that do not learn."""

    method: Method
    """Method that chooses configurations; docs/agents.md describes each."""
    sensitivity: Sensitivity = "measured"
    """Source of the sensitivity table of greedy, ip and local: from gradients (of the score kl), or measured."""
    score: Score = "kl"
    """Score of the sensitivity table of greedy, ip and local: accuracy, agreement, divergence, or loss on labels."""
    profile_images: int = 250
    """Number of search images that this table is made from."""

    def check(self) -> None:
        """Refuse impossible values, of all agents' options and of the table's own; raises ``AdrlGymError``."""
        super().check()
        self._at_least_one("profile_images")
