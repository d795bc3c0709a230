"""HAQ: Hardware-Aware Automated Quantization (Wang et al., CVPR 2019), for bits of weights and of activations."""

from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3 import DDPG
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.type_aliases import GymEnv
from stable_baselines3.td3.policies import TD3Policy
from torch import Tensor

from adrl_agents.haq.config import HAQConfig
from adrl_agents.haq.noise import truncated_normal
from adrl_agents.haq.replay import EpisodeReplayBuffer
from adrl_agents.haq.spaces import check_spaces
from adrl_gym import AdrlGymError, QuantProblem
from adrl_gym.envs import check_time_limit

_REPLAY_EPISODES = 128
_HIDDEN = (300, 300)


_DEFAULTS = HAQConfig()


class HAQ(DDPG):
    """DDPG as HAQ uses it: truncated-normal exploration, one reward for a whole episode, a moving baseline.

    Paper: https://arxiv.org/abs/1811.08886. Reference code: ``lib/rl/ddpg.py`` and ``rl_quantize.py`` of HAQ.
    Deviations from both are numbered in ``docs/agents.md``.

    Args:
        policy: ``MlpPolicy``.
        env: one environment of this package (episodic training takes a single one).
        learning_rate, actor_learning_rate, warmup_episodes, sigma, sigma_decay, batch_size, tau: see ``HAQConfig``.
        policy_kwargs: for the policy, as in SB3; hidden layers are 300-300.
        tensorboard_log, verbose, seed, device: as in SB3.
    """

    policy_aliases: ClassVar[dict[str, type[Any]]] = {"MlpPolicy": TD3Policy}

    def __init__(
        self,
        policy: str | type[TD3Policy] = "MlpPolicy",
        env: GymEnv | str | None = None,
        learning_rate: float = _DEFAULTS.learning_rate,
        actor_learning_rate: float = _DEFAULTS.actor_learning_rate,
        warmup_episodes: int = _DEFAULTS.warmup_episodes,
        sigma: float = _DEFAULTS.sigma,
        sigma_decay: float = _DEFAULTS.sigma_decay,
        batch_size: int = _DEFAULTS.batch_size,
        tau: float = _DEFAULTS.tau,
        policy_kwargs: dict[str, Any] | None = None,
        tensorboard_log: str | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: torch.device | str = "cpu",  # layers of 300 units: a GPU would be slower
        _init_setup_model: bool = True,
    ) -> None:
        self.actor_learning_rate = actor_learning_rate
        self.warmup_episodes = warmup_episodes
        self.sigma = sigma
        self.sigma_decay = sigma_decay
        if isinstance(env, gym.Env):
            check_spaces(env, type(self).__name__)  # before Stable-Baselines3 refuses what it cannot scale
        super().__init__(
            policy,
            env,  # type: ignore[arg-type]  # SB3 passes None itself when it loads a model without one
            learning_rate=learning_rate,
            batch_size=batch_size,
            tau=tau,
            gamma=1.0,
            train_freq=(1, "episode"),
            gradient_steps=-1,
            replay_buffer_class=EpisodeReplayBuffer,
            policy_kwargs={"net_arch": list(_HIDDEN), **(policy_kwargs or {})},
            tensorboard_log=tensorboard_log,
            verbose=verbose,
            seed=seed,
            device=device,
            _init_setup_model=False,
        )
        if self.env is not None:
            check_spaces(self.env, type(self).__name__)
            layers = len(self.problem.searchable)
            if isinstance(env, gym.Env):
                check_time_limit(env, layers)
            self.buffer_size = _REPLAY_EPISODES * layers
            self.learning_starts = warmup_episodes * layers
        if _init_setup_model:
            self._setup_model()

    def set_env(self, env: GymEnv, force_reset: bool = True) -> None:
        """Set the environment; refuse wrappers that change actions or observations."""
        if isinstance(env, gym.Env):
            check_spaces(env, type(self).__name__)
        super().set_env(env, force_reset)
        assert self.env is not None
        check_spaces(self.env, type(self).__name__)

    @property
    def problem(self) -> QuantProblem:
        """The quantization problem of the environment.

        Raises:
            AdrlGymError: there is no environment, or it is not one of this package.
        """
        if self.env is None:
            raise AdrlGymError(
                f"{type(self).__name__} has no environment: give one to set_env or to load(..., env=env)"
            )
        try:
            problem = self.env.get_attr("problem")[0]
        except AttributeError as error:
            raise AdrlGymError(f"{type(self).__name__} needs an environment of adrl_gym (it has no problem)") from error
        assert isinstance(problem, QuantProblem)
        return problem

    @property
    def current_sigma(self) -> float:
        """Standard deviation of the exploration noise in this episode, in units of HAQ's action range [0, 1]."""
        return self.sigma * self.sigma_decay ** max(0, self._episode_num - self.warmup_episodes)

    def _setup_learn(
        self, total_timesteps: int, callback: Any = None, reset_num_timesteps: bool = True, *args: Any, **kwargs: Any
    ) -> tuple[int, BaseCallback]:
        """Prepare to learn; where the environment is reset, give up the interrupted episode."""
        begins = reset_num_timesteps or self._last_obs is None
        if begins and isinstance(self.replay_buffer, EpisodeReplayBuffer):
            self.replay_buffer.forget_unfinished()
        return super()._setup_learn(total_timesteps, callback, reset_num_timesteps, *args, **kwargs)

    def _sample_action(
        self, learning_starts: int, action_noise: ActionNoise | None = None, n_envs: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        """Explore: candidates, noise on each of them, then the choice of one; it is what runs and what is stored."""
        assert isinstance(self._last_obs, np.ndarray)
        if self.num_timesteps < learning_starts:
            candidates = self._random_candidates()  # (k, A)
        else:
            self.policy.set_training_mode(False)
            with torch.no_grad():
                proposed = self._propose(torch.as_tensor(self._last_obs, device=self.device))  # (k, A)
            candidates = self._explore(proposed).cpu().numpy()  # (k, A)
        action = self._choose(self._last_obs[0], candidates)[None]  # (1, A)
        return action, action

    def _random_candidates(self) -> np.ndarray:
        """Uniformly random candidate actions ``(k, A)`` for the warm-up."""
        return self.action_space.sample()[None]

    def _explore(self, proposed: Tensor) -> Tensor:
        """Candidate actions ``(k, A)`` with exploration noise."""
        return truncated_normal(proposed, 2 * self.current_sigma)  # actions span twice the range that sigma refers to

    def _propose(self, observation: Tensor) -> Tensor:
        """The actor's candidate actions ``(k, A)`` for one observation ``(1, 10)``."""
        return self.actor(observation)

    def _choose(self, observation: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        """The action ``(A,)`` among the candidates ``(k, A)``."""
        return candidates[0]

    def _update_learning_rate(self, optimizers: list[torch.optim.Optimizer] | torch.optim.Optimizer) -> None:
        super()._update_learning_rate(optimizers)
        for group in self.actor.optimizer.param_groups:
            group["lr"] = self.actor_learning_rate
