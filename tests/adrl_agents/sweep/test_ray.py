"""Sweeps and searches on a Ray cluster of two nodes, one of which is killed."""

import dataclasses
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from adrl_agents.runs import Row, read_rows
from adrl_agents.sweep import SweepOptions, on_ray, run, run_sweep
from adrl_gym import AdrlGymError
from adrl_gym.cluster import UnfitWorkerError, import_ray, installed
from adrl_gym.evaluation import RayEngine
from adrl_gym.evaluation.engine import Engine
from adrl_gym.layers import find_layers
from adrl_gym.quantization.layerwise import quantize_layers
from compared import CPU, images
from sweeps import without_times

pytest.importorskip("ray", reason='needs Ray: pip install "adrl-gym[ray]"')
pytestmark = [
    pytest.mark.usefixtures("plain"),
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning", "ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
Swept = tuple[SweepOptions, list[Row]]


@pytest.fixture(scope="module")
def cluster(plain: None) -> Iterator[Any]:
    """A cluster of two nodes of one CPU, which this process is connected to; Ray starts once for all tests."""
    ray = import_ray()
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TINY_SECONDS", "0.02")  # so that a search takes long enough to be interrupted
        patch.setenv("RAY_worker_niceness", str(os.nice(0)))  # Ray's 15 starves them where other tests run
        there = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        there.add_node(num_cpus=1)
        ray.init(address=there.address, log_to_driver=False, logging_level="ERROR")
        yield there
        ray.shutdown()
        there.shutdown()


def test_actors_measure_what_one_process_measures(cluster: Any, tiny: nn.Module) -> None:
    data = images(170)  # 4 slices, the last one smaller
    layers = find_layers(tiny, (3, 8, 8))
    params = quantize_layers(tiny, layers, data.images, quantizer="linear", bits=(2, 4, 8), bias_correction=True)
    one = Engine(tiny, layers, params, data, [CPU], activation_memory=1 << 20)
    many = RayEngine(tiny, layers, params, data, 2, activation_memory=1 << 20)
    asked: list[list[Any]] = [[(2, 2, 4, 4), (2, 2, 8, 8), (None, 2, 4, 4)], [(2, 4, 4, 4)], [(None,) * 4]]
    for configurations in asked:
        for slices in ([0, 1, 2, 3], [3], [1, 2]):
            pairs = zip(one.measure(configurations, slices), many.measure(configurations, slices), strict=True)
            for mine, theirs in pairs:
                for expected, found in zip(mine, theirs, strict=True):
                    for field in ("wrong", "disagreeing", "kl", "loss"):
                        assert np.array_equal(getattr(expected, field), getattr(found, field), equal_nan=True)
        assert many.passes == one.passes
    bits = (4, 2, 8, 2)
    assert torch.equal(one.search_logits([bits]), many.search_logits([bits]))
    assert torch.equal(one.logits(images(901), bits), many.logits(images(901), bits))
    import_ray().kill(many._actors[1], no_restart=False)  # it is started again, and what it was asked is asked again
    (again,) = many.measure([(8, 8, 8, 8)], [0, 1, 2, 3])
    (expected_again,) = one.measure([(8, 8, 8, 8)], [0, 1, 2, 3])
    assert [metrics.metrics() for metrics in again] == [metrics.metrics() for metrics in expected_again]
    many.close()


def test_a_worker_with_other_images_is_refused_and_the_rest_is_ended(
    cluster: Any, serial: Swept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = dataclasses.replace(serial[0], agents=("haq",), ray="local", output=tmp_path / "sweep")
    identity = ("own", "0" * 64, "1" * 64)
    monkeypatch.setattr(on_ray, "_identity", lambda _: identity)  # of this process
    with pytest.raises(UnfitWorkerError, match=r"worker .* has images of hash a66b.* \(here 0000.*put the same files"):
        run_sweep(options)
    assert not (options.folder / "sweep.csv").exists()


def test_a_sweep_outlives_a_node_and_equals_the_serial_one(
    cluster: Any, serial: Swept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options, rows = serial
    on_cluster = dataclasses.replace(options, ray="local", output=tmp_path / "sweep")
    write, nodes = run._write_table, list(cluster.worker_nodes)

    def write_and_kill(*arguments: Any) -> Any:
        while nodes:
            cluster.remove_node(nodes.pop(), allow_graceful=False)
        return write(*arguments)

    monkeypatch.setattr(run, "_write_table", write_and_kill)
    assert without_times(run_sweep(on_cluster)) == without_times(rows)
    end = time.monotonic() + 60  # the cluster notices a lost node some seconds later
    while len([node for node in import_ray().nodes() if node["Alive"]]) > 1:
        assert time.monotonic() < end
        time.sleep(0.5)
    names = {row["run"] for row in rows}
    assert {path.name for path in on_cluster.folder.iterdir()} == {*names, "sweep.csv", "pareto.png"}
    for row in rows:
        here, there = (of.folder / row["run"] for of in (options, on_cluster))
        assert {path.name for path in here.iterdir()} == {path.name for path in there.iterdir()}


def test_ctrl_c_ends_all_tasks(cluster: Any, serial: Swept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = dataclasses.replace(serial[0], agents=("uniform", "random"), ray="local", output=tmp_path / "sweep")

    def press() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("adrl_agents.interrupts.raise_if_pressed", press)  # after the first search
    ray = import_ray()
    with pytest.raises(KeyboardInterrupt):
        run_sweep(options)
    assert len(read_rows(options.folder / "sweep.csv")) == 1
    assert ray.get(ray.remote(num_cpus=1)(installed).remote(), timeout=60) == installed()  # the CPU is free again


def test_no_ray_and_no_cluster_are_told_with_the_remedy(
    plain: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from adrl_agents.cli import run as run_command

    given = ["--env-id", "tiny_env:Tiny-v0", "--images", "40", "--output", str(tmp_path / "sweep")]
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    assert run_command("sweep", [*given, "--ray", "127.0.0.1:1"]) == 2
    told = capsys.readouterr().err
    assert "there is no Ray cluster at 127.0.0.1:1" in told
    assert "ray start" in told
    assert run_command("sweep", [*given, "--ray", "there"]) == 2
    assert "there is no address of a cluster" in capsys.readouterr().err
    monkeypatch.setattr("adrl_gym.cluster.import_module", missing)
    assert run_command("sweep", [*given, "--ray", "local"]) == 2
    assert 'Ray is not installed: pip install "adrl-gym[ray]"' in capsys.readouterr().err
    assert run_command("search", ["--method", "uniform", *given, "--workers", "2"]) == 2
    assert "Ray is not installed" in capsys.readouterr().err
    assert run_command("search", ["--method", "uniform", *given, "--workers", "0"]) == 2
    assert "workers must be a number from 1 or ray:ADDRESS, got 0" in capsys.readouterr().err
    assert not (tmp_path / "sweep").exists()


def missing(name: str) -> Any:
    raise ImportError(name)


def test_workers_are_refused_with_a_gpu_or_a_lower_precision(tiny: nn.Module) -> None:
    data, layers = images(50), find_layers(tiny, (3, 8, 8))
    with pytest.raises(AdrlGymError, match="workers compute in float32, got the precision bfloat16"):
        RayEngine(tiny, layers, [], data, 2, precision="bfloat16")
    with pytest.raises(AdrlGymError, match="workers run on CPUs, got the device cuda"):
        RayEngine(tiny, layers, [], data, 2, [torch.device("cuda")])
