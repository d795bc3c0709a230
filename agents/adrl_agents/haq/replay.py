"""HAQ's replay buffer: whole episodes, one reward, a moving baseline."""

from typing import Any

import numpy as np
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.type_aliases import ReplayBufferSamples

BASELINE_RATE = 0.5  # weight of the newest batch in the moving average (HAQ's code, moving_alpha)


class EpisodeReplayBuffer(ReplayBuffer):
    """Stores an episode when it ends, each of its transitions with the final reward.

    A batch's rewards are given less the moving average of the batches' mean rewards, HAQ's baseline.
    """

    _baseline: float | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._episode: list[tuple[Any, ...]] = []

    def add(
        self,
        obs: np.ndarray,
        next_obs: np.ndarray,
        action: np.ndarray,
        reward: np.ndarray,
        done: np.ndarray,
        infos: list[dict[str, Any]],
    ) -> None:
        """Keep the transition until its episode ends, then store the whole episode."""
        self._episode.append((obs.copy(), next_obs.copy(), action, done, infos))
        if done.all():
            for obs_, next_obs_, action_, done_, infos_ in self._episode:
                super().add(obs_, next_obs_, action_, reward, done_, infos_)
            self._episode = []

    def forget_unfinished(self) -> None:
        """Let go of an episode that will have no end."""
        self._episode = []

    def _get_samples(self, batch_inds: np.ndarray, env: Any = None) -> ReplayBufferSamples:
        samples = super()._get_samples(batch_inds, env)
        mean = float(samples.rewards.mean())
        old = mean if self._baseline is None else self._baseline
        self._baseline = old + BASELINE_RATE * (mean - old)
        return samples._replace(rewards=samples.rewards - self._baseline)  # (B, 1)
