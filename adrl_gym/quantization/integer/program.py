"""A network as a graph of PyTorch's own operators, in which tensors can be put on grids.

``torch.export`` traces more networks than ``torch.fx``, and its graph is what becomes the ONNX file.
"""

import logging
import warnings
from typing import Any, cast

import torch
from torch import Tensor, fx, nn
from torch.export import Dim, ExportedProgram, export

from adrl_gym.errors import AdrlGymError

aten = torch.ops.aten
_VIEWS = {aten.view.default, aten.reshape.default, aten.flatten.using_ints, aten.transpose.int, aten.permute.default}


def trace(network: nn.Module, images: Tensor) -> ExportedProgram:
    """Return the network's operators for any batch of images like ``(N, C, H, W)``; none of them writes in place.

    Raises:
        AdrlGymError: ``torch.export`` cannot trace it; gives its reason.
    """
    example = images[:1].expand(2, *images.shape[1:]).contiguous()  # (2, C, H, W): one image is taken for a fixed size
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = export(network, (example,), dynamic_shapes=({0: Dim("batch")},))
            return program if _without_writes(program) else program.run_decompositions({})
    except Exception as error:  # its exceptions have no base class of their own
        line = next(iter(str(error).splitlines()), type(error).__name__)
        raise AdrlGymError(
            f"{type(network).__name__} cannot run in integers: torch.export cannot trace it ({line}); export it "
            "without quantized activations"
        ) from error
    finally:
        logging.disable(before)


def _without_writes(program: ExportedProgram) -> bool:
    """Replace operators that write into their first argument; return False if that argument has other names.

    ``run_decompositions`` does the same for any graph, and takes a minute for a deep network.
    """
    order = {node: place for place, node in enumerate(program.graph.nodes)}
    for node in list(program.graph.nodes):
        if node.op != "call_function" or not isinstance(node.target, torch._ops.OpOverload):
            continue
        if not node.target._schema.is_mutable:
            continue
        fresh = _FRESH.get(node.target)
        written = source(node)
        if fresh is None or written.op != "call_function" or written.target in _VIEWS:
            return False
        if any(order[user] < order[node] and user.target in _VIEWS for user in written.users):
            return False
        node.target = fresh
        for user in [user for user in written.users if order.get(user, -1) > order[node]]:
            user.replace_input_with(written, node)
    program.graph.lint()
    program.graph_module.recompile()
    return True


_FRESH = {
    aten.relu_.default: aten.relu.default,
    aten.relu6_.default: aten.relu6.default,
    aten.hardtanh_.default: aten.hardtanh.default,
    aten.add_.Tensor: aten.add.Tensor,
    aten.mul_.Tensor: aten.mul.Tensor,
    aten.silu_.default: aten.silu.default,
    aten.hardswish_.default: aten.hardswish.default,
    aten.hardsigmoid_.default: aten.hardsigmoid.default,
    aten.leaky_relu_.default: aten.leaky_relu.default,
    aten.dropout_.default: aten.dropout.default,
}


def source(node: fx.Node, place: int = 0) -> fx.Node:
    """Return the node that is an operator's argument."""
    return cast("fx.Node", node.args[place])


class ProgramState:
    """Parameters and buffers of a program, by the graph's nodes.

    Attributes:
        program: changed in place.
    """

    def __init__(self, program: ExportedProgram) -> None:
        self.program = program
        signature = program.graph_signature
        self._names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}

    def name(self, node: object) -> str | None:
        """Return the name of the parameter or buffer that a node stands for."""
        return self._names.get(node.name) if isinstance(node, fx.Node) and node.op == "placeholder" else None

    def __getitem__(self, node: fx.Node) -> Tensor:
        name = self.name(node)
        assert name is not None
        return self.program.state_dict[name].detach()

    def put(self, node: fx.Node, value: Tensor) -> None:
        """Give a parameter or buffer another value."""
        name = self.name(node)
        assert name is not None
        old = self.program.state_dict[name]
        self.program.state_dict[name] = nn.Parameter(value, False) if isinstance(old, nn.Parameter) else value

    def inputs(self, images: Tensor) -> list[Any]:
        """Return what the graph takes: parameters, buffers and constants, and images ``(N, C, H, W)``."""
        constants = self.program.graph_signature.inputs_to_lifted_tensor_constants
        values = []
        for node in self.program.graph.nodes:
            if node.op == "placeholder":
                name = self._names.get(node.name)
                constant = constants.get(node.name) or name
                stored = self.program.state_dict if name in self.program.state_dict else self.program.constants
                values.append(images.clone() if constant is None else stored[constant])
        return values
