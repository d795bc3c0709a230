"""Comparison of onnxruntime with the simulation of an integer network: predictions, or operator by operator.

Values between two of a grid may be rounded to either. Most networks damp such differences. A network that amplifies
them predicts otherwise in any other correct arithmetic: with random weights, one integer in 100,000 that differs after
MobileNetV2's second layer makes 95 of 100 differ in its last. There, each operator is compared on the same inputs.
"""

import copy
import warnings
from typing import Any

import torch
from torch import Tensor, fx

from adrl_gym.errors import AdrlGymError
from adrl_gym.export.extras import import_extra
from adrl_gym.export.onnx_trace import run_model, run_outputs
from adrl_gym.outputs import by_position
from adrl_gym.quantization import ON_GRID, IntegerNetwork

_EQUAL = 0.9  # of the predictions at least
_ROUNDED = 0.01  # of an operator's integers at most are rounded otherwise, to the next one
_BATCH = 10  # images whose integers are held at a time


def check_integers(model: Any, network: IntegerNetwork, images: Tensor) -> None:
    """Compare a model with the network that it was made of.

    Where onnxruntime predicts more than a tenth of the images otherwise, each operator must compute the same from the
    same integers, up to rounding. If it does, a ``UserWarning`` says that the network amplifies rounding.

    Args:
        model: in ONNX.
        network: the same in PyTorch.
        images: float32 ``(N, C, H, W)``.

    Raises:
        AdrlGymError: other predictions, and an operator that computes otherwise; names it.
    """
    logits = run_model(model.SerializeToString(), images)  # (N, K)
    with torch.inference_mode():
        expected = network.module()(images.clone())  # (N, K)
    equal = _equal_share(logits, expected)
    if equal >= _EQUAL:
        return
    differing = f"onnxruntime predicts {100 * (1 - equal):.1f} % of {len(images)} images otherwise than PyTorch"
    wrong = _first_difference(model, network, images)
    if wrong is not None:
        raise AdrlGymError(
            f"{differing} with the same grids, from {wrong} on, so nothing was written: export without quantized "
            "activations, and report this network"
        )
    warnings.warn(
        f"{differing}, though every operator computes the same from the same integers: this network amplifies "
        "differences in rounding, as with random weights",
        stacklevel=3,
    )


def _equal_share(logits: Tensor, expected: Tensor) -> float:
    """Return the share of equal predictions of two logits ``(N, K)``."""
    same = by_position(logits).argmax(2) == by_position(expected).argmax(2)  # (N, P)
    return float(same.double().mean())


class _Follower(fx.Interpreter):
    """Run of the network that compares each tensor on a grid with given integers, and goes on with those."""

    def __init__(self, network: IntegerNetwork) -> None:
        super().__init__(network.module())
        self.integers: dict[str, Tensor] = {}  # node -> uint8, of its shape
        self.wrong: str | None = None

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        given = self.integers.get(n.name)
        if n.target is not ON_GRID or given is None:
            return value
        _, scale, zero_point = self.fetch_args_kwargs_from_env(n)[0]
        own = (value / scale).round() + zero_point  # (N, ...)
        steps = (own - given.view(own.shape)).abs()  # (N, ...)
        if self.wrong is None and (steps.max() > 1 or float((steps > 0).double().mean()) > _ROUNDED):
            self.wrong = str(n.all_input_nodes[0])
        return scale * (given.view(own.shape).to(value.dtype) - zero_point)


@torch.no_grad()
def _first_difference(model: Any, network: IntegerNetwork, images: Tensor) -> str | None:
    """Return the name of the first tensor that onnxruntime computes otherwise from the same inputs."""
    helper, kinds = import_extra("onnx").helper, import_extra("onnx").TensorProto
    follower = _Follower(network)
    grids = [n.name for n in follower.graph.nodes if n.target is ON_GRID]
    names = {"_".join(["on_grid", *([str(place)] if place else [])]): grid for place, grid in enumerate(grids)}
    model = copy.deepcopy(model)
    tensors = {  # PyTorch's exporter counts the grids in their order
        names[node.output[0]]: node.input[0]
        for node in model.graph.node
        if node.op_type == "DequantizeLinear" and node.output[0] in names
    }
    for name in dict.fromkeys(tensors.values()):
        model.graph.output.append(helper.make_tensor_value_info(name, kinds.UINT8, None))
    content = model.SerializeToString()
    for batch in images.split(_BATCH):
        logits, *integers = run_outputs(content, batch, ["logits", *tensors.values()])
        follower.integers = dict(zip(tensors, integers, strict=True))
        expected = follower.run(batch.clone())  # (N, K)
        if follower.wrong is None and _equal_share(logits, expected) < _EQUAL:
            follower.wrong = "logits"
    return follower.wrong
