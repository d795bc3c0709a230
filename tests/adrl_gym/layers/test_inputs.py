"""The grid of a layer's input, and the hook that quantizes it."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from adrl_gym.errors import AdrlGymError
from adrl_gym.layers import ActivationGrid
from adrl_gym.layers.inputs import input_grid, set_input_grid


def onnxruntime_results(x: Tensor, grid: ActivationGrid) -> tuple[np.ndarray, np.ndarray]:
    """Codes and values that onnxruntime's QuantizeLinear and DequantizeLinear make of ``x``, on 8 bits."""
    onnx, runtime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    helper, kinds = onnx.helper, onnx.TensorProto
    ends = [
        helper.make_tensor("scale", kinds.FLOAT, (), [grid.scale]),
        helper.make_tensor("zero", kinds.UINT8, (), [grid.zero_point]),
    ]
    graph = helper.make_graph(
        [
            helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
        ],
        "grid",
        [helper.make_tensor_value_info("x", kinds.FLOAT, [len(x)])],
        [helper.make_tensor_value_info(name, kind, None) for name, kind in (("q", kinds.UINT8), ("y", kinds.FLOAT))],
        ends,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    codes, values = session.run(["q", "y"], {"x": x.numpy()})
    return codes, values


@pytest.mark.parametrize(("scale", "zero_point"), [(0.017, 0), (0.25, 128), (3e-5, 255), (1.7e20, 13)])
def test_the_arithmetic_is_onnxruntimes(scale: float, zero_point: int) -> None:
    grid = ActivationGrid(8, scale, zero_point)
    generator = torch.Generator().manual_seed(0)
    halves = (torch.arange(-300, 300) + 0.5) * grid.scale  # (600,)
    x = torch.cat([halves, 200 * grid.scale * torch.randn(20_000, generator=generator)])  # (20600,)
    codes, values = onnxruntime_results(x, grid)
    assert torch.equal(grid.codes(x), torch.from_numpy(codes))
    assert torch.equal(grid.quantize(x), torch.from_numpy(values))


@pytest.mark.parametrize("bits", range(2, 9))
def test_values_on_the_grid_stay_and_others_go_to_the_nearest(bits: int) -> None:
    grid = ActivationGrid(bits, 0.3, 2**bits // 3)
    values = (torch.arange(2**bits) - grid.zero_point) * torch.tensor(grid.scale)  # (2 ** bits,)
    assert torch.equal(grid.quantize(values), values)
    assert torch.equal(grid.codes(values), torch.arange(2**bits, dtype=torch.uint8))
    x = torch.linspace(2 * float(values[0]) - 1, 2 * float(values[-1]) + 1, 1001)  # (1001,)
    nearest = values[(x[:, None] - values).abs().argmin(1)]  # (1001,)
    assert float((grid.quantize(x) - x).abs().sub((nearest - x).abs()).max()) < 1e-5


def test_gradients_pass_inside_the_range_alone() -> None:
    grid = ActivationGrid(4, 0.1, 5)  # from -0.5 to 1.0
    x = torch.tensor([-3.0, -0.52, 0.03, 0.98, 1.2], requires_grad=True)
    y = grid.quantize(x)
    y.backward(torch.full((5,), 2.0))
    assert torch.equal(y.detach(), grid.quantize(x.detach()))
    assert x.grad is not None
    assert x.grad.tolist() == [0, 2, 2, 2, 0]


def test_other_precisions_keep_their_type() -> None:
    x = torch.randn(50, generator=torch.Generator().manual_seed(0))
    grid = ActivationGrid(4, 0.25, 8)
    assert torch.equal(grid.quantize(x.bfloat16()), grid.quantize(x.bfloat16().float()).bfloat16())


@pytest.mark.parametrize(
    ("bits", "scale", "zero_point", "message"),
    [
        (1, 0.1, 0, "2 to 8 bits, got 1"),
        (9, 0.1, 0, "2 to 8 bits, got 9"),
        (True, 0.1, 0, "got True"),
        (4, 0.0, 0, "scale must be a positive"),
        (4, 1e-60, 0, "scale must be a positive"),
        (4, float("nan"), 0, "scale must be a positive"),
        (4, 0.1, 16, "zero_point must be an integer from 0 to 15, got 16"),
    ],
)
def test_impossible_grids_are_refused(bits: int, scale: float, zero_point: int, message: str) -> None:
    with pytest.raises(AdrlGymError, match=message):
        ActivationGrid(bits, scale, zero_point)


class Named(nn.Module):
    """Calls its layer by keyword."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fc(input=x)
        return y


@pytest.mark.parametrize("network", [nn.Sequential(nn.Linear(6, 3)), Named()])
def test_a_layer_computes_with_its_quantized_input(network: nn.Module) -> None:
    (layer,) = (module for module in network.modules() if isinstance(module, nn.Linear))
    x = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    grid = ActivationGrid(2, 0.7, 1)
    before = network(x)
    set_input_grid(layer, grid)
    for one in (network, copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert torch.equal(one(x), torch.nn.functional.linear(grid.quantize(x), layer.weight, layer.bias))
    assert input_grid(layer) == grid
    set_input_grid(layer, None)
    assert input_grid(layer) is None
    assert torch.equal(network(x), before)
    assert len(layer._forward_pre_hooks) == 1
