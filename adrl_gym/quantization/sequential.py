"""Refit: weights for one bit configuration, layer after layer against what the quantized layers before really deliver.

A layer that is quantized by itself expects the float network's inputs, and gets those that the quantized layers before
it make. Here the float and the quantized network run side by side on a few unlabelled images, from one quantizable
layer to the next. At each, the inputs of both at the same sampled positions say which weights give the float layer's
outputs best from the quantized network's inputs, in closed form (``least_squares.py``); these weights are rounded.
Then their codes and scales are improved, and outputs get the float network's variance (``refitting``).

Sources:
    OBC (Frantar, Singh and Alistarh 2022, "Optimal Brain Compression"): layer after layer, each one compressed for the
    inputs that the compressed layers before it deliver.
    GPTAQ (Li et al. 2025, "GPTAQ: Efficient Finetuning-Free Quantization for Asymmetric Calibration"): what is to be
    reproduced is the float layer's output from the *float* network's inputs; corrected column by column while rounding.
    Qronos (Zhang et al. 2025, "Qronos: Correcting the Past by Shaping the Future in Post-Training Quantization"): the
    same aim, alternating between correction and rounding, column by column.

Ours differs: least squares over all columns first and then ``gptq``, which minimises the same error; a ridge towards
the float weights; centred inputs, with a bias that takes the means; convolutions at sampled positions, batch norms as
they are; any bit-width and quantizer in any layer.
"""

import contextlib
import copy
import math
from collections.abc import Iterable, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from adrl_gym.errors import AdrlGymError
from adrl_gym.graph import ActivationCache, Live, Subgraph, TraceError, alike, batches, partition_unfolded
from adrl_gym.layers import (
    LayerSpec,
    Quantizable,
    QuantizedParams,
    input_grid,
    layer_input,
    load_quantized,
    own_params,
    quantizable,
    set_input_grid,
)
from adrl_gym.outputs import by_position
from adrl_gym.progress import tracked
from adrl_gym.quantization.base import Quantizer
from adrl_gym.quantization.least_squares import Inputs
from adrl_gym.quantization.measured_shift import measured_layers, output_sum
from adrl_gym.quantization.refitting import descend, hessian_of, rescale, sampled_inputs, scaled, temperature

Calibration = Literal["independent", "sequential"]  # how bits become a network
CALIBRATIONS: tuple[Calibration, ...] = get_args(Calibration)
CALIBRATION_IMAGES = 256  # to refit on
POSITIONS = 8192  # sampled for each layer
_BATCH = 64  # images, at most
_COMPARED = 8  # images, to see whether the partitioned network is still the same
_WEIGHTS = -1  # where weights are kept, beside the batches


class _ReachedError(Exception):
    """The layer whose inputs are wanted has them."""


class SequentialQuantizer:
    """Refits bit configurations of one network, on the device that it is on.

    Configurations that begin with the same bits share the work up to there, as far as memory allows.
    Weights that are used several times are refitted for the inputs of their first use.

    Args:
        network: in evaluation mode; copied, never changed. Where its layers' inputs are quantized, those of quantized
            layers are too, and what is to be reproduced is the network with float inputs.
        layers: its quantizable layers.
        images: ``(N, C, H, W)``, no labels needed.
        quantizer: what rounds.
        bias_correction: let the biases take the means.
        positions: how many inputs of a layer are sampled, over all images; all where there are fewer.
        seed: of the sampling.
        activation_memory: bytes for what later configurations can begin from; 0 keeps nothing.

    Attributes:
        settings: all that weights depend on beside network, bits and quantizer, in one line.

    Raises:
        AdrlGymError: a network that torch.fx cannot trace, no images or positions.
    """

    def __init__(
        self,
        network: nn.Module,
        layers: Sequence[LayerSpec],
        images: Tensor,
        *,
        quantizer: Quantizer,
        bias_correction: bool = True,
        positions: int = POSITIONS,
        seed: int = 0,
        activation_memory: int = 0,
    ) -> None:
        if len(images) < 1 or positions < 1:
            raise AdrlGymError(f"{len(images)} images and {positions} positions to refit on: at least 1 is needed")
        device = next(network.parameters()).device
        try:
            self._float = partition_unfolded(network, layers, images[:_COMPARED].to(device))
        except TraceError as reason:
            raise AdrlGymError(
                f"{type(network).__name__} cannot be calibrated sequentially, as torch.fx cannot partition it "
                f"({reason}): use calibration independent"
            ) from reason
        self._quantized = copy.deepcopy(self._float)
        self._batches = [batch.to(device) for batch in batches(images, _BATCH)]
        self._layers, self._images = layers, len(images)
        self._quantizer, self._bias_correction = quantizer, bias_correction
        self._positions, self._seed = positions, seed
        self.settings = f"images={len(images)} positions={positions} seed={seed}"
        self._kept = ActivationCache(activation_memory)
        self._measured = measured_layers(network, layers, images[:_COMPARED])  # name -> whether its bias adds
        self._floats = [own_params(module) for module in _modules(self._float, layers)]
        self._modules = _modules(self._quantized, layers)
        self._grids = [input_grid(quantizable(network, layer)) for layer in layers]

    @torch.no_grad()
    def quantize(self, bits: Sequence[int | None], *, progress: bool = False) -> list[QuantizedParams]:
        """Return each layer's parameters under ``bits``; ``None`` leaves a layer float.

        Raises:
            AdrlGymError: NaN or infinite weights or activations (names the layer).
        """
        path = tuple(tuple(bits[i] for i in subgraph.layers) for subgraph in self._float)
        depth, found, float_lives, lives = self._resume(path)
        for index, params in enumerate(found):
            load_quantized(self._modules[index], params)  # for modules that are used again later
        parts: Iterable[int] = range(depth, len(path))
        if progress:
            parts = tracked(parts, "refitting", len(path) - depth, "layers")
        for here in parts:
            subgraph, quantized = self._float[here], self._quantized[here]
            before = float_lives
            floats, float_lives = self._run_float(subgraph, float_lives)
            for index in subgraph.layers:
                name = self._layers[index].name
                set_input_grid(self._modules[index], None if bits[index] is None else self._grids[index])
                if bits[index] is not None and (name in self._measured or self._layers[index].kind == "embedding"):
                    params = self._round(index, bits[index], floats[index])
                    if self._measured.get(name) and self._bias_correction:
                        load_quantized(self._modules[index], params)
                        shift = self._mean(subgraph, index, before) - self._mean(quantized, index, lives)  # (O,)
                        params = params._replace(bias=shift if params.bias is None else params.bias + shift)
                else:
                    wanted = self._take(quantized, index, lives)
                    params = self._refit(index, bits[index], floats[index], wanted)
                load_quantized(self._modules[index], params)
                found.append(params)
            if here + 1 < len(path):
                lives = [quantized.run(*live) for live in lives]
                self._keep(path[: here + 1], found, float_lives, lives)
        self._temper(bits, found, torch.cat([logits for (logits,) in float_lives]), lives)
        return found

    def forget(self) -> None:
        """Let go of what is kept."""
        self._kept.clear()

    def _refit(self, index: int, bits: int | None, x: Tensor, x_q: Tensor) -> QuantizedParams:
        """The layer from its inputs ``(P, G, J)`` in the float and in the quantized network."""
        layer, (weight, bias, _) = self._layers[index], self._floats[index]
        if bits is None:
            return self._floats[index]
        inputs = Inputs(x, x_q, centred=self._bias_correction)
        if not inputs.finite:
            raise AdrlGymError(f"layer {layer.name}: its inputs hold NaN or infinity; check the weights and the images")
        rows = weight.movedim(layer.channel_axis, 0)  # (O, ...)
        wanted, hessian = inputs.target(rows)
        rounded = self._quantizer.quantize(wanted, [bits], hessian=hessian, layer=layer.name)[bits]
        codebook = self._quantizer.codebook
        if self._quantizer.needs_hessian and not codebook and isinstance(hessian, Tensor):
            rounded = descend(wanted.flatten(1), rounded.flatten(1), bits, hessian).reshape(rows.shape)
        rounded = rescale(rounded, inputs.gain(rows, rounded), bits, codebook=codebook, layer=layer.name)
        if self._bias_correction:
            shift = inputs.shift(rows, rounded)  # (O,)
            bias = shift if bias is None else bias + shift
        return QuantizedParams(rounded.movedim(0, layer.channel_axis).contiguous(), bias, self._grids[index])

    def _temper(self, bits: Sequence[int | None], found: list[QuantizedParams], wanted: Tensor, lives: Any) -> None:
        """Give the last layer the factor that brings the logits nearest to those wanted, all images in a row."""
        last, modules = self._quantized[-1], self._modules
        index = last.layers[-1] if last.layers else -1
        layer, width = self._layers[index], bits[index]
        tied = sum(module.weight is modules[index].weight for module in modules) > 1
        if index < 0 or width is None or tied or layer.name in self._measured or layer.kind == "embedding":
            return
        before = found[index]
        logits = [last.run(*live)[0] for live in lives]  # (B, K) each
        factor = temperature(*(by_position(whole).flatten(0, -2) for whole in (wanted, torch.cat(logits))))
        after = scaled(before, factor, width, layer, codebook=self._quantizer.codebook)
        load_quantized(modules[index], after)
        if alike(last.run(*lives[0])[0], factor * logits[0]):  # not so where a nonlinearity follows
            found[index] = after
        else:
            load_quantized(modules[index], before)

    def _round(self, index: int, bits: int | None, x: Tensor) -> QuantizedParams:
        """The float weight rounded for float inputs ``(P, G, J)``: least squares knows no other layer's formula."""
        assert bits is not None
        layer, module, (weight, bias, _) = self._layers[index], self._modules[index], self._floats[index]
        rows = weight.movedim(layer.channel_axis, 0)  # (O, ...)
        centred = self._bias_correction and self._measured.get(layer.name, False)
        hessian = hessian_of(module, x, layer.inputs, centred=centred)  # (G, J, J)
        rounded = self._quantizer.quantize(rows, [bits], hessian=hessian, layer=layer.name)[bits]
        return QuantizedParams(rounded.movedim(0, layer.channel_axis).contiguous(), bias, self._grids[index])

    def _mean(self, subgraph: Subgraph, index: int, lives: list[Live]) -> Tensor:
        """The layer's mean output ``(O,)`` in a network, in its first use."""
        sums: list[tuple[Tensor, int]] = []

        def take(module: Quantizable, _: Any, y: Tensor) -> None:
            sums.append(output_sum(module, y))
            raise _ReachedError

        hook = quantizable(subgraph.run, self._layers[index]).register_forward_hook(take)
        try:
            for live in lives:
                with contextlib.suppress(_ReachedError):
                    subgraph.run(*live)
        finally:
            hook.remove()
        return torch.stack([total for total, _ in sums]).sum(0) / sum(count for _, count in sums)

    def _run_float(self, subgraph: Subgraph, lives: list[Live]) -> tuple[dict[int, Tensor], list[Live]]:
        """The float network through one subgraph: inputs of each layer that begins in it, and the live activations."""
        taken: dict[int, dict[int, Tensor]] = {index: {} for index in subgraph.layers}
        after = []
        for b, live in enumerate(lives):
            hooks = [self._hook(subgraph, index, b, taken[index], stop=False) for index in subgraph.layers]
            try:
                after.append(subgraph.run(*live))
            finally:
                for hook in hooks:
                    hook.remove()
        return {index: torch.cat(list(parts.values())) for index, parts in taken.items()}, after

    def _take(self, subgraph: Subgraph, index: int, lives: list[Live]) -> Tensor:
        """The quantized network's inputs of a layer, ``(P, G, J)``; it runs no further than that."""
        taken: dict[int, Tensor] = {}
        for b, live in enumerate(lives):
            hook = self._hook(subgraph, index, b, taken, stop=True)
            try:
                subgraph.run(*live)
            except _ReachedError:
                pass
            finally:
                hook.remove()
        return torch.cat(list(taken.values()))

    def _hook(self, subgraph: Subgraph, index: int, batch: int, taken: dict[int, Tensor], *, stop: bool) -> Any:
        def take(module: Quantizable, inputs: tuple[Any, ...], keywords: dict[str, Any]) -> None:
            if batch not in taken:  # of several uses, the first one
                taken[batch] = self._sample(module, layer_input(inputs, keywords), index, batch)
            if stop:
                raise _ReachedError

        return quantizable(subgraph.run, self._layers[index]).register_forward_pre_hook(take, with_kwargs=True)

    def _sample(self, module: Quantizable, x: Tensor, index: int, batch: int) -> Tensor:
        """This batch's share of the positions: ``(P, G, J)``, the same in every network and configuration."""
        share = math.ceil(self._positions * len(self._batches[batch]) / self._images)
        return sampled_inputs(module, x, share, (self._seed, index, batch))

    def _resume(self, path: tuple[tuple[int | None, ...], ...]) -> tuple[int, list[QuantizedParams], Any, Any]:
        """The deepest place on ``path`` that is known: its depth, weights, float and quantized live activations."""
        for depth in range(len(path) - 1, 0, -1):
            weights = self._kept.get((_WEIGHTS, path[:depth]))
            both = [self._kept.get((b, way)) for way in _ways(path[:depth]) for b in range(len(self._batches))]
            if weights is not None and None not in both:
                parts = zip(weights[::3], weights[1::3], weights[2::3], strict=True)
                params = [QuantizedParams(*part) for part in parts]
                return depth, params, both[: len(self._batches)], both[len(self._batches) :]
        images = [(batch,) for batch in self._batches]
        return 0, [], images, images

    def _keep(self, path: Any, params: list[QuantizedParams], float_lives: list[Live], lives: list[Live]) -> None:
        for way, kept in zip(_ways(path), (float_lives, lives), strict=True):
            for b, live in enumerate(kept):
                self._kept.put((b, way), live, len(kept))
        self._kept.put((_WEIGHTS, path), tuple(part for params in params for part in params), 1)


def _ways(path: Any) -> tuple[Any, Any]:
    """The path of the float network, and the configuration's own."""
    return tuple((None,) * len(bits) for bits in path), path


def _modules(subgraphs: Sequence[Subgraph], layers: Sequence[LayerSpec]) -> list[Quantizable]:
    """The module of each layer."""
    found = {i: quantizable(subgraph.run, layers[i]) for subgraph in subgraphs for i in subgraph.layers}
    return [found[i] for i in range(len(layers))]
