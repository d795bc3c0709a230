"""A search space together with the network whose layers it quantizes."""

import copy
from collections.abc import Sequence

import numpy as np
from torch import Tensor, nn

from adrl_gym.activations import with_quantized_inputs
from adrl_gym.bits import Bits
from adrl_gym.config import ProblemConfig
from adrl_gym.layers import LayerSpec, QuantizedParams, quantizable, set_input_grid
from adrl_gym.quantization import CALIBRATION_IMAGES, LayerwiseParams, find_quantizer
from adrl_gym.search_space import SearchSpace
from adrl_gym.variants import LayerVariants, variants


class QuantizedSpace(SearchSpace):
    """Bit configurations of one network, and its layers quantized at every bit-width; nothing is measured here.

    Args:
        network: float, in evaluation mode, on its device; left alone.
        layers: its quantizable layers.
        images: the search images ``(N, ...)``, to calibrate on.
        config: settings of the problem.
        progress: show a bar while the layers are quantized.

    Attributes:
        network: the float network; not to be changed.
        calibrated: the same with quantized inputs of its layers, at the most bits that they can have, unless
            activations are float; not to be changed.
        layers, parameters, fixed_bits, searchable, min_bits, max_bits, budget, limits: see ``SearchSpace``.

    Raises:
        AdrlGymError: an impossible budget, NaN weights, inputs that cannot be calibrated.
    """

    def __init__(
        self,
        network: nn.Module,
        layers: tuple[LayerSpec, ...],
        images: Tensor,
        config: ProblemConfig,
        *,
        progress: bool = False,
    ) -> None:
        precisions = with_quantized_inputs(
            network,
            layers,
            images[:CALIBRATION_IMAGES],
            widths=config.activation_widths,
            method=config.activation_range,
        )
        self.network, self.calibrated, self._grids = precisions
        super().__init__(layers, config, precisions.widths)
        widths = sorted({*range(self.min_bits, self.max_bits + 1), *self.fixed_weights.values()})
        self._weights = LayerwiseParams(
            self.calibrated,
            layers,
            images,
            quantizer=find_quantizer(config.quantizer),
            widths=[widths] * len(layers),
            bias_correction=config.bias_correction,
            progress=progress,
        )
        self._params: LayerwiseParams | LayerVariants = self._weights
        if self.searches_inputs:
            self._params = LayerVariants(self._weights, self.network, layers, self._grids)

    @property
    def distances(self) -> np.ndarray:
        """Squared error over squared values, for each position of a configuration and the searchable bit-widths.

        Of the weights, and where activations are searched, of the inputs; ``(n, widths)`` or ``(2 n, widths)``.
        """
        widths = range(self.min_bits, self.max_bits + 1)
        weights = self._weights.distances(widths)  # (n, widths)
        if not self.searches_inputs:
            return weights
        inputs = [[own.errors.get(max(b, min(own.errors, default=b)), 0.0) for b in widths] for own in self._grids]
        return np.concatenate([weights, np.array(inputs)])

    def quantize_layers(self) -> None:
        """Quantize all layers at all bit-widths, which is otherwise done when they are first needed."""
        self._weights.prepare()

    def quantized_params(self, layer: int, bits: int) -> QuantizedParams:
        """Return a layer's independently quantized weight and bias; the first call quantizes all layers.

        Where activations are searched, ``bits`` is the layer's variant (see ``variants``).
        """
        return self._params[layer][bits]

    def variants(self, bits: Bits) -> Bits:
        """Return the variant of each layer in a configuration, ``None`` for float: its bits, or those of both parts."""
        return variants(bits, self._grids) if self.searches_inputs else bits

    def with_inputs(self, bits: Sequence[int]) -> nn.Module:
        """Return the network of float weights with its inputs quantized as in a configuration; not to be changed."""
        if not self.searches_inputs:
            return self.calibrated
        network = copy.deepcopy(self.calibrated)
        for layer, own, b in zip(self.layers, self._grids, bits[len(self.layers) :], strict=True):
            set_input_grid(quantizable(network, layer), own.grids.get(b))
        return network
