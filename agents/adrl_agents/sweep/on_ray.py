"""Searches of a sweep as tasks of Ray: results come back as files' contents, and are written here alone."""

import os
import shutil
import tempfile
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym

from adrl_agents.runs import package_versions
from adrl_agents.sweep.search_task import SearchTask, perform
from adrl_gym.cluster import RayConnection, UnfitWorkerError, check_nodes, check_same, import_ray, installed, last_line
from adrl_gym.envs import problem_of
from adrl_gym.errors import AdrlGymError
from adrl_gym.files import write_whole

RETRIES = 5  # of a search whose worker died
_POLL = 0.5  # seconds in which a Ctrl-C is answered


class Driver(NamedTuple):
    """Facts of the machine that asks, which a worker must share.

    Attributes:
        folder: working directory, from which paths in the options are taken.
        versions: of the packages.
        problem: name of the data, hash of the images, hash of the weights.
    """

    folder: str
    versions: dict[str, str]
    problem: tuple[str, str, str]

    @classmethod
    def here(cls, env: gym.Env[Any, Any]) -> "Driver":
        """Return the facts of this process, and of an environment in it."""
        return cls(str(Path.cwd()), {**package_versions(), **installed()}, _identity(env))


class Outcome(NamedTuple):
    """Answer of a worker.

    Attributes:
        files: relative path -> content, of the whole folder of the run.
        error: one line, if the search failed.
        unfit: whether the worker is to blame, so that other searches would fail there as well.
    """

    files: dict[str, bytes]
    error: str | None = None
    unfit: bool = False


def perform_on_ray(
    jobs: Sequence[tuple[SearchTask, Driver]], folder: Path, address: str, gpus: float = 0.0
) -> Generator[tuple[str, str | None], None, None]:
    """Run searches as tasks of Ray, each on one worker; yield the name of each, and what is wrong if it failed.

    A search whose worker dies is tried again elsewhere, from its beginning. Leaving this generator ends all tasks.

    Args:
        jobs: the searches, and the facts that a worker of each must share.
        folder: of the runs' folders, on this machine.
        address: see ``RayConnection``.
        gpus: of one search.

    Raises:
        AdrlGymError: no cluster, a worker with other versions or data, a folder that cannot be written.
    """
    with RayConnection(address) as connection:
        ray = connection.ray
        check_nodes(ray)
        remote = ray.remote(num_gpus=gpus, max_retries=RETRIES)(search_files)
        pending = {
            remote.options(name=task.name, num_cpus=task.threads).remote(task, driver): task for task, driver in jobs
        }
        try:
            while pending:
                done, _ = ray.wait(list(pending), num_returns=1, timeout=_POLL)
                for answer in done:
                    task = pending.pop(answer)
                    outcome = _outcome(ray, answer)
                    if outcome.unfit:
                        raise UnfitWorkerError(str(outcome.error))
                    if outcome.error is None:
                        _write_folder(folder / task.name, outcome.files)
                    yield task.name, outcome.error
        finally:
            for answer in pending:
                ray.cancel(answer, force=True)


def search_files(task: SearchTask, driver: Driver) -> Outcome:
    """Run one search in a folder of this machine's own and return the files."""
    host = str(import_ray().util.get_node_ip_address())
    if Path(driver.folder).is_dir():
        os.chdir(driver.folder)

    def check(env: gym.Env[Any, Any]) -> None:
        there = _identity(env)
        if there != driver.problem:
            names = ("data", "images of hash", "weights of hash")
            told = [
                f"{n} {a[:12]} (here {b[:12]})" for n, a, b in zip(names, there, driver.problem, strict=True) if a != b
            ]
            raise UnfitWorkerError(f"worker {host} has {', '.join(told)}: put the same files there, in the same place")

    with tempfile.TemporaryDirectory(prefix="adrl-gym-") as name:
        try:
            check_same({**package_versions(), **installed()}, driver.versions, host)
            perform(task, Path(name), check)
            return Outcome(_contents(Path(name) / task.name))
        except UnfitWorkerError as error:
            return Outcome({}, str(error), unfit=True)
        except (AdrlGymError, OSError) as error:
            return Outcome({}, f"{error} (on worker {host})")


def _outcome(ray: Any, answer: Any) -> Outcome:
    try:
        return ray.get(answer)
    except ray.exceptions.RayError as error:
        return Outcome({}, f"its worker died {RETRIES + 1} times, or broke ({last_line(error)})")


def _identity(env: gym.Env[Any, Any]) -> tuple[str, str, str]:
    problem = problem_of(env)
    return problem.splits.name, problem.images_hash, problem.checkpoint


def _contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


def _write_folder(path: Path, files: dict[str, bytes]) -> None:
    """Replace a folder by another one that is whole; raises ``AdrlGymError`` where it cannot be written."""
    part = path.with_name(f"{path.name}.part")
    try:
        shutil.rmtree(part, ignore_errors=True)
        for name, content in files.items():
            (part / name).parent.mkdir(parents=True, exist_ok=True)
            write_whole(part / name, content)
        if path.exists():  # of a search that was stopped here
            shutil.rmtree(path)
        part.rename(path)
    except OSError as error:
        raise AdrlGymError(f"cannot write {path}: {error.strerror}; free the disk or choose another folder") from error
