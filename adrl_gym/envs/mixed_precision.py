"""The Gymnasium environment: a step for each bit-width, one episode a bit configuration."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from torch import nn
from torch.utils.data import Dataset

from adrl_gym.bits import bits_from_action, natural
from adrl_gym.config import ProblemConfig
from adrl_gym.datasets import SEARCH_IMAGES, find_splits, own_splits
from adrl_gym.envs.actions import check_numbers
from adrl_gym.envs.rendering import render_ansi, render_image
from adrl_gym.errors import AdrlGymError
from adrl_gym.layers import FEATURES, layer_features
from adrl_gym.models import load_network, own_network
from adrl_gym.outputs import IGNORED, Output
from adrl_gym.problem import QuantProblem

ActionType = Literal["continuous", "discrete"]
PREVIOUS_ACTION = 9  # the observation's last feature; only this one changes from episode to episode


class MixedPrecisionQuantEnv(gym.Env[np.ndarray, Any]):
    """Choose the bit-width of every layer of a network that is not kept at one, under a budget of size or other costs.

    ## Action Space
    ``Box(-1, 1, (1,), float32)``: ``u = (a + 1) / 2`` is HAQ's action in [0, 1] and means
    ``clip(round(b_min - 0.5 + u (b_max - b_min + 1)), b_min, b_max)`` bits for this layer (HAQ, equation 3).
    An action outside [-1, 1] means the nearest one inside.
    With ``action_type="discrete"``, ``Discrete(b_max - b_min + 1)``: action 0 is ``b_min`` bits.

    ## Observation Space
    ``Box(0, 1, (10,), float32)``, the features of the layer to decide next (HAQ, section 3.1), each
    min-max scaled over the layers that are searched; a feature that is the same in all layers is 0.

    | index | meaning                                   | range  |
    |-------|-------------------------------------------|--------|
    | 0     | index of the step                         | [0, 1] |
    | 1     | input channels                            | [0, 1] |
    | 2     | output channels                           | [0, 1] |
    | 3     | kernel size                               | [0, 1] |
    | 4     | stride                                    | [0, 1] |
    | 5     | input feature-map size                    | [0, 1] |
    | 6     | parameters                                | [0, 1] |
    | 7     | depthwise convolution                     | 0 or 1 |
    | 8     | weights (1) or activations (0)            | 0 or 1 |
    | 9     | previous action ``u``, 0 at the first step | [0, 1] |

    With ``activations="search"`` each layer takes two steps: the bits of its weights, then those of its input, which
    has at least 2. The inputs of layers that read the images have 8 bits and take none.

    ## Rewards
    0 until the last layer, then ``0.1 * (accuracy_quantized - accuracy_float)``, both in percent on the search images
    (HAQ, section 3.4). On images without labels, accuracy is the agreement with the float network.

    ## Starting State
    The first layer's features.

    ## Episode End
    ``terminated`` on the last layer, never ``truncated``. The configuration is then projected onto the budget by HAQ's
    action wall, and measured. ``info`` of that step: ``bits`` of all layers (as measured, after the wall; with
    ``activations="search"`` of all weights and then of all inputs), ``chosen_bits`` (as the actions said, before it),
    ``accuracy``, ``agreement`` (percent), ``kl`` (nats), ``size_ratio``, ``average_bits``, ``cost_ratios`` (kind that
    the budget limits -> share of the float network's),
    ``evaluations`` (passes over all search images so far), ``memo_hits`` (answers of the evaluation cache so far).

    ## Vectorised Environments
    ``gymnasium.make_vec(id, n, vectorization_mode="sync", ...)`` as any other. In processes of their own, they have to
    be spawned: a forked one waits for ever for PyTorch's threads, which no fork takes along.
    ``gymnasium.make_vec(id, n, vectorization_mode="async", vector_kwargs={"context": "spawn"}, ...)``, below
    ``if __name__ == "__main__":``, and with a network and data that can be pickled.

    ## Arguments
    network: a name (``resnet20``, ``cifarnet``, ``alexnet``, ``resnet50``), ``torchvision:NAME``, ``timm:NAME``,
        ``FILE.py:FACTORY`` (see ``load_network``), or any ``nn.Module``.
    data: ``auto``, ``cifar10``, ``cifar100``, ``imagenet``, ``data-free``, the name of a ``.npz`` file that
        was distilled from the network, any iterable of (images, labels) batches, or a
        map-style ``Dataset`` of (image, label), PIL images included.
    data_root: folder of the data set; for one's own network, of one folder of images a class, which are prepared as
        the network's weights or its attribute ``pretrained_cfg`` say.
    mean, std: of each channel of one's own network's images, pixels from 0 to 1; by default as its weights or its
        attribute ``pretrained_cfg`` say, else for CIFAR the data set's own.
    output: part of the network's output that holds the logits: a key, an attribute, an index, or a function.
    ignore_index: label of positions that do not count, of predictions at every position.
    download, weights: leave to download the data set, and a file of weights; for data and a network given by name.
    images: how many search images.
    config: settings of the problem; see ``ProblemConfig``.
    budget: largest share of the 32-bit size, for example 0.0625; or kind of cost (``size``, ``bitops``, ``latency``,
        ``energy``, ``memory``) -> largest share of the float network's: ``{"size": 0.125, "bitops": 0.1}``.
    cost_table: CSV file for ``latency`` and ``energy``, as ``adrl-gym latency-table`` writes it.
    quantizer, bits, bias_correction, calibration, activations, activation_range, keep, device, cache,
        activation_memory, workers, profile_precision: the other settings that differ from ``config``, as keywords.
    action_type: ``continuous`` or ``discrete``.
    render_mode: ``ansi`` (a text table) or ``rgb_array`` (the same as a picture).
    progress: show a bar while the layers are quantized.

    Raises ``AdrlGymError`` where anything of this cannot work; the message says what to do.
    """

    metadata = {  # noqa: RUF012 - Gymnasium declares it an instance variable
        "render_modes": ["ansi", "rgb_array"],
        "render_fps": 4,
    }

    def __init__(
        self,
        network: str | Path | nn.Module = "resnet20",
        data: str | Path | Iterable[Any] | Dataset[Any] = "auto",
        *,
        data_root: str | Path | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        output: Output | None = None,
        ignore_index: int = IGNORED,
        download: bool = False,
        weights: str | Path | None = None,
        images: int = SEARCH_IMAGES,
        config: ProblemConfig | None = None,
        action_type: ActionType = "continuous",
        render_mode: Literal["ansi", "rgb_array"] | None = None,
        progress: bool = False,
        **settings: Any,
    ) -> None:
        if action_type not in ("continuous", "discrete"):
            raise AdrlGymError(f"unknown action_type {action_type!r}: choose continuous or discrete")
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            raise AdrlGymError(f"unknown render_mode {render_mode!r}: choose ansi or rgb_array")
        if not natural(images):
            raise AdrlGymError(f"images={images!r}: an integer of at least 1 is needed")
        config = (config or ProblemConfig()).replace(**settings)
        if isinstance(network, str | Path):
            loaded = load_network(str(network), weights)
        elif weights is not None:
            raise AdrlGymError("weights names a file for a named network; load it into your own network yourself")
        else:
            loaded = own_network(network)
        loaded = loaded.normalised(mean, std).with_output(output)
        if isinstance(data, str | Path):
            splits = find_splits(loaded, str(data), data_root=data_root, download=download, images=images)
        elif data_root is not None or download:
            raise AdrlGymError("data_root and download say where named data are; leave them out with your own batches")
        else:
            splits = own_splits(data, images, loaded, ignore_index)
        self.problem = QuantProblem(loaded.network, splits, config, name=loaded.name, progress=progress)
        if self.problem.unquantized is not None:
            gym.logger.warn(self.problem.unquantized)
        places, n = self.problem.searchable, len(self.problem.layers)
        searched = [self.problem.layers[place % n] for place in places]
        self._features = layer_features(searched, [place < n for place in places])  # (decisions, 10)
        widths = self.problem.max_bits - self.problem.min_bits + 1
        self.observation_space = spaces.Box(0.0, 1.0, (FEATURES,), np.float32)
        self.action_space: spaces.Space[Any] = (
            spaces.Box(-1.0, 1.0, (1,), np.float32) if action_type == "continuous" else spaces.Discrete(widths)
        )
        self.render_mode = render_mode
        self._chosen: list[int] = []  # bit-widths of this episode's decisions so far
        self._last: dict[str, Any] = {}  # info of the last finished episode

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin at the first layer. The environment draws nothing; ``seed`` only seeds ``np_random``."""
        super().reset(seed=seed)
        self._chosen = []
        return self._observation(previous=0.0), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Give the next layer its bit-width; on the last one, project and measure.

        Raises:
            AdrlGymError: the episode has ended, or the action is of another form than the action space's.
        """
        if len(self._chosen) == len(self.problem.searchable):
            raise AdrlGymError("the episode has ended with the last layer: call reset() to begin the next one")
        bits, share = self._decode(action)
        self._chosen.append(bits)
        if len(self._chosen) < len(self.problem.searchable):
            return self._observation(share), 0.0, False, False, {}
        reward, info = self.measure(self.problem.with_fixed(self._chosen))
        return self._observation(share), reward, True, False, info

    def measure(self, bits: Sequence[int]) -> tuple[float, dict[str, Any]]:
        """Project a configuration of all layers onto the budget and measure it: reward and ``info`` of the last step.

        For searches that choose whole configurations instead of actions.
        """
        problem = self.problem
        projected = problem.project(bits)
        metrics = problem.evaluate(projected)
        self._last = {
            "bits": projected,
            "chosen_bits": tuple(bits),
            "accuracy": metrics.accuracy,
            "agreement": metrics.agreement,
            "kl": metrics.kl,
            "size_ratio": problem.size_ratio(projected),
            "average_bits": problem.average_bits(projected),
            "cost_ratios": problem.cost_ratios(projected),
            "evaluations": problem.evaluations,
            "memo_hits": problem.memo_hits,
        }
        return 0.1 * (metrics.accuracy - problem.float_search.accuracy), dict(self._last)

    def render(self) -> Any:
        """The last finished configuration: bit-widths per layer, accuracy, size; text or ``(H, W, 3)`` uint8."""
        if self.render_mode is None:
            gym.logger.warn('render() shows nothing: make the environment with render_mode="ansi" or "rgb_array"')
            return None
        draw = render_ansi if self.render_mode == "ansi" else render_image
        return draw(self._chosen, self._last, self.problem)

    def close(self) -> None:
        """Release the file of the evaluation cache and threads (see ``QuantProblem.close``)."""
        self.problem.close()

    def _decode(self, action: Any) -> tuple[int, float]:
        """The bit-width, and the action as ``u`` in [0, 1]."""
        min_bits, max_bits = self.problem.min_bits, self.problem.max_bits
        if isinstance(self.action_space, spaces.Discrete):
            if not self.action_space.contains(action):
                raise AdrlGymError(f"action {action!r}: an integer from 0 to {max_bits - min_bits} is needed")
            bits = min_bits + int(action)
            return bits, (bits - min_bits + 0.5) / (max_bits - min_bits + 1)
        value = float(check_numbers(action, 1)[0])
        return bits_from_action(value, min_bits, max_bits), min(max((value + 1) / 2, 0.0), 1.0)

    def _observation(self, previous: float) -> np.ndarray:
        layer = min(len(self._chosen), len(self._features) - 1)
        observation = self._features[layer].copy()  # a copy: no episode may leak into the next
        observation[PREVIOUS_ACTION] = previous
        return observation
