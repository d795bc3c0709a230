"""Problems, engines, calibration and gradients with quantized inputs of the layers."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from torch import Tensor, nn

from adrl_gym import AdrlGymError, QuantProblem
from adrl_gym.config import ProblemConfig
from adrl_gym.datasets import Splits
from adrl_gym.export import load_packed, read_packed, save_packed
from adrl_gym.layers import input_grids, own_params, quantizable
from adrl_gym.refit import refit
from adrl_gym.sensitivity import GradientSensitivity, measure_sensitivity
from trainable import Normed, labelled, smooth


class Depends(Normed):
    """The same, in a way that no trace can follow."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x if bool(x.isfinite().all()) else 0 * x)


def made(kind: type[Normed] = Normed) -> nn.Module:
    torch.manual_seed(0)
    network = kind()
    with torch.no_grad():
        network.train()(smooth(200, 9))
        network.fc.weight.mul_(5)
    return network.eval()


def problem(network: nn.Module, **changes: Any) -> QuantProblem:
    splits = Splits(labelled(network, smooth(200, 1)), labelled(network, smooth(200, 2)), "random")
    return QuantProblem(network, splits, **{"budget": 1.0, **changes})


def by_hand(quantized: QuantProblem, bits: tuple[int | None, ...], x: Tensor) -> Tensor:
    """Logits ``(B, K)`` of a configuration, layer after layer; the network is that of ``made``."""
    network: Any = quantized.network
    grids = input_grids(quantized.calibrated)
    params = [
        own_params(quantizable(network, layer)) if b is None else quantized.quantized_params(index, b)
        for index, (layer, b) in enumerate(zip(quantized.layers, bits, strict=True))
    ]

    def put(x: Tensor, layer: int) -> Tensor:
        return x if bits[layer] is None else grids[quantized.layers[layer].name].quantize(x)

    with torch.no_grad():
        x = F.conv2d(put(x, 0), params[0].weight, params[0].bias, stride=2, padding=1)  # (B, 8, 4, 4)
        x = network.norm(x).relu()
        left = F.conv2d(put(x, 1), params[1].weight, params[1].bias)  # (B, 8, 4, 4)
        right = F.conv2d(put(x.flip(1), 1), params[1].weight, network.right.bias)  # (B, 8, 4, 4)
        return F.linear(put((left.relu() + right).flatten(1), 2), params[2].weight, params[2].bias)  # (B, K)


@pytest.mark.parametrize("bits", [(8, 8, 8), (4, None, 3), (None, 5, None), (None, None, None)])
@pytest.mark.parametrize("traced", [True, False])
def test_quantized_layers_read_quantized_inputs(bits: tuple[int | None, ...], traced: bool) -> None:
    if traced:
        quantized = problem(made(), activations=4)
    else:
        with pytest.warns(UserWarning, match="cannot partition"):
            quantized = problem(made(Depends), activations=4)
    images = quantized.splits.search.images
    logits = by_hand(quantized, bits, images)
    expected = by_hand(quantized, (None, None, None), images)
    kl = F.kl_div(logits.log_softmax(1), expected.softmax(1), reduction="batchmean")
    # A few inputs may lie so near the middle of two values that memory formats decide.
    assert quantized.evaluate(bits).kl == pytest.approx(float(kl), rel=0.02, abs=1e-6)


def test_float_activations_are_as_before_bit_for_bit() -> None:
    network = made()
    default, eight = problem(network), problem(network, activations=8)
    assert default.calibrated is default.network
    assert not any(module._forward_pre_hooks for module in default.network.modules())
    assert not any(module._forward_pre_hooks for module in network.modules()), "the user's network is left alone"
    assert default.identity != eight.identity
    assert problem(network, activations=8, activation_range="minmax").identity != eight.identity
    assert default.float_search == eight.float_search
    assert default.quantized((4, 4, 4)).input_grids == {}


def test_copies_compute_with_quantized_inputs_too() -> None:
    quantized = problem(made(), activations=3)
    copied = quantized.quantized((4, 4, 4))
    assert set(copied.input_grids) == {"conv", "left", "right", "fc"}
    assert copied.input_grids["conv"].bits == 8  # it reads the images
    assert copied.input_grids["left"] == copied.input_grids["right"]
    assert copied.input_grids["fc"].bits == 3
    images = quantized.splits.search.images
    torch.testing.assert_close(copied(images), by_hand(quantized, (4, 4, 4), images))
    assert quantized.measure(copied).accuracy == pytest.approx(quantized.evaluate((4, 4, 4)).accuracy, abs=1)
    assert quantized.measure(copied, "test") == quantized.measure(copy.deepcopy(copied.network), "test")


def test_refit_makes_up_for_quantized_inputs() -> None:
    quantized = problem(made(), activations=3, quantizer="linear")
    direct, refitted = quantized.quantized((5, 5, 5)), refit(quantized, (5, 5, 5))
    assert refitted.input_grids == direct.input_grids
    errors = [quantized.measure(network, "test").kl for network in (direct, refitted)]
    assert errors[1] < 0.9 * errors[0]
    again = problem(made(), activations=3, quantizer="linear", calibration="sequential")
    assert again.evaluate((5, 5, 5)) == quantized.measure(refitted)


def test_sensitivity_from_gradients_knows_quantized_inputs() -> None:
    # At 8 bits of weights nearly all of the error is that of the 3-bit inputs.
    quantized, weights_alone = problem(made(), activations=3), problem(made())
    measured = measure_sensitivity(quantized, "kl", 200)[:, -1]  # (n,)
    expanded = [GradientSensitivity(p, 200).expand((None,) * 3).costs()[:, -1] for p in (quantized, weights_alone)]
    assert (expanded[1][1:] < 0.1 * expanded[0][1:]).all()
    assert expanded[0] == pytest.approx(measured, rel=0.5)


@pytest.mark.parametrize(("value", "message"), [(1, "2 to 8 bits, got 1"), ("8", "2 to 8 bits, got '8'")])
def test_other_bits_of_activations_are_refused(value: Any, message: str) -> None:
    with pytest.raises(AdrlGymError, match=message):
        ProblemConfig(activations=value)
    with pytest.raises(AdrlGymError, match="unknown activation_range 'best'"):
        ProblemConfig(activation_range="best")  # type: ignore[arg-type]


def test_packed_files_hold_the_grids(tmp_path: Path) -> None:
    quantized = problem(made(), activations=4).quantized((4, 4, 4))
    save_packed(tmp_path / "file", quantized)
    assert read_packed(tmp_path / "file").grids == quantized.input_grids
    loaded = load_packed(tmp_path / "file", made())
    assert input_grids(loaded) == quantized.input_grids
    images = smooth(20, 5)
    assert torch.equal(loaded(images), quantized(images))
    save_packed(tmp_path / "plain", problem(made()).quantized((4, 4, 4)))
    with safe_open(tmp_path / "plain", "pt") as file:
        metadata = json.loads(file.metadata()["adrl_gym"])
    assert metadata["version"] == 3
    assert "inputs" not in metadata


def test_costs_count_the_bits_of_activations() -> None:
    network = made()
    floats, quantized = (problem(network, budget={"bitops": 0.5}, activations=bits) for bits in ("float", 4))
    macs = [layer.macs for layer in floats.layers]
    expected = 4 * (8 * macs[0] + 4 * macs[1] + 4 * macs[2]) / (32 * 32 * sum(macs))
    found = [one.limits.ratios((4, 4, 4))["bitops"] for one in (floats, quantized)]
    assert found == pytest.approx([4 / 32, expected])
