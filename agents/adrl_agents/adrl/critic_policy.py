"""The augmented policy of a family of problems: an actor that proposes k candidates, of which the critic keeps one."""

from typing import Any

import torch
from stable_baselines3.common.policies import ContinuousCritic
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.type_aliases import Schedule
from stable_baselines3.td3.policies import TD3Policy
from torch import Tensor

from adrl_agents.adrl.policies import SpreadActor


class CriticActor(SpreadActor):
    """An actor whose candidates are refined to one by a critic: the one with the largest value.

    A single candidate begins in the middle of the range, which is the knapsack's own answer where actions change it.
    """

    def __init__(self, *args: Any, k: int, **kwargs: Any) -> None:
        super().__init__(*args, k=k, **kwargs)
        self.begin_at_middles()
        self.critics: list[ContinuousCritic] = []  # one, in a list: its weights are none of the actor's

    def refine(self, observation: Tensor, candidates: Tensor) -> Tensor:
        """Return the candidate ``(B, A)`` of the largest value among ``(B, k, A)``."""
        if self.k == 1:
            return candidates[:, 0]  # (B, A)
        seen = observation.repeat_interleave(self.k, 0)  # (B * k, features)
        with torch.no_grad():
            values = self.critics[0].q1_forward(seen, candidates.flatten(0, 1)).unflatten(0, (-1, self.k))  # (B, k, 1)
        chosen = values[:, :, 0].argmax(1)  # (B,)
        return candidates[torch.arange(len(chosen), device=chosen.device), chosen]  # (B, A)

    def forward(self, observation: Tensor) -> Tensor:
        """The refined action ``(B, A)`` for observations ``(B, features)``."""
        return self.refine(observation, self.candidates(observation))


class CriticPolicy(TD3Policy):
    """SB3's DDPG policy with a ``CriticActor`` of ``k`` candidates."""

    actor: CriticActor
    actor_target: CriticActor

    def __init__(self, *args: Any, k: int, **kwargs: Any) -> None:
        self.k = k
        super().__init__(*args, **kwargs)

    def make_actor(self, features_extractor: BaseFeaturesExtractor | None = None) -> CriticActor:
        """A ``CriticActor`` in the place of SB3's actor."""
        keywords = self._update_features_extractor(self.actor_kwargs, features_extractor)
        return CriticActor(**keywords, k=self.k).to(self.device)

    def _build(self, lr_schedule: Schedule) -> None:
        super()._build(lr_schedule)
        self.actor.critics[:] = [self.critic]
        self.actor_target.critics[:] = [self.critic_target]

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {**super()._get_constructor_parameters(), "k": self.k}
