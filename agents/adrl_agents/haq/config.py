"""The settings of HAQ."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class HAQConfig:
    """Settings of ``HAQ``; the defaults are those of the paper and its code."""

    learning_rate: float = 1e-3
    """Learning rate of the critic."""
    actor_learning_rate: float = 1e-4
    """Learning rate of the actor."""
    warmup_episodes: int = 20
    """Episodes of uniformly random actions before the actor takes part."""
    sigma: float = 0.5
    """Standard deviation of the exploration noise after the warm-up, in units of HAQ's action range [0, 1]."""
    sigma_decay: float = 0.99
    """Factor on sigma after each episode."""
    batch_size: int = 64
    """Transitions of one update; there is one update a transition, after each episode."""
    tau: float = 0.01
    """Rate of the target networks."""
