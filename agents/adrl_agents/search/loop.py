"""Loops of a search: an agent that learns, or a method that proposes one configuration after the other."""

from collections.abc import Generator
from typing import Any, Protocol

import gymnasium as gym
from stable_baselines3.common.base_class import BaseAlgorithm

from adrl_agents.baselines import Proposals
from adrl_agents.runs import Episode, Progress, RunFolder, SearchResult, load_agent
from adrl_agents.search.callback import SearchCallback
from adrl_agents.search.logger import RunLogger
from adrl_gym.envs import problem_of
from adrl_gym.errors import AdrlGymError


class SearchLoop(Protocol):
    """Resumes a search, and runs it."""

    def resume(self, folder: RunFolder, previous: SearchResult) -> tuple[Progress, list[Episode]]:
        """Go back to where the run of ``folder`` can go on; where that is, and its whole history.

        What the history has beyond that was tried, and will be tried again.

        Raises:
            AdrlGymError: its files do not allow it.
        """

    def run(self, recorder: RunLogger) -> None:
        """Search until the record says that the search has ended, or there is nothing more to try."""


class AgentLoop:
    """An agent of Stable-Baselines3. It is resumed from agent.zip; without one, it begins anew.

    Args:
        agent: fresh, in the environment to search in.
    """

    def __init__(self, agent: BaseAlgorithm) -> None:
        self._agent = agent

    def resume(self, folder: RunFolder, previous: SearchResult) -> tuple[Progress, list[Episode]]:
        """See ``SearchLoop``."""
        if not folder.agent.exists():
            return Progress(), folder.load_whole_history()
        self._agent, progress = load_agent(folder.agent, self._agent)
        return progress, folder.load_history(progress.episodes)

    def run(self, recorder: RunLogger) -> None:
        """See ``SearchLoop``."""
        record = recorder.record
        steps = (record.options.episodes - len(record.episodes)) * len(record.problem.searchable)
        self._agent.learn(steps, SearchCallback(recorder), reset_num_timesteps=not record.episodes)


class ProposalLoop:
    """A method of ``adrl_agents.baselines``. It is resumed by telling it again what it was told the first time.

    Args:
        proposals: not yet begun.
        env: where the configurations are tried.
    """

    def __init__(self, proposals: Proposals, env: gym.Env[Any, Any]) -> None:
        self._proposals, self._env = proposals, env
        self._problem = problem_of(env)
        self._told: Episode | None = None

    def resume(self, folder: RunFolder, previous: SearchResult) -> tuple[Progress, list[Episode]]:
        """See ``SearchLoop``. What is repeated here was counted the first time."""
        episodes = folder.load_whole_history()
        for episode in episodes:
            bits = self._next()
            if bits is None or " ".join(map(str, self._projected(bits))) != episode.bits:
                raise AdrlGymError(
                    f"cannot resume from {folder.history}: configuration {episode.episode} is not the one that would "
                    "be tried now, so the program or its data has changed; begin anew in another --output"
                )
            self._told = episode
        if not episodes:
            return Progress(), []
        last = episodes[-1]
        spent = last.evaluations, previous.memo_hits, previous.memo_misses, last.seconds, last.cpu_seconds
        return Progress(len(episodes), *spent), episodes

    def run(self, recorder: RunLogger) -> None:
        """See ``SearchLoop``."""
        recorder.open()
        while not recorder.record.ended and (bits := self._next()) is not None:
            reward, info = self._env.get_wrapper_attr("measure")(self._problem.with_fixed(bits))
            self._told = recorder.add(info, reward)
            recorder.pause()
        recorder.close()

    def _next(self) -> tuple[int, ...] | None:
        """The next proposal; None after the last."""
        try:
            return tuple(next(self._proposals) if self._told is None else self._proposals.send(self._told))
        except StopIteration:
            return None

    def _projected(self, bits: tuple[int, ...]) -> tuple[int, ...]:
        return self._problem.project(self._problem.with_fixed(bits))


def loop_of(made: object, env: gym.Env[Any, Any]) -> SearchLoop:
    """The driver of an agent or of a method's proposals; raises ``AdrlGymError`` for anything else."""
    if isinstance(made, BaseAlgorithm):
        return AgentLoop(made)
    if isinstance(made, Generator):
        return ProposalLoop(made, env)
    raise AdrlGymError(
        f"a {type(made).__name__} cannot search: give an algorithm of Stable-Baselines3 (a BaseAlgorithm), or a "
        "generator that yields configurations"
    )
