"""Grids of layers' inputs that can be trained."""

import torch
from torch import Tensor, nn

from adrl_gym.layers import ActivationGrid, InputQuantizer, input_quantizer


class LearnedGrid(nn.Module):
    """A grid of activations whose scale is trained (LSQ, Esser et al. 2020); its zero point stays.

    What is trained is the logarithm of the scale over the first one, as for weights. The gradient passes the rounding
    as if it were not there, and with it the scale learns what rounding and clipping cost.

    Args:
        grid: where to begin.
    """

    start: Tensor

    def __init__(self, grid: ActivationGrid) -> None:
        super().__init__()
        self._bits, self._zero_point, self._range = grid.bits, grid.zero_point, grid.range
        self.register_buffer("start", torch.tensor(grid.scale))  # ()
        self.growth = nn.Parameter(torch.zeros_like(self.start))  # ()

    def quantize(self, x: Tensor) -> Tensor:
        """Return ``x``, of any shape, on the grid; see ``ActivationGrid``."""
        scale = self.start * self.growth.exp()  # ()
        steps = (x.float() / scale).clamp(*self._range)  # of the shape of x
        rounded = steps + (steps.round() - steps).detach()
        return (rounded * scale).to(x.dtype)

    def grid(self) -> ActivationGrid:
        """Return the grid as it is now."""
        return ActivationGrid(self._bits, float(self.start * self.growth.detach().exp()), self._zero_point)


class LearnedGrids(nn.ModuleList):
    """The grids of a network's inputs in training, one for each hook; the network computes with them from now on.

    Args:
        network: whose ``InputQuantizer`` hooks get them.
    """

    def __init__(self, network: nn.Module) -> None:
        learned = []
        for hook in _hooks(network):
            if isinstance(hook.grid, ActivationGrid):
                hook.grid = LearnedGrid(hook.grid)
                learned.append(hook.grid)
        super().__init__(learned)


def end_training(network: nn.Module) -> None:
    """Let a network whose grids are in training compute with them as they are now."""
    for hook in _hooks(network):
        if isinstance(hook.grid, LearnedGrid):
            hook.grid = hook.grid.grid()


def _hooks(network: nn.Module) -> list[InputQuantizer]:
    """Return the network's hooks, each once."""
    found = (input_quantizer(module) for module in network.modules())
    return list(dict.fromkeys(hook for hook in found if hook is not None))
