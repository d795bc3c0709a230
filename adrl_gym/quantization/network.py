"""A quantized network together with its bits and its origin."""

import copy
import dataclasses
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from adrl_gym.bits import BitConfig
from adrl_gym.errors import AdrlGymError
from adrl_gym.layers import ActivationGrid, Quantizable, channel_axis, float_inputs, input_grids, is_quantizable
from adrl_gym.quantization.codes import CodedWeight, encode, parameter_name
from adrl_gym.quantization.integer import IntegerNetwork, integer_network
from adrl_gym.quantization.registry import find_quantizer


@dataclass(frozen=True)
class Origin:
    """The source of quantized weights.

    Attributes:
        quantizer: name of the quantizer that rounded them.
        name: of the network.
        checkpoint: content hash of the float network's weights.
    """

    quantizer: str
    name: str
    checkpoint: str


@dataclass(frozen=True)
class QuantizedNetwork:
    """A network whose layers compute with quantized weights; calling it gives its logits.

    Attributes:
        network: on the CPU, in evaluation mode; it quantizes the inputs that have a grid itself.
        bits: bit-width of each quantized layer; other layers are float.
        origin: its quantizer, name and float checkpoint.
    """

    network: nn.Module
    bits: BitConfig
    origin: Origin

    def __call__(self, images: Tensor) -> Tensor:
        """Return the logits ``(B, K)`` of images ``(B, C, H, W)``."""
        logits: Tensor = self.network(images)
        return logits

    def state_dict(self) -> dict[str, Tensor]:
        """Return the network's state dict."""
        return self.network.state_dict()

    @property
    def input_grids(self) -> dict[str, ActivationGrid]:
        """Name of each module whose input is quantized -> the grid; empty where activations are float."""
        return input_grids(self.network)

    @property
    def codebook(self) -> bool:
        """True if weights are entries of a codebook instead of scales times levels."""
        return find_quantizer(self.origin.quantizer).codebook

    def with_network(self, network: nn.Module) -> "QuantizedNetwork":
        """Return the same bits and origin with another network, for example a finetuned one."""
        return dataclasses.replace(self, network=network)

    def encode(self) -> dict[str, CodedWeight]:
        """Return name of the parameter -> integer codes and scales, for every layer of ``bits`` in their order.

        Raises:
            AdrlGymError: bits for a layer that the network has not, or weights that do not fit their bits (names it).
        """
        modules, coded = dict(self.network.named_modules()), {}
        for layer, b in self.bits.as_dict().items():
            module = modules.get(layer)
            if module is None or not is_quantizable(module):
                raise AdrlGymError(
                    f"unknown layer {layer} in the bit configuration: {type(self.network).__name__} has no such "
                    "quantizable layer; is it of another network?"
                )
            coded[parameter_name(layer, "weight")] = encode(
                cast("Quantizable", module).weight, b, self.codebook, layer, channel_axis(module)
            )
        return coded

    def integer_network(self, images: Tensor) -> IntegerNetwork:
        """Return the network with all activations between its layers on grids of 8 bits, as runtimes compute it.

        Layers whose inputs are on a grid of 8 bits keep it. Other grids are calibrated, on the float activations.

        Args:
            images: unlabelled, float32 ``(N, C, H, W)``, at least one.

        Raises:
            AdrlGymError: a codebook, weights that do not fit their bits, no images, a network that ``torch.export``
                cannot trace, or activations that are not finite.
        """
        if self.codebook:
            raise AdrlGymError(
                f"{self.origin.quantizer} makes codebooks, which no runtime computes with in integers: search with the "
                "quantizer gptq or linear"
            )
        with float_inputs(self.network):
            network = copy.deepcopy(self.network).cpu().eval().to(memory_format=torch.contiguous_format)
        layers = {parameter_name(layer, "weight"): layer for layer in self.bits.names}
        names = {
            other: layer
            for weight, layer in layers.items()
            for other, tensor in network.named_parameters(remove_duplicate=False)
            if tensor is network.get_parameter(weight)
        }
        return integer_network(network, self.encode(), names, images, input_grids(self.network))

    def simulate(self, images: Tensor) -> nn.Module:
        """Return a module that predicts in PyTorch what runtimes compute from the file with quantized activations.

        Every tensor that they have in integers is on the same grid, so that values differ by float32's rounding alone.
        ``integer_network`` describes arguments and errors.
        """
        return self.integer_network(images).module()
