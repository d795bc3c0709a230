"""Ray clusters: connect to one or start one here, and check that its nodes have the same program."""

import hashlib
import os
import platform
import site
import socket
import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from torch import nn
from typing_extensions import Self

from adrl_gym.errors import AdrlGymError

LOCAL = "local"
SECONDS = 10.0  # that a cluster may take to answer
_PACKAGES = "adrl-gym", "torch", "numpy"  # numbers hang on these


class UnfitWorkerError(AdrlGymError):
    """A worker has another program or other data than this machine, so its numbers would be others."""


class RayConnection:
    """Connection to a Ray cluster; a context manager. A cluster that it starts on this machine ends with it.

    A process that is connected already stays so. Usage statistics are off, and nothing of the working directory is sent
    to the workers. Workers' output stays in Ray's logs.

    Args:
        address: ``local`` for this machine's processors, ``auto``, ``HOST:PORT`` of a cluster that this machine is a
            node of, or ``ray://HOST:PORT`` from outside.
        cores: CPUs of a local cluster, by default those that this process may use.

    Attributes:
        ray: the module.

    Raises:
        AdrlGymError: Ray is not installed, or there is no cluster of the same versions at the address.
    """

    def __init__(self, address: str, cores: int | None = None) -> None:
        self.ray = import_ray()
        self._own = not self.ray.is_initialized()
        if not self._own:
            return
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if address == LOCAL:
            cores = cores or len(os.sched_getaffinity(0))
            options |= {"num_cpus": cores, "include_dashboard": False}
        else:
            _check_reachable(address)
        try:
            self.ray.init(address=address, **options)
        except (OSError, RuntimeError, ValueError) as error:
            raise _no_cluster(address, str(error)) from error

    def close(self) -> None:
        """Leave the cluster, and end it if it was started here."""
        if self._own:
            self.ray.shutdown()
            self._own = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def import_ray() -> Any:
    """Return the module ``ray`` with its usage statistics switched off; raises ``AdrlGymError`` without it."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray's behaviour of tomorrow, and no warning of it: a task without GPUs sees the devices all the same.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        return import_module("ray")
    except ImportError as error:
        raise AdrlGymError(
            'Ray is not installed: pip install "adrl-gym[ray]", or leave it out and run in this process',
            parameter=("ray", "workers"),
        ) from error


def check_nodes(ray: Any) -> None:
    """Refuse a cluster of which a node has another program; a node that is lost meanwhile runs none.

    Raises:
        UnfitWorkerError: names the node and what differs there.
    """
    affinity = import_module("ray.util.scheduling_strategies").NodeAffinitySchedulingStrategy
    there = ray.remote(num_cpus=0, max_retries=0)(installed)
    asked = {
        node["NodeManagerAddress"]: there.options(scheduling_strategy=affinity(node["NodeID"], soft=False)).remote()
        for node in ray.nodes()
        if node["Alive"] and node["Resources"].get("CPU")  # a head without any runs no task
    }
    for host, answer in asked.items():
        found = _answered(ray, answer, host)
        if found is not None:
            check_same(found, installed(), host)


def _answered(ray: Any, answer: Any, host: str) -> dict[str, str] | None:
    lost = ray.exceptions.TaskUnschedulableError, ray.exceptions.NodeDiedError
    try:
        return cast("dict[str, str]", ray.get(answer))
    except lost:
        return None
    except ray.exceptions.RayError as error:
        raise UnfitWorkerError(
            f"worker {host} cannot run adrl-gym ({last_line(error)}): install the same version there"
        ) from error


def check_same(there: dict[str, str], here: dict[str, str], host: str) -> None:
    """Refuse a worker that has other versions than this machine; raises ``UnfitWorkerError``."""
    differing = [f"{name} {there.get(name)} (here {value})" for name, value in here.items() if there.get(name) != value]
    if differing:
        raise UnfitWorkerError(f"worker {host} has {', '.join(differing)}: install the same versions on all nodes")


def installed() -> dict[str, str]:
    """Return the versions of everything that numbers hang on, and the hash of this package's program."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    versions = {name: version(name) for name in _PACKAGES}
    return {"python": platform.python_version(), **versions, "program": digest.hexdigest()[:12]}


def _check_reachable(address: str) -> None:
    """Raise ``AdrlGymError`` where nothing listens: Ray would try for a minute, and say it in many lines."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if address == "auto":
        return
    if not host or not port.isdigit():
        raise AdrlGymError(
            f"{address} is no address of a cluster: give local, auto, HOST:PORT, or ray://HOST:PORT",
            parameter=("ray", "workers"),
        )
    try:
        socket.create_connection((host, int(port)), SECONDS).close()
    except (OSError, OverflowError) as error:
        raise _no_cluster(address, str(error)) from error


def _no_cluster(address: str, reason: str) -> AdrlGymError:
    where = "Ray cannot start on this machine" if address == LOCAL else f"there is no Ray cluster at {address}"
    remedy = "free memory and /dev/shm" if address == LOCAL else "begin one with the command ray start, or give local"
    return AdrlGymError(f"{where} ({' '.join(reason.split())[:200]}): {remedy}", parameter=("ray", "workers"))


def last_line(error: BaseException) -> str:
    """Return what a remote traceback ends with, which names the cause."""
    return str(error).strip().splitlines()[-1][:200]


def by_value(ray: Any, value: nn.Module) -> bytes:
    """Return a network pickled together with the classes of modules that are not installed, such as a user's file."""
    names = {type(module).__module__ for module in value.modules()}
    own = [sys.modules[name] for name in sorted(names) if name in sys.modules and not _is_installed(sys.modules[name])]
    for module in own:
        ray.cloudpickle.register_pickle_by_value(module)
    try:
        return ray.cloudpickle.dumps(value)
    finally:
        for module in own:
            ray.cloudpickle.unregister_pickle_by_value(module)


def _is_installed(module: ModuleType) -> bool:
    file = getattr(module, "__file__", None)
    places = (*site.getsitepackages(), site.getusersitepackages(), str(Path(__file__).parent))
    return file is None or file.startswith(places)
