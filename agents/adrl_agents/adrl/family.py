"""ADRL on a family of problems: what it learns on some networks, it answers for others."""

import math
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.type_aliases import GymEnv, ReplayBufferSamples
from torch import Tensor

from adrl_agents.adrl.config import FamilyConfig
from adrl_agents.adrl.critic_policy import CriticActor, CriticPolicy
from adrl_agents.adrl.policies import action_bins
from adrl_agents.haq import HAQ, EpisodeReplayBuffer, truncated_normal
from adrl_agents.runs import DAMAGED, read_agent
from adrl_gym import AdrlGymError, QuantProblem
from adrl_gym.envs import Decision, Decisions, FamilyMember, MixedPrecisionQuantFamilyEnv

_DEFAULTS = FamilyConfig()
_TRANSITIONS = 50_000  # kept for learning
_HIDDEN = (128, 128)


class ReturnReplayBuffer(EpisodeReplayBuffer):
    """Replay of episodes in which the value of an action is the reward of its episode.

    Rewards are relative to the knapsack's already, so there is no moving baseline. No transition bootstraps: the
    reward of the last step is the return of all.
    """

    def _get_samples(self, batch_inds: np.ndarray, env: Any = None) -> ReplayBufferSamples:
        samples = ReplayBuffer._get_samples(self, batch_inds, env)
        return samples._replace(dones=torch.ones_like(samples.dones))  # (B, 1)


class FamilyADRL(HAQ):
    """ADRL for ``MixedPrecisionQuantFamilyEnv``: the actor proposes ``k`` actions, and the critic is the indicator.

    Measuring candidates, as ``ADRL`` does, is what an answer at once has no evaluations for; a critic that was trained
    on other networks takes its place. Exploration begins around the actor's first proposals, not uniformly. Half of its
    variance is drawn once an episode for all layers: what is right for a whole network shows in fewer episodes.

    Args:
        policy: ``MlpPolicy``.
        env: a family of problems.
        k, warmup_episodes, sigma, sigma_decay, actor_learning_rate: see ``FamilyConfig``.
        policy_kwargs: for the policy, as in SB3; hidden layers are 128-128.
        **kwargs: as for ``HAQ``.

    Raises:
        AdrlGymError: ``k < 1``, or an environment of another kind.
    """

    policy_aliases: ClassVar[dict[str, type[Any]]] = {"MlpPolicy": CriticPolicy}
    actor: CriticActor
    actor_target: CriticActor

    def __init__(
        self,
        policy: str | type[CriticPolicy] = "MlpPolicy",
        env: GymEnv | str | None = None,
        k: int = _DEFAULTS.k,
        warmup_episodes: int = _DEFAULTS.warmup_episodes,
        sigma: float = _DEFAULTS.sigma,
        sigma_decay: float = _DEFAULTS.sigma_decay,
        actor_learning_rate: float = _DEFAULTS.actor_learning_rate,
        policy_kwargs: dict[str, Any] | None = None,
        _init_setup_model: bool = True,
        **kwargs: Any,
    ) -> None:
        if k < 1:
            raise AdrlGymError(f"k must be at least 1, got {k}", parameter="k")
        self.k = k
        self._shared = torch.zeros(0)  # (A,), drawn once an episode
        self._shared_in = -1  # the episode that it was drawn in
        super().__init__(
            policy,
            env,
            warmup_episodes=warmup_episodes,
            sigma=sigma,
            sigma_decay=sigma_decay,
            actor_learning_rate=actor_learning_rate,
            policy_kwargs={"net_arch": list(_HIDDEN), **(policy_kwargs or {}), "k": k},
            _init_setup_model=False,
            **kwargs,
        )
        self.replay_buffer_class = ReturnReplayBuffer
        self.buffer_size = _TRANSITIONS
        if self.env is not None:
            kinds = {type(one.unwrapped) for one in getattr(self.env, "envs", [])}
            if kinds != {MixedPrecisionQuantFamilyEnv}:
                raise AdrlGymError("FamilyADRL learns in a MixedPrecisionQuantFamilyEnv: for one network, take ADRL")
            self.decision: Decision = self.env.get_attr("decision")[0]
        if _init_setup_model:
            self._setup_model()

    def _random_candidates(self) -> np.ndarray:
        middles = action_bins(self.k)[0][:, None].expand(-1, self.actor.action_size)  # (k, A)
        return self._explore(middles).cpu().numpy()

    def _explore(self, proposed: Tensor) -> Tensor:
        deviation = 2 * self.current_sigma / self.k * math.sqrt(0.5)  # of either half
        if self._shared_in != self._episode_num:
            self._shared, self._shared_in = torch.randn(self.actor.action_size), self._episode_num
        around = (proposed + deviation * self._shared.to(proposed)).clamp(-1, 1)  # (k, A)
        return truncated_normal(around, deviation)

    def _propose(self, observation: Tensor) -> Tensor:
        return self.actor.candidates(observation)[0]

    def _choose(self, observation: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        seen = torch.as_tensor(observation, device=self.device)[None]  # (1, features)
        refined = self.actor.refine(seen, torch.as_tensor(candidates, device=self.device)[None])  # (1, A)
        return refined[0].cpu().numpy()


def greedy_bits(agent: BaseAlgorithm, member: FamilyMember, decision: Decision) -> tuple[int, ...]:
    """Return the bits of the searched layers that an agent gives a member without exploring; nothing is measured.

    Args:
        agent: of Stable-Baselines3, trained in a family with this decision.
        member: network, quantizer and budget.
        decision: meaning of the agent's actions.
    """
    decisions = Decisions(member, decision)
    while not decisions.done():
        action, _ = agent.predict(decisions.observation(), deterministic=True)
        decisions.take(action)
    return decisions.bits()


def load_policy(path: Path) -> FamilyADRL:
    """Return what ``adrl-gym pretrain`` wrote. The file is unpickled, which can run code: trust where it is from.

    Raises:
        AdrlGymError: no such file, a damaged one, or an agent of another kind.
    """
    if not path.is_file():
        raise AdrlGymError(f"there is no policy {path}: give a policy.zip of adrl-gym pretrain", parameter="policy")
    try:
        agent = read_agent(path, FamilyADRL, None, "cpu")
    except DAMAGED as error:
        raise AdrlGymError(
            f"{path} is no policy ({type(error).__name__}): give a policy.zip of adrl-gym pretrain", parameter="policy"
        ) from error
    if not isinstance(agent, FamilyADRL) or not hasattr(agent, "decision"):
        raise AdrlGymError(f"{path} is another agent: give a policy.zip of adrl-gym pretrain", parameter="policy")
    return agent


def policy_answer(agent: FamilyADRL, problem: QuantProblem) -> tuple[int, ...]:
    """Return the bits of all layers that a pretrained policy gives a problem, within the problem's own budget.

    Only the table of sensitivities is made.

    Raises:
        AdrlGymError: a problem of another range of bits, or with searched activations.
    """
    family = MixedPrecisionQuantFamilyEnv([problem], decision=agent.decision)
    if family.observation_space != agent.observation_space:
        raise AdrlGymError(
            f"the policy was trained on another range of bits than {problem.config.bits}: search with its own",
            parameter=("policy", "bits"),
        )
    member = family.member(0, problem.budget)
    return member.space.with_fixed(greedy_bits(agent, member, agent.decision))


def answer_of_file(path: Path, problem: QuantProblem) -> tuple[int, ...]:
    """Return ``policy_answer`` of the policy in a file."""
    return policy_answer(load_policy(path), problem)
