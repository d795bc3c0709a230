"""The augmented policy: an actor that proposes k candidates, and the refinement that keeps one."""

from typing import Any

import torch
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, create_mlp
from stable_baselines3.td3.policies import Actor, TD3Policy
from torch import Tensor, nn

from adrl_gym.bits import bits_from_action

_HEAD_INIT = 0.003  # range of the head's initial weights, as in HAQ's code


def action_bins(k: int) -> tuple[Tensor, float]:
    """Return the middles ``(k,)`` of k equal bins of [-1, 1], and how far a candidate may go from its own.

    It may go as far as the middles of the bins beside its own, so that the candidates never become all the same. A
    single one has the whole range.

    >>> action_bins(4)
    (tensor([-0.7500, -0.2500,  0.2500,  0.7500]), 0.5)
    >>> action_bins(1)
    (tensor([0.]), 1.0)
    """
    return (2 * torch.arange(k) + 1 - k) / k, min(1.0, 2 / k)


class SpreadActor(Actor):
    """An actor whose head puts out ``(B, k, A)`` candidate actions, each around the middle of a bin of its own.

    Args:
        k: number of candidates.
        The others are those of SB3's ``Actor``.
    """

    middles: Tensor

    def __init__(self, *args: Any, k: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.k = k
        self.action_size = int(self.action_space.shape[0])  # type: ignore[index]
        if k > 1:  # with k = 1 this is SB3's actor, weight for weight
            head = create_mlp(
                self.features_dim, k * self.action_size, self.net_arch, self.activation_fn, squash_output=True
            )
            self.mu = nn.Sequential(*head)
            self.begin_at_middles()
        self.register_buffer("middles", action_bins(k)[0])  # (k,)

    def begin_at_middles(self) -> None:
        """Let candidates begin in the middles of their bins."""
        last = next(layer for layer in reversed(list(self.mu)) if isinstance(layer, nn.Linear))
        nn.init.uniform_(last.weight, -_HEAD_INIT, _HEAD_INIT)
        nn.init.zeros_(last.bias)

    def candidates(self, observation: Tensor) -> Tensor:
        """Candidate actions ``(B, k, A)`` for observations ``(B, features)``."""
        inside = super().forward(observation).unflatten(1, (self.k, self.action_size))  # (B, k, A) in [-1, 1]
        return (self.middles[:, None] + action_bins(self.k)[1] * inside).clamp(-1, 1)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {**super()._get_constructor_parameters(), "k": self.k}


class CandidateActor(SpreadActor):
    """An actor whose candidates are refined to one by a table of scores.

    Its ``forward`` is the augmented policy approximator of the paper (actor and refinement). So SB3's critic target
    and actor loss use the refined action with no change to them, and gradients reach the chosen candidate alone.

    Args:
        k: number of candidates.
        layers, min_bits, max_bits: the problem's layers and its range of bits.
        The others are those of SB3's ``Actor``.

    Attributes:
        scores: ``(layers, widths)``, the indicator's score of each bit-width in each layer; saved with the agent.
    """

    scores: Tensor

    def __init__(self, *args: Any, k: int, layers: int, min_bits: int, max_bits: int, **kwargs: Any) -> None:
        super().__init__(*args, k=k, **kwargs)
        self.layers, self.min_bits, self.max_bits = layers, min_bits, max_bits
        self.register_buffer("scores", torch.zeros(layers, max_bits - min_bits + 1))

    def forward(self, observation: Tensor) -> Tensor:
        """The refined action ``(B, A)``: the candidate that scores best; fewer bits at a tie."""
        candidates = self.candidates(observation)  # (B, k, A)
        if self.k == 1:
            return candidates[:, 0]  # (B, A)
        layer = (observation[:, 0] * (self.layers - 1)).round().long()  # (B,)
        bits = bits_from_action(candidates[:, :, 0].detach(), self.min_bits, self.max_bits)  # (B, k)
        scores = self.scores[layer].gather(1, bits - self.min_bits)  # (B, k)
        best = scores == scores.max(1, keepdim=True).values  # (B, k)
        chosen = torch.where(best, bits, self.max_bits + 1).argmin(1)  # (B,)
        return candidates[torch.arange(len(chosen), device=chosen.device), chosen]  # (B, A)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        data = super()._get_constructor_parameters()
        return {**data, "layers": self.layers, "min_bits": self.min_bits, "max_bits": self.max_bits}


_RENAMED = {"lowest": "min_bits", "highest": "max_bits"}  # in agents that an earlier version saved


class CandidatePolicy(TD3Policy):
    """SB3's DDPG policy with a ``CandidateActor``; ``candidates`` are that actor's own keyword arguments."""

    def __init__(self, *args: Any, candidates: dict[str, int], **kwargs: Any) -> None:
        self.candidates = {_RENAMED.get(name, name): value for name, value in candidates.items()}
        super().__init__(*args, **kwargs)

    def make_actor(self, features_extractor: BaseFeaturesExtractor | None = None) -> CandidateActor:
        """A ``CandidateActor`` in the place of SB3's actor."""
        keywords = self._update_features_extractor(self.actor_kwargs, features_extractor)
        return CandidateActor(**keywords, **self.candidates).to(self.device)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {**super()._get_constructor_parameters(), "candidates": self.candidates}
