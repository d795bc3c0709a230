"""One search from options to files: what the command lines have in common."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import gymnasium as gym
import tyro
from rich.console import Console
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from adrl_agents.callbacks import EarlyTermination, SearchCallback
from adrl_agents.folder import RunFolder
from adrl_agents.options import Options, spec_of
from adrl_agents.record import SearchRecord
from adrl_agents.snapshot import Progress, load_agent
from adrl_agents.tables import layer_table, totals
from adrl_agents.tracking import Tracker
from adrl_gym.errors import AdrlGymError
from adrl_gym.problem import QuantProblem
from adrl_gym.result import SearchResult

AnyOptions = TypeVar("AnyOptions")
MakeAgent = Callable[[gym.Env[Any, Any]], OffPolicyAlgorithm]


def run_command_line(main: Callable[[AnyOptions], object], options: type[AnyOptions], description: str | None) -> int:
    """Read ``options`` from the command line, run ``main`` on them, and give the exit status.

    0 is success, 2 bad input (one line on standard error says what and what to do), 130 Ctrl-C.
    """
    try:
        main(tyro.cli(options, description=description, config=(tyro.conf.DisallowNone,)))
    except AdrlGymError as error:
        print("error:", " ".join(str(error).split()), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


def run_search(agent_name: str, options: Options, make_agent: MakeAgent) -> SearchResult:
    """Search, write the run's folder as the search goes, print the best configuration.

    Args:
        agent_name: for files and results, for example ``adrl``.
        options: of the run.
        make_agent: a fresh agent for an environment; it must train once an episode.

    Raises:
        AdrlGymError: bad input.
        KeyboardInterrupt: after the result so far was written.
    """
    options.check()
    folder = RunFolder(options.output or Path("runs") / f"{options.run_name(agent_name)}-s{options.seed}")
    previous = folder.claim(agent_name, options.recorded(), options.resume)
    if previous is not None and _is_finished(previous, options):
        print(f"{folder.path} is finished; to go on, raise --episodes")
        return _report(previous, folder)
    try:
        env, preparation_seconds = make_env(options)
        agent = make_agent(env)
        problem: QuantProblem = env.unwrapped.problem  # type: ignore[attr-defined]
        print(f"data: {problem.splits.source}. {problem.splits.hint}".strip())
        progress = Progress()
        if previous is not None:
            _check_same(previous, problem, folder)
            if folder.agent.exists():
                agent, progress = load_agent(folder.agent, agent)
            print(f"resuming {folder.path} after {progress.episodes} of {options.episodes} episodes")
        episodes = folder.load_history(progress.episodes) if progress.episodes else []
        record = SearchRecord(problem, agent_name, options, preparation_seconds, previous, progress, episodes)
        return _report(_search(agent, record, folder), folder)
    finally:
        folder.release_if_empty()


def _search(agent: OffPolicyAlgorithm, record: SearchRecord, folder: RunFolder) -> SearchResult:
    options, problem = record.options, record.problem
    tracker = Tracker(record, folder) if options.track else None
    if tracker is not None:
        print(f"Weights & Biases: {tracker.where}")
    recorder = SearchCallback(record, folder, tracker)
    callbacks: list[BaseCallback] = [recorder]
    if options.tolerance > 0:
        history = [episode.accuracy for episode in record.episodes]
        callbacks.append(EarlyTermination(options.window, options.tolerance, history))
    steps = (options.episodes - len(record.episodes)) * len(problem.layers)
    try:
        agent.learn(steps, callbacks, reset_num_timesteps=not record.episodes)
        result = recorder.save("finished", _test(record))
    except BaseException as error:
        recorder.close()
        if isinstance(error, KeyboardInterrupt) and record.best is not None:
            recorder.save("interrupted")
            print(f"the best so far is in {folder.path}; go on with --resume", file=sys.stderr)
        if tracker is not None:
            tracker.close(exit_code=1)
        raise
    if tracker is not None:
        tracker.finish(result, folder)
    return result


def _test(record: SearchRecord) -> tuple[float, float] | None:
    """Accuracy of the float network and of the best on the test images, if there are any."""
    problem = record.problem
    if problem.splits.test is None or record.best is None:
        return None
    print(f"measuring the best on {len(problem.splits.test):,} test images")
    float_test, best = problem.float_test, problem.test(record.best.bits)
    assert float_test is not None
    assert best is not None
    return float_test.accuracy, best.accuracy


def _is_finished(previous: SearchResult, options: Options) -> bool:
    return previous.status == "finished" and previous.options["episodes"] == options.episodes


def make_env(options: Options) -> tuple[gym.Env[Any, Any], float]:
    """The environment of these options, and the seconds that it took to make it."""
    keywords: dict[str, Any] = {
        "budget": options.budget,
        "quantizer": options.quantizer,
        "bias_correction": options.bias_correction,
        "images": options.images,
        "device": options.device,
        "progress": sys.stderr.isatty(),
    }
    own = spec_of(options.env_id).kwargs
    if isinstance(own.get("network", ""), str):  # a named network; one's own brings its data and weights along
        keywords |= {"data_root": options.data_root, "download": options.download, "weights": options.weights}
        if options.data != "auto" or "data" not in own:
            keywords["data"] = options.data
    start = time.monotonic()
    return gym.make(options.env_id, **keywords), time.monotonic() - start


def _check_same(previous: SearchResult, problem: QuantProblem, folder: RunFolder) -> None:
    if previous.data != problem.splits.name:
        raise AdrlGymError(
            f"{folder.path} was searched on {previous.data} images, not on {problem.splits.name} ones: "
            "give --data and --data-root as there, or choose another --output"
        )
    if previous.checkpoint != problem.checkpoint:
        raise AdrlGymError(
            f"{folder.path} was made with other weights of the network (hash {previous.checkpoint[:12]}, now "
            f"{problem.checkpoint[:12]}): give the same --weights, or choose another --output"
        )


def _report(result: SearchResult, folder: RunFolder) -> SearchResult:
    console = Console(highlight=False, soft_wrap=True)
    console.print(layer_table(result))
    console.print(totals(result))
    console.print(f"written to {folder.path}")
    return result
