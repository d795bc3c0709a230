"""The settings of ADRL."""

from dataclasses import dataclass
from typing import Literal

from adrl_gym.evaluation import Score

Context = Literal["single", "prefix", "completed", "best"]
CompletedBy = Literal["ip", "uniform"]


@dataclass(frozen=True, kw_only=True)
class ADRLConfig:
    """Settings of ``ADRL`` that ``HAQ`` has not; the measurements behind the defaults are in ``docs/agents.md``."""

    k: int = 8
    """Candidate bit-widths that the actor proposes for a layer; 1 is HAQ."""
    indicator: Literal["profiling", "distance"] = "profiling"
    """What chooses among candidates: measured predictions (P-ADRL) or distance of the weights (D-ADRL)."""
    context: Context = "best"
    """Other layers while profiling: float, as decided (the rest float or completed), or as in the best so far."""
    score: Score = "kl"
    """What profiling measures: accuracy, agreement with the float network, divergence from it, or loss on labels."""
    profile_images: int = 250
    """How many of the search images profiling uses; context best takes twice as many once they tell it nothing new."""
    early_termination: bool = True
    """In contexts prefix and completed, stop profiling a candidate once a paired test says that it has lost."""
    completion: CompletedBy = "ip"
    """What the context completed completes with: integer programming, or one bit-width for all layers to come."""
    memoization: bool = True
    """Never measure the same thing twice; --no-memoization shows what that saves, and takes no cache on disk."""
