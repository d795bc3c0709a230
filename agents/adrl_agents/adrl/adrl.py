"""ADRL: augmented deep reinforcement learning for quantization (Ning et al., ICLR 2021)."""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.type_aliases import GymEnv
from torch import Tensor

from adrl_agents.adrl.config import ADRLConfig, CompletedBy, Context
from adrl_agents.adrl.distance import DistanceIndicator
from adrl_agents.adrl.episode import EpisodeTrace
from adrl_agents.adrl.indicators import Indicator, ProfilingIndicator, score_table
from adrl_agents.adrl.policies import CandidateActor, CandidatePolicy, action_bins
from adrl_agents.haq import HAQ, truncated_normal
from adrl_gym import AdrlGymError, QuantProblem
from adrl_gym.bits import bits_from_action
from adrl_gym.evaluation import Score
from adrl_gym.sensitivity import Sensitivity

_THOMPSON_NOISE = 0.5  # noise scale above which the indicator samples
_DEFAULTS = ADRLConfig()
AnyADRL = TypeVar("AnyADRL", bound="ADRL")


class ADRL(HAQ):
    """HAQ whose actor proposes ``k`` candidate actions, of which an indicator chooses the one to take.

    Paper: "Simple Augmentation Goes a Long Way: ADRL for DNN Quantization",
    https://openreview.net/forum?id=Qr0aRliE_Hb. Deviations and the measurements behind the defaults are in
    ``docs/agents.md``. With ``k=1`` it is HAQ, action for action.

    Args:
        policy: ``MlpPolicy``.
        env: one environment of this package.
        k, indicator, context, score, profile_images, early_termination, completion, memoization, sensitivity: see
            ``ADRLConfig``; ``indicator`` may also be any callable (see ``Indicator``).
        policy_kwargs, **kwargs: as for ``HAQ``.

    Raises:
        AdrlGymError: ``k < 1``, or an unknown indicator, context or score.
    """

    policy_aliases: ClassVar[dict[str, type[Any]]] = {"MlpPolicy": CandidatePolicy}
    actor: CandidateActor
    actor_target: CandidateActor

    def __init__(
        self,
        policy: str | type[CandidatePolicy] = "MlpPolicy",
        env: GymEnv | str | None = None,
        k: int = _DEFAULTS.k,
        indicator: str | Indicator = _DEFAULTS.indicator,
        context: Context = _DEFAULTS.context,
        score: Score = _DEFAULTS.score,
        profile_images: int | None = _DEFAULTS.profile_images,
        early_termination: bool = _DEFAULTS.early_termination,
        completion: CompletedBy = _DEFAULTS.completion,
        memoization: bool = _DEFAULTS.memoization,
        sensitivity: Sensitivity = _DEFAULTS.sensitivity,
        policy_kwargs: dict[str, Any] | None = None,
        _init_setup_model: bool = True,
        **kwargs: Any,
    ) -> None:
        if k < 1:
            raise AdrlGymError(f"k must be at least 1, got {k}: 1 is HAQ", parameter="k")
        self.k = k
        if indicator == "profiling":
            indicator = ProfilingIndicator(
                context, score, profile_images, early_termination, completion, memoization, sensitivity
            )
        elif indicator == "distance":
            indicator = DistanceIndicator()
        elif isinstance(indicator, str):
            raise AdrlGymError(
                f"unknown indicator {indicator!r}: choose profiling, distance or give a callable", parameter="indicator"
            )
        self.indicator: Indicator = indicator
        self._has_scores = False  # the actor has the indicator's
        self._indicator_decides = False  # in this episode, without the actor
        self._noise_scale = 1.0  # of this episode
        self._training = EpisodeTrace()
        self._predicting: list[EpisodeTrace] = []
        super().__init__(policy, env, policy_kwargs=policy_kwargs, _init_setup_model=False, **kwargs)
        if self.env is not None:
            problem = self.problem
            self.policy_kwargs["candidates"] = {
                "k": k,
                "layers": len(problem.searchable),
                "min_bits": problem.min_bits,
                "max_bits": problem.max_bits,
            }
        if _init_setup_model:
            self._setup_model()

    @classmethod
    def from_config(cls, env: GymEnv, config: ADRLConfig, seed: int | None = None) -> "ADRL":
        """Return a fresh agent with the settings of a configuration."""
        settings = {f.name: getattr(config, f.name) for f in dataclasses.fields(ADRLConfig)}
        return cls("MlpPolicy", env, **settings, seed=seed)

    def start_from(self, answer: Callable[[QuantProblem], tuple[int, ...]]) -> None:
        """Let the first episode be an answer that is known, for example a pretrained policy's.

        Args:
            answer: gives the bits of all layers, within the budget; asked once. It can be pickled.

        Raises:
            AdrlGymError: fewer candidates than bit-widths, D-ADRL, or a context whose answers are measured.
        """
        indicator, widths = self.indicator, self.problem.max_bits - self.problem.min_bits + 1
        if (
            not isinstance(indicator, ProfilingIndicator)
            or indicator.context not in ("best", "single")
            or self.k < widths
        ):
            raise AdrlGymError(
                "a search starts from a policy with the indicator profiling, in context best or single, and with a "
                "candidate for each bit-width: leave these as they are by default",
                parameter=("policy", "k"),
            )
        indicator.start = answer

    @classmethod
    def load(cls: type[AnyADRL], *args: Any, **kwargs: Any) -> AnyADRL:
        """Load an agent as in Stable-Baselines3, also one that version 0.1 saved."""
        agent = super().load(*args, **kwargs)
        if "_boldness" in vars(agent):  # version 0.1
            agent._noise_scale = vars(agent).pop("_boldness")
        return agent

    def _begin_episode(self) -> None:
        """Draw the noise scale, let the indicator propose, and take over its scores for refining replayed states.

        The noise scale is sampled once per episode. An episode with much noise teaches little (see ``_explore``), so
        the indicator proposes by Thompson sampling instead, where it can.
        """
        self._noise_scale = max(float(torch.rand(())), 1e-3)
        first = not self._has_scores
        if isinstance(self.indicator, ProfilingIndicator):
            problem = self.problem
            every_width = self.k > problem.max_bits - problem.min_bits  # or the actor could not take the sample
            self._indicator_decides = self.indicator.propose(problem) or (
                every_width and self._noise_scale > _THOMPSON_NOISE and self.indicator.thompson_sample(problem)
            )
        else:
            self._indicator_decides = first
            if not first:  # its scores do not change
                return
        scores = torch.as_tensor(score_table(self.indicator, self.problem), dtype=torch.float32)
        self.actor.scores.copy_(scores)
        self.actor_target.scores.copy_(scores)
        self._has_scores = True

    def _store_transition(
        self,
        replay_buffer: ReplayBuffer,
        buffer_action: np.ndarray,
        new_obs: np.ndarray | dict[str, np.ndarray],
        reward: np.ndarray,
        dones: np.ndarray,
        infos: list[dict[str, Any]],
    ) -> None:
        super()._store_transition(replay_buffer, buffer_action, new_obs, reward, dones, infos)
        if dones.all() and isinstance(self.indicator, ProfilingIndicator):
            self.indicator.update(self.problem, tuple(infos[0]["bits"]))

    def _random_candidates(self) -> np.ndarray:
        if self.k == 1:
            return super()._random_candidates()
        middles = action_bins(self.k)[0][:, None].expand(-1, self.actor.action_size)  # (k, A)
        return self._explore(middles).cpu().numpy()

    def _explore(self, proposed: Tensor) -> Tensor:
        if self.k == 1:
            return super()._explore(proposed)
        # Each candidate explores one of k equal parts of HAQ's range. Where noise takes the best bits from many layers,
        # the episode is poor and teaches little. So some episodes have less noise than others.
        return truncated_normal(proposed, self._noise_scale * 2 * self.current_sigma / self.k)

    def _propose(self, observation: Tensor) -> Tensor:
        return self.actor.candidates(observation)[0]

    def _choose(self, observation: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        if self.k == 1:
            return candidates[0]
        self._check_layers(self.problem)
        if observation[0] == 0:  # the first layer
            self._begin_episode()
        if self._indicator_decides:  # it chooses from the whole range
            candidates = action_bins(self.k)[0][:, None].expand(-1, candidates.shape[1]).numpy()  # (k, A)
        return self._refine(self._training, observation, candidates)

    def _refine(self, trace: EpisodeTrace, observation: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        """The candidate ``(A,)`` that the indicator scores best; fewer bits at a tie."""
        if self.k == 1:  # predict comes here without ``_choose``
            return candidates[0]
        problem = self.problem
        self._check_layers(problem)
        decided = trace.follow(observation, len(problem.searchable), problem.min_bits, problem.max_bits)
        bits = [bits_from_action(float(a[0]), problem.min_bits, problem.max_bits) for a in candidates]
        scores = self.indicator(problem, decided, bits)
        return candidates[max(range(self.k), key=lambda i: (scores[i], -bits[i]))]

    def _check_layers(self, problem: QuantProblem) -> None:
        """Refuse a problem of another number of layers or range of bits than the agent was made for."""
        actor = self.actor
        made_for = actor.layers, actor.min_bits, actor.max_bits
        here = len(problem.searchable), problem.min_bits, problem.max_bits
        if made_for != here:
            raise AdrlGymError(
                "this agent was made for {} searched layers of {} to {} bits".format(*made_for)
                + ", and the environment has {} of {} to {}: train a new agent".format(*here)
            )

    def predict(
        self,
        observation: np.ndarray | dict[str, np.ndarray],
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """Return the refined action without noise; the observations of an episode must come in order.

        The indicator measures, so the agent needs its environment (``ADRL.load(path, env=env)``).

        Raises:
            AdrlGymError: no environment, or an observation that does not follow the one before.
        """
        assert isinstance(observation, np.ndarray)
        observations = observation.reshape(-1, *self.observation_space.shape)  # type: ignore[misc]  # (B, 10)
        self.policy.set_training_mode(False)
        with torch.no_grad():
            candidates = self.actor.candidates(torch.as_tensor(observations, device=self.device))  # (B, k, A)
        while len(self._predicting) < len(observations):
            self._predicting.append(EpisodeTrace())
        actions = np.stack(
            [
                self._refine(trace, one, proposed)
                for trace, one, proposed in zip(self._predicting, observations, candidates.cpu().numpy(), strict=False)
            ]
        )  # (B, A)
        return (actions if observation.ndim > 1 else actions[0]), state
