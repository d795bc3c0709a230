"""agent.zip: an agent as SB3 saves it, and inside the same file what it takes to go on with its search.

One file is replaced in one step, so the agent, its replay buffer and the random generators can never be of
different episodes. ``HAQ.load("agent.zip")`` works as ever: SB3 passes over members that it does not know.
"""

import io
import pickle
import random
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.type_aliases import GymEnv

from adrl_agents.runs.old_agents import old_modules
from adrl_gym.errors import AdrlGymError
from adrl_gym.files import write_whole

MEMBER = "search.pkl"
DAMAGED = (  # what reading a damaged agent.zip raises
    *(OSError, EOFError, ValueError, KeyError, AttributeError, ImportError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error, pickle.UnpicklingError),
)


@dataclass(frozen=True)
class Progress:
    """Place of a search between two episodes.

    Attributes:
        episodes: finished ones.
        evaluations, memo_hits, memo_misses, seconds, cpu_seconds: spent on them (see ``SearchResult``).
    """

    episodes: int = 0
    evaluations: float = 0.0
    memo_hits: int = 0
    memo_misses: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0


def save_policy(path: Path, agent: BaseAlgorithm) -> None:
    """Write an agent as SB3 saves it, without its search, whole or not at all."""
    write_whole(path, _archive(agent).getvalue())


def save_agent(path: Path, agent: BaseAlgorithm, progress: Progress) -> None:
    """Write ``path`` whole. To be called between two rollouts, when the agent has learned from the first."""
    archive = _archive(agent)
    rest: dict[str, Any] = {"progress": progress, "random": _random_state(agent)}
    if isinstance(agent, OffPolicyAlgorithm):
        rest["replay_buffer"] = agent.replay_buffer
    with zipfile.ZipFile(archive, "a", zipfile.ZIP_DEFLATED) as file:
        file.writestr(MEMBER, pickle.dumps(rest))
    write_whole(path, archive.getvalue())


def load_agent(path: Path, fresh: BaseAlgorithm) -> tuple[BaseAlgorithm, Progress]:
    """The agent of ``path`` in the environment of ``fresh``, of the same class; where its search stands.

    From here on everything random is as it was.

    Raises:
        AdrlGymError: the file is damaged.
    """
    try:
        agent = read_agent(path, type(fresh), fresh.get_env(), fresh.device)
        with old_modules(), zipfile.ZipFile(path) as file:
            rest = pickle.loads(file.read(MEMBER))
    except DAMAGED as error:
        raise AdrlGymError(
            f"cannot resume from {path}: {error}; begin anew in another folder", parameter="output"
        ) from error
    if isinstance(agent, OffPolicyAlgorithm):
        agent.replay_buffer = rest["replay_buffer"]
    _set_random_state(agent, rest["random"])
    return agent, rest["progress"]


def read_agent(path: Path, kind: type[BaseAlgorithm], env: GymEnv | None, device: torch.device | str) -> BaseAlgorithm:
    """Return the agent of a file, also of one that version 0.1 wrote; raises one of ``DAMAGED``."""
    with old_modules():
        return kind.load(path, env=env, device=device)


def _archive(agent: BaseAlgorithm) -> io.BytesIO:
    archive = io.BytesIO()
    agent.save(archive)
    return archive


def _random_state(agent: BaseAlgorithm) -> dict[str, Any]:
    return {
        "python": random.getstate(),
        "numpy": np.random.get_state(),  # noqa: NPY002 - SB3 draws from it
        "torch": torch.get_rng_state(),
        "actions": agent.action_space.np_random.bit_generator.state,
    }


def _set_random_state(agent: BaseAlgorithm, state: dict[str, Any]) -> None:
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])  # noqa: NPY002
    torch.set_rng_state(state["torch"])
    agent.action_space.np_random.bit_generator.state = state["actions"]
