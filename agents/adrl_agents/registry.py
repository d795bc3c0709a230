"""Every agent and search by name: adding one takes its file and its entry here."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import gymnasium as gym
from stable_baselines3.common.base_class import BaseAlgorithm

from adrl_agents import baselines
from adrl_agents.adrl import ADRL, answer_of_file, load_policy
from adrl_agents.baselines import Proposals
from adrl_agents.haq import HAQ
from adrl_agents.sb3 import SB3_ALGORITHMS, make_sb3_agent
from adrl_gym import QuantProblem
from adrl_gym.envs import ActionType, problem_of

Command = Literal["adrl", "haq", "sb3", "search"]


@dataclass(frozen=True, kw_only=True)
class AgentSpec:
    """One agent, or one search that does not learn.

    Attributes:
        name: in files, results and on the command line.
        label, colour: in tables and figures.
        command: the command of ``adrl-gym`` that runs it.
        make: environment and options -> a fresh agent, or the proposals of a search. Of the options it reads the
            fields of the command's own options, among them ``seed``, ``episodes`` and ``evaluations``.
        algorithm: class that reads its agent.zip; ``None`` for a search that does not learn.
        measures: whether it needs its environment to choose an action.
        action_type: of the environment that it searches in.
        measures_table: whether it begins with a measured table of layer sensitivities.
    """

    name: str
    label: str
    colour: str
    command: Command
    make: Callable[[gym.Env[Any, Any], Any], BaseAlgorithm | Proposals]
    algorithm: type[BaseAlgorithm] | None = None
    measures: bool = False
    action_type: ActionType = "continuous"
    measures_table: bool = False


def _adrl(env: gym.Env[Any, Any], options: Any) -> ADRL:
    agent = ADRL.from_config(env, options, options.seed)
    if options.policy is not None:
        load_policy(options.policy)  # or an error at once
        agent.start_from(partial(answer_of_file, options.policy))
    return agent


def _sb3(name: str, label: str, colour: str, action_type: ActionType = "continuous") -> AgentSpec:
    return AgentSpec(
        name=name,
        label=label,
        colour=colour,
        command="sb3",
        make=lambda env, options: make_sb3_agent(name, env, options.seed),
        algorithm=SB3_ALGORITHMS[name][0],
        action_type=action_type,
    )


def _search(
    name: str,
    label: str,
    colour: str,
    propose: Callable[[QuantProblem, Any], Proposals],
    *,
    measures_table: bool = False,
) -> AgentSpec:
    return AgentSpec(
        name=name,
        label=label,
        colour=colour,
        command="search",
        make=lambda env, options: propose(problem_of(env), options),
        measures_table=measures_table,
    )


def _on_table(search: Callable[..., Proposals], problem: QuantProblem, options: Any) -> Proposals:
    return search(
        problem,
        sensitivity=options.sensitivity,
        score=options.score,
        profile_images=options.profile_images,
        evaluations=options.evaluations,
    )


AGENTS: dict[str, AgentSpec] = {
    spec.name: spec
    for spec in (
        AgentSpec(
            name="adrl",
            label="P-ADRL",
            colour="#CC6677",
            command="adrl",
            make=_adrl,
            algorithm=ADRL,
            measures=True,
            measures_table=True,
        ),
        AgentSpec(
            name="haq",
            label="HAQ",
            colour="#332288",
            command="haq",
            make=lambda env, options: HAQ("MlpPolicy", env, seed=options.seed),
            algorithm=HAQ,
        ),
        _sb3("ddpg", "DDPG", "#88CCEE"),
        _sb3("td3", "TD3", "#88CCEE"),
        _sb3("sac", "SAC", "#44AA99"),
        _sb3("ppo", "PPO", "#117733"),
        _sb3("dqn", "DQN", "#999933", "discrete"),
        _search("uniform", "uniform", "#666666", lambda problem, _: baselines.uniform(problem)),
        _search("random", "random", "#888888", lambda problem, o: baselines.random(problem, seed=o.seed)),
        _search("greedy", "greedy", "#AA4499", partial(_on_table, baselines.greedy), measures_table=True),
        _search("ip", "integer programming", "#000000", partial(_on_table, baselines.ip), measures_table=True),
        _search("tpe", "TPE", "#DDCC77", lambda problem, o: baselines.tpe(problem, seed=o.seed)),
        _search("local", "local search", "#AA4499", partial(_on_table, baselines.local), measures_table=True),
        _search(
            "exhaustive",
            "exhaustive",
            "#666666",
            lambda problem, o: baselines.exhaustive(problem, episodes=o.episodes, evaluations=o.evaluations),
        ),
    )
}


def names(command: Command) -> tuple[str, ...]:
    """Return the names of the agents that a command runs.

    >>> names("sb3")
    ('ddpg', 'td3', 'sac', 'ppo', 'dqn')
    """
    return tuple(spec.name for spec in AGENTS.values() if spec.command == command)
