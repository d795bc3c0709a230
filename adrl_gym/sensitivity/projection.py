"""Inner products of the layers' output errors with gradients: one network copy, one slice of images."""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from adrl_gym.bits import Bits
from adrl_gym.errors import AdrlGymError
from adrl_gym.graph import placed, to_layout
from adrl_gym.layers import (
    Quantizable,
    QuantizedParams,
    input_quantizer,
    is_quantizable,
    layer_input,
    load_quantized,
    own_params,
    quantizable,
    share_input_quantizer,
)
from adrl_gym.problem import QuantProblem


class NotDifferentiableError(AdrlGymError):
    """Autograd cannot follow the network from its layers to its logits."""


class _Call(NamedTuple):
    """One use of a layer's weights in a forward pass."""

    layer: int
    module: Quantizable
    x: Tensor
    output: Tensor


class Projector:
    """One copy of a problem's network on one device, used by one thread at a time.

    Hooks keep every layer's input, and its output as a node of autograd's graph, also where nothing before it asks for
    a gradient (token ids cannot). The network computes on with a copy of the output, since it may write into it.

    Args:
        problem: whose network and quantized weights.
        device: where it runs.
        layout: of images and weights.
    """

    def __init__(self, problem: QuantProblem, device: torch.device, layout: torch.memory_format) -> None:
        network = copy.deepcopy(problem.network).requires_grad_(False).to(device)
        self._network, self._device, self._layout = to_layout(network, layout), device, layout
        self._problem = problem
        self._modules = [quantizable(network, layer) for layer in problem.layers]
        self._float = [own_params(module) for module in self._modules]
        self._layer_of = {id(module.weight): layer for layer, module in enumerate(self._modules)}
        self._calls: list[_Call] | None = None  # None: not listening
        self._inputs: dict[nn.Module, Tensor] = {}  # of the call that goes on, before it is quantized
        for module in network.modules():
            if is_quantizable(module) and id(module.weight) in self._layer_of:
                if input_quantizer(module) is None:
                    share_input_quantizer([module])
                module.register_forward_pre_hook(self._take, prepend=True, with_kwargs=True)
                module.register_forward_hook(self._keep, with_kwargs=True)

    def logits(self, images: Tensor) -> Tensor:
        """Return the float network's logits ``(B, K)``."""
        with torch.inference_mode():
            return self._run(images)

    def output_bytes(self, image: Tensor) -> int:
        """Return the bytes of all layers' outputs for one image ``(1, ...)``."""
        self._calls = []
        with torch.no_grad():
            self._run(image)
        found = sum(call.output.nbytes for call in self._calls)
        self._calls = None
        return found

    def project(
        self,
        images: Tensor,
        bits: Bits,
        widths: Mapping[int, Sequence[int]],
        vectors: Callable[[Tensor], Tensor],
    ) -> dict[int, Tensor]:
        """Return each layer's output errors times the gradients of the logits' projections.

        Args:
            images: ``(B, ...)``.
            bits: the configuration to begin from; ``None`` is float.
            widths: position in it -> the bit-widths whose errors are asked for.
            vectors: takes logits ``(B, K)`` and gives ``(D, B, K)``, what to project them on.

        Returns:
            Position -> ``(B, D, widths)``, zero at its own bits.

        Raises:
            NotDifferentiableError: no gradient reaches a layer from the logits.
        """
        own = [self._params(layer, b) for layer, b in enumerate(self._problem.variants(bits))]
        try:
            for module, params in zip(self._modules, own, strict=True):
                load_quantized(module, params)
            calls, gradients = self._gradients(images, vectors)
            return self._products(calls, gradients, bits, widths)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as reason:  # an operation without a derivative, or values that were overwritten
            problem = f"no gradient of {type(self._network).__name__} can be had ({reason}): give sensitivity measured"
            raise NotDifferentiableError(problem) from reason
        finally:
            self._calls = None
            for module, params in zip(self._modules, self._float, strict=True):
                load_quantized(module, params)

    def _gradients(
        self, images: Tensor, vectors: Callable[[Tensor], Tensor]
    ) -> tuple[list[_Call], list[tuple[Tensor | None, ...]]]:
        """Return the layers' calls, and for each vector the gradients by their outputs."""
        self._calls = []
        with torch.enable_grad():
            logits = self._run(images)  # (B, K)
        calls, self._calls = self._calls, None
        if not logits.requires_grad:
            raise NotDifferentiableError(_no_gradient(self._network, "any layer"))
        outputs = [call.output for call in calls]
        directions = vectors(logits.detach())  # (D, B, K)
        return calls, [
            torch.autograd.grad(logits, outputs, v, retain_graph=True, allow_unused=True) for v in directions
        ]

    def _products(
        self,
        calls: list[_Call],
        gradients: Sequence[Sequence[Tensor | None]],
        bits: Bits,
        widths: Mapping[int, Sequence[int]],
    ) -> dict[int, Tensor]:
        found: dict[int, Tensor] = {}
        for call, (layer, module, x, output) in enumerate(calls):
            places = [place for place in range(layer, len(bits), len(self._modules)) if place in widths]
            if not places:
                continue
            reached = [of_draw[call] for of_draw in gradients]
            if any(gradient is None for gradient in reached):
                raise NotDifferentiableError(_no_gradient(self._network, self._problem.layers[layer].name))
            gradient = torch.stack([_flat(g) for g in reached if g is not None], 1)  # (B, D, F)
            exact, before = _flat(output.detach()), own_params(module)
            with torch.no_grad():
                for place in places:
                    errors = exact.new_empty(len(exact), len(widths[place]), exact.shape[1])  # (B, widths, F)
                    for column, variant in enumerate(self._changed(bits, place, widths[place])):
                        params = self._params(layer, variant)
                        if module is not self._modules[layer]:  # it shares the weight alone
                            params = params._replace(bias=before.bias)
                        load_quantized(module, params)
                        torch.sub(_flat(module(x)), exact, out=errors[:, column])  # (B, F)
                    product = gradient @ errors.mT  # (B, D, widths)
                    found[place] = found[place] + product if place in found else product  # used more than once
                load_quantized(module, before)
        return found

    def _changed(self, bits: Bits, place: int, widths: Sequence[int]) -> list[int | None]:
        """Return the variants of a position's layer at other bits there; an input has its lowest instead of fewer."""
        problem, layer = self._problem, place % len(self._modules)
        own = [max(b, problem.widths(place)[0]) for b in widths]
        return [problem.variants((*bits[:place], b, *bits[place + 1 :]))[layer] for b in own]

    def _params(self, layer: int, bits: int | None) -> QuantizedParams:
        if bits is None:
            return self._float[layer]
        weight, bias, grid = self._problem.quantized_params(layer, bits)
        return QuantizedParams(
            placed(weight.to(self._device), self._layout), None if bias is None else bias.to(self._device), grid
        )

    def _run(self, images: Tensor) -> Tensor:
        # A copy, since a network may write into what it is given.
        logits: Tensor = self._network(placed(images.to(self._device, copy=True), self._layout))  # (B, K)
        return logits

    def _take(self, module: nn.Module, inputs: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        self._inputs[module] = layer_input(inputs, keywords)

    def _keep(self, module: nn.Module, inputs: tuple[Any, ...], keywords: dict[str, Any], output: Tensor) -> Any:
        x = self._inputs.pop(module)
        if self._calls is None:
            return None
        kept = output if output.requires_grad else output.detach().requires_grad_(torch.is_grad_enabled())
        layer = self._layer_of[id(module.weight)]
        self._calls.append(_Call(layer, module, x.detach(), kept))  # type: ignore[arg-type]
        return kept.clone()


def _flat(x: Tensor) -> Tensor:
    """Each image's values ``(B, F)``, channels last: as they lie in memory, where nothing has to be copied."""
    return (x.movedim(1, -1) if x.dim() > 2 else x).flatten(1)


def _no_gradient(network: nn.Module, layer: str) -> str:
    return (
        f"no gradient reaches {layer} of {type(network).__name__} from its logits (it runs without gradients, detaches "
        "or rounds): give sensitivity measured"
    )
