"""A quantized network together with its bits and its origin."""

import dataclasses
from dataclasses import dataclass
from typing import cast

from torch import Tensor, nn

from adrl_gym.bits import BitConfig
from adrl_gym.errors import AdrlGymError
from adrl_gym.layers import ActivationGrid, Quantizable, channel_axis, input_grids, is_quantizable
from adrl_gym.quantization.codes import CodedWeight, encode, parameter_name
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
