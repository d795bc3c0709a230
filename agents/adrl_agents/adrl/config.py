"""The settings of ADRL."""

from dataclasses import dataclass
from typing import Literal

from adrl_gym.envs import Decision
from adrl_gym.evaluation import Score
from adrl_gym.sensitivity import Sensitivity

Context = Literal["single", "prefix", "completed", "best"]
CompletedBy = Literal["ip", "uniform"]


@dataclass(frozen=True, kw_only=True)
class ADRLConfig:
    """Settings of ``ADRL`` that ``HAQ`` has not; the measurements behind the defaults are in ``docs/agents.md``."""

    k: int = 8
    """Candidate bit-widths that the actor proposes for a layer; 1 is HAQ."""
    indicator: Literal["profiling", "distance"] = "profiling"
    """Choice among candidates: by measured predictions (P-ADRL) or by distance of the weights (D-ADRL)."""
    context: Context = "best"
    """Other layers while profiling: float, as decided (the rest float or completed), or as in the incumbent."""
    score: Score = "kl"
    """Measure of profiling: accuracy, agreement with the float network, divergence from it, or loss on labels."""
    profile_images: int | None = None
    """Search images for profiling, else 250 for gradients, a quarter (at most 250) for measuring; doubled once."""
    early_termination: bool = True
    """In contexts prefix and completed, stop profiling a candidate once it is significantly worse than the best."""
    completion: CompletedBy = "ip"
    """Completion in context completed: the knapsack (ip), or one bit-width for all layers to come."""
    sensitivity: Sensitivity = "gradient"
    """Sensitivity of layers: from gradients (of the score kl) in about ten passes, or measured entry by entry."""
    memoization: bool = True
    """Never measure the same thing twice. Switch it off, without a cache on disk, to see what it saves."""


@dataclass(frozen=True, kw_only=True)
class FamilyConfig:
    """Settings of ``FamilyADRL`` that differ from those of ``HAQ``."""

    decision: Decision = "correction"
    """Meaning of an action: a layer's bits, an offset from the knapsack's, or a correction of costs or interactions."""
    k: int = 1
    """Candidate actions that the actor proposes for a layer; the critic chooses."""
    warmup_episodes: int = 50
    """Episodes around the first proposals before the actor learns."""
    sigma: float = 0.35
    """Standard deviation of the exploration noise at the beginning, as a share of the action's range."""
    sigma_decay: float = 0.999
    """Factor on sigma after each episode."""
    actor_learning_rate: float = 3e-4
    """Learning rate of the actor."""
