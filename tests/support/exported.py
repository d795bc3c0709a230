"""A quantized network to export, with layers of several kinds."""

from pathlib import Path

import torch
from torch import Tensor, nn

from adrl_gym import QuantProblem
from adrl_gym.datasets.own import own_splits
from adrl_gym.export.onnx_file import save_onnx
from adrl_gym.export.sizes import ExportSizes


class Mixed(nn.Module):
    """A depthwise and a grouped convolution, a norm, a branch, a linear layer on tokens, one used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False)
        self.grouped = nn.Conv2d(4, 6, 3, groups=2)
        self.norm = nn.BatchNorm2d(6)
        self.tokens = nn.Linear(6, 7)
        self.twice = nn.Linear(7, 7, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.grouped(x + self.depthwise(x)))  # (B, 6, H, W)
        x = self.tokens(x.flatten(2).mT)  # (B, H W, 7)
        return self.twice(self.twice(x).relu()).mean(1)  # (B, 7)


class Model:
    """A network with quantized weights, its bits, and images."""

    def __init__(self, network: nn.Module, bits: tuple[int, ...], images: Tensor, quantizer: str = "linear") -> None:
        with torch.no_grad():
            labels = network.eval()(images).argmax(1)  # (N,)
        problem = QuantProblem(network, own_splits([(images, labels)], len(images)), name="mixed", quantizer=quantizer)
        self.problem, self.quantized, self.images = problem, problem.quantized(bits), images
        self.network, self.bits = self.quantized.network, self.quantized.bits

    def save(self, file: Path) -> ExportSizes:
        return save_onnx(file, self.quantized, self.images)
