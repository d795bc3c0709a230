"""Features extractors that hide part of what a policy sees, for ablations."""

from collections.abc import Sequence

import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor

#: Places of a family's observation (1 to 8 bits): what tables and interactions say, and the knapsack's choice.
SENSITIVITIES = (*range(10, 18), -5, -4, -3)
KNAPSACK = (-1,)


class Hiding(BaseFeaturesExtractor):
    """Pass observations ``(B, features)`` on with zeros at some places."""

    seen: Tensor

    def __init__(self, observation_space: spaces.Box, hidden: Sequence[int] = ()) -> None:
        super().__init__(observation_space, int(observation_space.shape[0]))
        seen = torch.ones(self.features_dim)  # (features,)
        seen[list(hidden)] = 0
        self.register_buffer("seen", seen)

    def forward(self, observations: Tensor) -> Tensor:
        """Return the observations without what is hidden."""
        return observations * self.seen  # (B, features)


def hiding(hidden: Sequence[int]) -> dict[str, object]:
    """Return the keywords of a policy that does not see some places."""
    return {"features_extractor_class": Hiding, "features_extractor_kwargs": {"hidden": tuple(hidden)}}
