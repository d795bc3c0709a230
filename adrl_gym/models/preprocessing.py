"""From a picture to what a network takes in."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from adrl_gym.errors import AdrlGymError
from adrl_gym.vision import import_torchvision

KEYS = '{"input_size": (3, 224, 224), "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}'


@dataclass(frozen=True)
class Preprocessing:
    """Resize a picture, crop its centre, normalise its channels: ``(x - mean) / std`` with ``x`` from 0 to 1.

    Attributes:
        shape: ``(C, H, W)`` of the result; of one channel, pictures are made grey.
        mean, std: of each channel, ``(C,)``.
        resize: height and width before cropping, at least ``(H, W)``.
        squash: whether resizing gives up the picture's proportions; else it covers ``resize``.
        interpolation: ``bilinear``, ``bicubic``, ``nearest`` or ``lanczos``.
    """

    shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: tuple[int, int]
    squash: bool = False
    interpolation: str = "bilinear"

    @classmethod
    def from_config(cls, config: Any, network: str, usual: "Preprocessing | None" = None) -> "Preprocessing":
        """From what timm's networks carry as ``pretrained_cfg``.

        Args:
            config: a mapping with ``input_size`` ``(C, H, W)``, ``mean`` and ``std`` ``(C,)``; optional are
                ``interpolation`` (``bilinear``), ``crop_pct`` (1: nothing is cropped) and ``crop_mode`` (``center`` or
                ``squash``).
            network: its name, for messages.
            usual: stands for what the configuration leaves out of ``input_size``, ``mean`` and ``std``.

        Raises:
            AdrlGymError: a key is missing or cannot be; says what a whole configuration looks like.

        >>> config = {"input_size": (1, 28, 28), "mean": (0.13,), "std": (0.31,), "crop_pct": 0.875}
        >>> Preprocessing.from_config(config, "mine").resize
        (32, 32)
        """
        if not isinstance(config, Mapping):
            raise AdrlGymError(
                f"nothing says what images {network} takes: give the network an attribute as timm's have one, "
                f"network.pretrained_cfg = {KEYS}"
            )
        if usual is not None:
            config = {"input_size": usual.shape, "mean": usual.mean, "std": usual.std, **config}
        try:
            channels, height, width = (int(size) for size in config["input_size"])
            mean, std = (tuple(float(value) for value in config[key]) for key in ("mean", "std"))
            interpolation, mode = config.get("interpolation", "bilinear"), config.get("crop_mode", "center")
            share = float(config.get("crop_pct", 1))
            resize = (math.floor(height / share), math.floor(width / share))
            fits = channels in (1, 3) and len(mean) == len(std) == channels and min(height, width, *std) > 0
        except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
            raise AdrlGymError(f"pretrained_cfg of {network} is not whole ({error!r}): it looks like {KEYS}") from error
        if not (fits and 0 < share <= 1 and mode in ("center", "squash")) or interpolation not in INTERPOLATIONS:
            raise AdrlGymError(
                f"pretrained_cfg of {network} cannot be: 1 or 3 channels with a mean and a positive std each, "
                f"0 < crop_pct <= 1, crop_mode center or squash, interpolation one of {', '.join(INTERPOLATIONS)}"
            )
        check_scale(mean, std, f"pretrained_cfg of {network}")
        return cls((channels, height, width), mean, std, resize, mode == "squash", interpolation)

    def with_normalisation(self, mean: tuple[float, ...], std: tuple[float, ...]) -> "Preprocessing":
        """Return the same with another mean and standard deviation; raises ``AdrlGymError`` where they cannot be."""
        channels = self.shape[0]
        if not (len(mean) == len(std) == channels and all(math.isfinite(value) for value in mean) and min(std) > 0):
            raise AdrlGymError(
                f"mean {mean} and std {std} cannot be: the network takes {channels} channels, so give {channels} means "
                f"and {channels} positive standard deviations, of pixels from 0 to 1",
                parameter=("mean", "std"),
            )
        return dataclasses.replace(self, mean=tuple(mean), std=tuple(std))

    @classmethod
    def from_preset(cls, preset: Any) -> "Preprocessing":
        """From the ``transforms()`` of torchvision's weights for classification."""
        (resize,), (crop,) = preset.resize_size, preset.crop_size
        return cls(
            (3, crop, crop), tuple(preset.mean), tuple(preset.std), (resize, resize), False, preset.interpolation.value
        )

    def __call__(self, picture: Any) -> Tensor:
        """Turn a PIL image into a normalised tensor, float32 ``(C, H, W)``; raises what ``pixels`` does."""
        return self.normalised(self.pixels(picture))  # (C, H, W)

    def pixels(self, picture: Any) -> Tensor:
        """Resize and crop a PIL image: uint8 ``(C, H, W)``, or float32 from 0 to 1 where it has 16 bits a pixel.

        Grey of 16 bits is scaled; Pillow's own conversion would turn all that is brighter than 255 of 65,535 white.

        Raises:
            ValueError: pixels of 32 bits.
        """
        transforms = import_torchvision().transforms
        deep = picture.mode[0] in "IF"
        picture = (
            _from_0_to_1(picture) if deep else picture.convert("RGB").convert("L" if self.shape[0] == 1 else "RGB")
        )
        mode = transforms.InterpolationMode(self.interpolation)
        picture = transforms.functional.resize(picture, self._resized(*picture.size), mode)
        picture = transforms.functional.center_crop(picture, list(self.shape[1:]))
        if not deep:
            return transforms.functional.pil_to_tensor(picture).contiguous()  # (C, H, W)
        return transforms.functional.to_tensor(picture).expand(self.shape[0], -1, -1)  # (C, H, W)

    def normalised(self, pixels: Tensor) -> Tensor:
        """Normalise what ``pixels`` returns, of one image ``(C, H, W)`` or of several ``(B, C, H, W)``, to float32."""
        x = pixels.float().div(255) if pixels.dtype == torch.uint8 else pixels  # (..., C, H, W)
        return import_torchvision().transforms.functional.normalize(x, list(self.mean), list(self.std))

    @property
    def black(self) -> Tensor:
        """Return the normalised black pixel, ``(C,)``."""
        return -torch.tensor(self.mean) / torch.tensor(self.std)

    @property
    def span(self) -> Tensor:
        """From black to white, ``(C,)``."""
        return 1 / torch.tensor(self.std)

    def _resized(self, width: int, height: int) -> list[int]:
        """Height and width of a picture of this size after resizing."""
        rows, columns = self.resize
        if self.squash:
            return [rows, columns]
        if height * columns <= width * rows:  # the picture is the wider one
            return [rows, rows * width // height]
        return [columns * height // width, columns]


def stated_config(network: nn.Module) -> Any:
    """Return a network's attribute ``pretrained_cfg``, of a dataclass what its fields hold; ``None`` without one."""
    config = getattr(network, "pretrained_cfg", None)
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        return {key: value for key, value in vars(config).items() if value is not None}
    return config


def check_scale(mean: Sequence[float], std: Sequence[float], where: str) -> None:
    """Refuse a mean that no pixels from 0 to 1 have."""
    if max(mean, default=0) > 1:
        raise AdrlGymError(
            f"{where} is of pixels from 0 to 255 (mean {tuple(mean)}, std {tuple(std)}): divide both by 255, as pixels "
            "go from 0 to 1 here",
            parameter=("mean", "std"),
        )


def _from_0_to_1(picture: Any) -> Any:
    """Scale a picture of 16 bits a pixel (modes ``I;16`` and, of older Pillows, ``I``) to floating point."""
    pixels = np.array(picture).astype(np.float32)  # (H, W)
    if (
        picture.mode == "F"
        or pixels.min() < 0
        or pixels.max() > WHITE
        or (picture.mode == "I" and _has_32_bits(picture))
    ):
        raise ValueError(
            f"its pixels are 32-bit numbers (mode {picture.mode}), whose white is unknown: save it with 8 or 16 bits"
        )
    return Image.fromarray(pixels / WHITE)


def _has_32_bits(picture: Any) -> bool:
    return getattr(picture, "format", None) not in ("PNG", "PPM")  # Pillow opens 16 bits of these two in mode I


WHITE = 65_535  # of 16 bits
INTERPOLATIONS = ("bilinear", "bicubic", "nearest", "lanczos")

# Means and deviations are of the 50,000 training images, per channel.
CIFAR10 = Preprocessing((3, 32, 32), (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616), (32, 32))
CIFAR100 = Preprocessing((3, 32, 32), (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762), (32, 32))
