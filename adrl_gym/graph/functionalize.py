"""Take the in-place operations out of a traced network: activations that are kept must stay as they are."""

import inspect
import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn

_OPERATORS = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and_", "or_", "xor")
# Of operators that write into what they are applied to, those that do not.
TWINS: dict[Any, Callable[..., Any]] = {
    getattr(operator, f"i{name.rstrip('_')}"): getattr(operator, name) for name in _OPERATORS
}


class TraceError(Exception):
    """The network does not let itself be cut; the message says why."""


def functionalize(traced: fx.GraphModule) -> None:
    """Let every operation leave its input as it is, and whatever was to read the input afterwards read its result.

    What else may show the same memory, as a view or another name, is not looked for.

    Raises:
        TraceError: an operation that has no such twin.
    """
    place = {node: number for number, node in enumerate(traced.graph.nodes)}
    for node in traced.graph.nodes:
        if _end_of_node(node, traced):
            written = node.args[0] if node.args else node.kwargs.get("input")
            if isinstance(written, fx.Node):
                _read_instead(written, node, place)
    for module in traced.modules():
        if getattr(module, "inplace", False):
            module.inplace = False  # type: ignore[assignment]
    traced.recompile()


def _read_instead(written: fx.Node, result: fx.Node, place: dict[fx.Node, int]) -> None:
    written.replace_all_uses_with(result, delete_user_cb=lambda user: place[user] > place[result])


def _end_of_node(node: fx.Node, traced: fx.GraphModule) -> bool:
    """Return whether it wrote into its input; it does no more, or will not once all modules are told not to."""
    if node.op == "call_module":
        return bool(getattr(traced.get_submodule(str(node.target)), "inplace", False))
    if node.op == "call_method" and _ends_in_place(str(node.target)):
        _twin(str(node.target), Tensor)
        node.target = str(node.target).rstrip("_")
        return True
    if node.op != "call_function":
        return False
    if node.target is operator.setitem:
        raise TraceError("it writes into a part of a tensor")
    node.target = TWINS.get(node.target, node.target)  # of numbers too, which never change: nothing else reads them
    name = getattr(node.target, "__name__", "")
    if _ends_in_place(name):
        node.target = _twin(name, torch, nn.functional)
        return True
    return _unset_inplace(node)


def _ends_in_place(name: str) -> bool:
    return name.endswith("_") and not name.endswith("__")


def _twin(name: str, *places: Any) -> Any:
    """Return a function that does the same as ``name`` and leaves its input as it is."""
    found = next((getattr(place, name.rstrip("_")) for place in places if hasattr(place, name.rstrip("_"))), None)
    if found is None:
        raise TraceError(f"{name} has no twin that leaves its input as it is")
    return found


def _unset_inplace(node: fx.Node) -> bool:
    """Return whether the function's argument ``inplace`` was set, and unset it."""
    try:
        bound = inspect.signature(node.target).bind(*node.args, **node.kwargs)  # type: ignore[arg-type]
    except (TypeError, ValueError):  # a builtin without a signature; those have no such argument
        return False
    if not bound.arguments.get("inplace"):
        return False
    bound.arguments["inplace"] = False
    node.args, node.kwargs = bound.args, bound.kwargs
    return True
