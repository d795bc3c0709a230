"""One search from options to files."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
from stable_baselines3.common.base_class import BaseAlgorithm

from adrl_agents import interrupts
from adrl_agents.baselines import Proposals
from adrl_agents.options import Options, spec_of
from adrl_agents.registry import AGENTS
from adrl_agents.runs import LIMITS, Episode, Progress, RunFolder, SearchResult, print_result
from adrl_agents.search.environment import make_env
from adrl_agents.search.logger import RunLogger, Tracker
from adrl_agents.search.loop import SearchLoop, loop_of
from adrl_agents.search.state import SearchState
from adrl_agents.search.tensorboard import TensorboardLogger
from adrl_agents.search.wandb import WandbLogger
from adrl_gym.envs import check_time_limit, problem_of
from adrl_gym.errors import AdrlGymError
from adrl_gym.evaluation import Metrics
from adrl_gym.layers import shared_weights
from adrl_gym.problem import QuantProblem
from adrl_gym.progress import bar

# Name of the data -> how to search on other data.
HINTS = {
    "cifar10": "--data data-free works without any real image",
    "imagenet": "--data-root names another folder",
    "data-free": "for real images, add --download, or --data-root FOLDER with cifar-10-batches-py in it",
}
MakeSearch = Callable[[gym.Env[Any, Any]], BaseAlgorithm | Proposals]


def run_search(agent_name: str, options: Options, make_search: MakeSearch | None = None) -> SearchResult:
    """Search, write the run's folder as the search goes, print the best configuration.

    Args:
        agent_name: a name in ``AGENTS``; with ``make_search``, any name for files and results.
        options: of the run; an agent of ``AGENTS`` needs those of its command.
        make_search: a fresh agent for an environment, which must train between whole episodes, or the proposals of a
            search that does not learn; by default as the agent's ``AgentSpec`` makes it.

    Raises:
        AdrlGymError: bad input.
        KeyboardInterrupt: after the result so far was written.
    """
    options.check()
    folder = RunFolder(options.output or Path("runs") / f"{options.run_name(agent_name)}-s{options.seed}")
    if options.resume and folder.result.exists():
        options = options.like(SearchResult.load(folder.result).options)
    previous = folder.claim(agent_name, options.recorded(), options.resume)
    if previous is not None and _is_finished(previous, options):
        _check_data(previous, options, folder)
        if options.track or options.tensorboard:
            print("note: a finished run is not logged again")
        print(f"{folder.path} is finished; to go on, raise {' or '.join(f'--{name}' for name in LIMITS)}")
        return _report(previous, folder)
    try:
        spec = AGENTS.get(agent_name)
        env, preparation_seconds = make_env(options, "continuous" if spec is None else spec.action_type)
        problem = problem_of(env)
        check_time_limit(env, len(problem.searchable))
        made = AGENTS[agent_name].make(env, options) if make_search is None else make_search(env)
        driver = loop_of(made, env)
        hint = "" if options.data.endswith(".npz") else HINTS.get(problem.splits.name, "")
        print(f"data: {problem.splits.source}. {hint}".strip())
        for note in (*shared_weights(problem.layers), problem.unquantized):
            if note is not None:
                print(f"note: {note}")
        progress = Progress()
        history: list[Episode] = []
        if previous is not None:
            _check_same(previous, problem, folder)
            progress, history = driver.resume(folder, previous)
            print(f"resuming {folder.path} after {progress.episodes} of {options.episodes} episodes")
        record = SearchState(problem, agent_name, options, preparation_seconds, previous, progress, history)
        return _report(_search(driver, record, folder, env), folder)
    finally:
        folder.release_if_empty()


def _search(driver: SearchLoop, record: SearchState, folder: RunFolder, env: gym.Env[Any, Any]) -> SearchResult:
    trackers: list[Tracker] = [WandbLogger(record, folder)] if record.options.track else []
    trackers += [TensorboardLogger(record, folder)] if record.options.tensorboard else []
    for tracker in trackers:
        print(tracker.where)
    recorder = RunLogger(record, folder, trackers)
    try:
        with interrupts.unmasked():
            driver.run(recorder)
            result = recorder.save("finished", _test(record, env))
    except BaseException as error:
        recorder.close()
        if isinstance(error, KeyboardInterrupt) and record.best is not None:
            recorder.save("interrupted")
            print(f"the best so far is in {folder.path}; go on with --resume", file=sys.stderr)
        for tracker in trackers:
            tracker.close(exit_code=1)
        raise
    for tracker in trackers:
        tracker.finish(result, folder)
    return result


def _test(record: SearchState, env: gym.Env[Any, Any]) -> tuple[Metrics, Metrics] | None:
    """Measure the float network and the best on the test images, if there are any."""
    problem = record.problem
    if problem.splits.test is None or record.best is None:
        return None
    print(f"measuring the best on {len(problem.splits.test):,} test images")
    measure = env.test if record.options.finetune_images else problem.test  # type: ignore[attr-defined]
    with bar("testing"):
        float_test, best = problem.float_test, measure(record.best.bits)
    assert float_test is not None
    assert best is not None
    return float_test, best


def _is_finished(previous: SearchResult, options: Options) -> bool:
    here = options.recorded()
    return previous.status == "finished" and all(previous.options.get(name) == here.get(name) for name in LIMITS)


def _check_data(previous: SearchResult, options: Options, folder: RunFolder) -> None:
    """Refuse to show a finished run on the data-free set to who asks for real images."""
    real = options.data == "auto" and "data" not in spec_of(options.environment).kwargs
    if previous.data == "data-free" and real and (options.download or options.data_root is not None):
        asked = "--download" if options.download else f"--data-root {options.data_root}"
        raise AdrlGymError(
            f"{folder.path} is finished, on the data-free set: for a search on real images ({asked}), "
            "choose another --output"
        )


def _check_same(previous: SearchResult, problem: QuantProblem, folder: RunFolder) -> None:
    if previous.data != problem.splits.name:
        raise AdrlGymError(
            f"{folder.path} was searched on {previous.data} images, not on {problem.splits.name} ones: "
            "give --data and --data-root as there, or choose another --output"
        )
    check_images(previous, problem, folder)
    if previous.checkpoint != problem.checkpoint:
        raise AdrlGymError(
            f"{folder.path} was made with other weights of the network (hash {previous.checkpoint[:12]}, now "
            f"{problem.checkpoint[:12]}): give the same --weights, or choose another --output"
        )


def check_images(result: SearchResult, problem: QuantProblem, folder: RunFolder) -> None:
    """Refuse other search images or labels than those of a run's numbers; raises ``AdrlGymError``."""
    if result.images_hash is not None and result.images_hash != problem.images_hash:
        raise AdrlGymError(
            f"{folder.path} was searched on other images or labels (hash {result.images_hash[:12]}, here "
            f"{problem.images_hash[:12]}), so no number would be comparable: give the same data, unchanged, or search "
            "anew into another folder",
            parameter="data_root",
        )


def _report(result: SearchResult, folder: RunFolder) -> SearchResult:
    print_result(result)
    print(f"written to {folder.path}")
    return result
