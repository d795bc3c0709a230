"""Train PPO and SAC of Stable-Baselines3 on the family, for as many episodes as the policies of adrl-gym.

    python -m benchmarks.family.others --data-root D --weights F

Their settings are Stable-Baselines3's own, and the design is ``interactions``. Writes a folder NAME-sSEED with
policy.zip for each; what is there is not trained again.
"""

from dataclasses import dataclass
from pathlib import Path

import gymnasium as gym
import tyro
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import StopTrainingOnMaxEpisodes

from adrl_agents.adrl import load_policy
from adrl_agents.pretrain import PretrainOptions, family_problems
from adrl_agents.runs import save_policy
from adrl_gym.envs import FAMILY_BUDGETS, FAMILY_ID, Decision
from benchmarks.family.policies import PolicyOptions, seen_networks

ALGORITHMS: dict[str, type[PPO | SAC]] = {"ppo": PPO, "sac": SAC}
DECISION: Decision = "interactions"
_STEPS = 10**9  # of ``learn``, which the callback ends


@dataclass
class Options(PolicyOptions):
    """Options of the trainings."""

    algorithms: tuple[str, ...] = tuple(ALGORITHMS)
    """Names of algorithms."""
    seed: int = 0
    """Seed of each."""


def load_answering(file: Path) -> tuple[BaseAlgorithm, Decision]:
    """Return the agent of a policy's file, whose folder names its algorithm, and the meaning of its actions."""
    algorithm = ALGORITHMS.get(file.parent.name.rpartition("-s")[0])
    if algorithm is not None:
        return algorithm.load(file, device="cpu"), DECISION
    agent = load_policy(file)
    return agent, agent.decision


def main(options: Options) -> None:
    """Train what is missing."""
    files = {name: options.output / f"{name}-s{options.seed}" / "policy.zip" for name in options.algorithms}
    if all(file.exists() for file in files.values()):
        return
    problems = family_problems(
        seen_networks(options.weights),
        PretrainOptions.quantizers,
        weights=options.weights,
        data="cifar10",
        data_root=options.data_root,
        images=PretrainOptions.images,
    )
    for name, file in files.items():
        if file.exists():
            continue
        env = gym.make(FAMILY_ID, problems=problems, budgets=FAMILY_BUDGETS, decision=DECISION)
        agent = ALGORITHMS[name]("MlpPolicy", env, seed=options.seed, device="cpu")
        agent.learn(_STEPS, StopTrainingOnMaxEpisodes(options.episodes))
        file.parent.mkdir(parents=True, exist_ok=True)
        save_policy(file, agent)
        print(f"written to {file}", flush=True)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
