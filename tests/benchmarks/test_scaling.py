"""The simulation of many workers: cases small enough to count by hand."""

import importlib
from typing import Any

import pytest

pytestmark = pytest.mark.usefixtures("benchmark_scripts")


def scaling() -> Any:
    return importlib.import_module("benchmarks.cluster.scaling")


def test_a_sweep_gives_the_next_search_to_the_first_free_worker() -> None:
    sweep = scaling().sweep
    assert sweep([4.0, 3.0, 2.0, 1.0], 1, start=0.0, send=0.0).seconds == 10
    assert sweep([4.0, 3.0, 2.0, 1.0], 2, start=0.5, send=0.0).seconds == 5.5
    assert sweep([4.0, 3.0, 2.0, 1.0], 100, start=0.0, send=0.0).seconds == 4
    assert sweep([1.0] * 4, 4, start=0.0, send=0.25).seconds == 2  # the driver writes one result after the other


def test_finetuning_stays_in_one_process() -> None:
    finetuned, episodes = scaling().finetuned, scaling()._EPISODES
    alone = finetuned(8.0, 2.0, 1, start=0.0, call=0.0)
    many = finetuned(8.0, 2.0, 1000, start=0.0, call=0.0)
    assert alone.seconds == 10 * episodes
    assert many.seconds == pytest.approx((8 + 2 / scaling()._SLICES) * episodes)


def test_gradients_bound_the_search_on_resnet50() -> None:
    module = scaling()
    names = ("image_seconds", "quantization_seconds", "weight_bytes", "image_bytes")
    inputs = {f"resnet50_{name}": 0.0 for name in names} | {"ray_worker_start_seconds": 0.0, "ray_call_seconds": 0.0}
    inputs["resnet50_image_seconds"] = 1.0
    one, many = module.one_large_search(inputs, 1), module.one_large_search(inputs, 10**6)
    gradients = module._GRADIENT_IMAGES * module._GRADIENT_PASSES
    assert one.seconds == module._EVALUATIONS * module._IMAGES + gradients
    assert many.seconds == module._EVALUATIONS * module._SLICE + gradients
