"""Lookup tables of this machine's latency."""

import dataclasses
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from torch import nn

from adrl_gym import AdrlGymError, QuantProblem
from adrl_gym.costs import CostTable
from adrl_gym.datasets import own_splits
from adrl_gym.export import LayerSpeedOptions, build_table, layer_speed
from adrl_gym.export.layer_graphs import layer_model
from adrl_gym.export.layer_speed import measure_layers, widths_measured
from adrl_gym.files import write_whole
from adrl_gym.layers import LayerSpec, find_layers

Batches = list[tuple[torch.Tensor, torch.Tensor]]
QUICK = LayerSpeedOptions(rounds=2, runs=2)


class Padded(nn.Module):
    """Convolutions of all kinds of padding and stride, a sequence, and one layer twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, stride=2, padding=1, dilation=2)
        self.depthwise = nn.Conv2d(8, 8, 5, padding="same", groups=8)
        self.again = nn.Conv2d(8, 8, 5, padding="same", groups=8)
        self.line = nn.Conv1d(8, 4, 3)
        self.head = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.again(self.depthwise(self.first(x))).flatten(2)  # (B, 8, L)
        return self.head(self.line(x).transpose(1, 2)).mean(1)  # (B, 3)


def test_each_distinct_layer_is_measured_at_each_width_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network, file = Padded().eval(), tmp_path / "table.csv"
    layers = find_layers(network, (3, 12, 12))
    table = build_table(network, layers, file, QUICK)
    assert CostTable.load(file).to_csv() == table.to_csv()
    signatures = list(dict.fromkeys(layer.signature for layer in layers))
    assert len(signatures) == 4
    assert [row.key for row in table.rows] == [
        (signature, b, 32 if b == 32 else 8) for signature in signatures for b in widths_measured()
    ]
    assert all(row.milliseconds > 0 for row in table.rows)
    assert "onnxruntime" in table.rows[0].runtime
    reals = {row.layer: row.milliseconds for row in table.rows if row.weight_bits == 32}
    whole = sum(reals[layer.signature] for layer in layers)
    assert table.milliseconds(layers, None) == pytest.approx(whole, abs=1e-5)
    monkeypatch.setattr("adrl_gym.export.latency_table.measure_layers", None)
    assert build_table(network, layers, file, QUICK).to_csv() == table.to_csv()  # nothing is measured again
    changes: list[dict[str, Any]] = [{"processor": "another"}, {"runtime": "onnxruntime 1.0, 1 thread"}]
    for change in changes:
        rows = tuple(dataclasses.replace(row, **change) for row in table.rows)
        write_whole(file, CostTable(rows).to_csv().encode())
        with pytest.raises(AdrlGymError, match="measurements of two machines do not belong into one table"):
            build_table(network, layers, file, QUICK)


def test_a_latency_budget_follows_the_table(tiny: nn.Module, batches: Batches, tmp_path: Path) -> None:
    file, splits = tmp_path / "table.csv", own_splits(batches, 20)
    layers = find_layers(tiny, tuple(splits.search.images.shape[1:]))
    table = build_table(tiny, layers, file, QUICK)
    for activations, bits in ((32, 1.0), (8, None)):
        smallest = table.milliseconds(layers, [1] * 4, activations) / table.milliseconds(layers, None)
        assert bits is None or smallest == bits
        setting = "float" if activations == 32 else 8
        made: dict[str, Any] = {"quantizer": "linear", "cost_table": file, "activations": setting}
        problem = QuantProblem(tiny, splits, budget={"latency": smallest + 1e-6}, **made)
        assert problem.cost_ratios((1,) * 4)["latency"] == pytest.approx(smallest)
        with pytest.raises(AdrlGymError, match="times the float network's latency: the smallest possible is"):
            QuantProblem(tiny, splits, budget={"latency": 0.9 * smallest}, **made)


def test_layers_that_are_not_measured_are_named() -> None:
    network = nn.Sequential(nn.ConvTranspose2d(3, 4, 2), nn.Flatten(), nn.Linear(36, 2)).eval()
    layers = find_layers(network, (3, 2, 2))
    with pytest.raises(AdrlGymError, match=r"0 is a ConvTranspose2d, and only convolutions .* by hand"):
        measure_layers(network, layers, QUICK)


def test_the_processor_has_a_name(tmp_path: Path) -> None:
    assert layer_speed.processor_name().strip()


def test_float_layers_are_measured_with_the_clamp_that_follows_them(monkeypatch: pytest.MonkeyPatch) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU6(), nn.Conv2d(4, 4, 3), nn.ReLU()).eval()
    models: dict[str, onnx.ModelProto] = {}

    def keep(layer: LayerSpec, module: nn.Module, bits: int, clamped: bool) -> bytes:
        content = layer_model(layer, module, bits, clamped)
        models.setdefault(f"{layer.name} {bits}", onnx.load_from_string(content))
        return content

    monkeypatch.setattr(layer_speed, "layer_model", keep)
    rows = measure_layers(network, find_layers(network, (3, 6, 6)), QUICK)
    assert all(row.milliseconds > 0 for row in rows)
    last = {name: model.graph.node[-1].op_type for name, model in models.items() if name.endswith("32")}
    assert last == {"0 32": "Clip", "2 32": "Relu"}
