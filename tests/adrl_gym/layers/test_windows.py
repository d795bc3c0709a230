"""Torchvision's window attention as Linear layers: the same outputs, and quantized."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import nn
from torchvision.models.swin_transformer import ShiftedWindowAttention, ShiftedWindowAttentionV2

from adrl_gym.datasets import ImageSet, Splits
from adrl_gym.export import load_packed, save_packed
from adrl_gym.layers import find_layers, with_linear_attention
from adrl_gym.problem import QuantProblem


@pytest.mark.parametrize("kind", [ShiftedWindowAttention, ShiftedWindowAttentionV2])
@pytest.mark.parametrize("shift", [[0, 0], [2, 2], [1, 3]])
@pytest.mark.parametrize("size", [(8, 12), (7, 9), (4, 4), (4, 9), (3, 3)])
@pytest.mark.parametrize("bias", [True, False])
def test_outputs_are_torchvision_s(kind: Any, shift: list[int], size: tuple[int, int], bias: bool) -> None:
    torch.manual_seed(0)
    attention = kind(16, [4, 4], shift, 2, qkv_bias=bias).eval()
    for parameter in attention.parameters():
        nn.init.normal_(parameter, std=0.3)  # the bias of keys too
    x = torch.randn(2, *size, 16)
    changed = with_linear_attention(attention)
    assert attention.state_dict().keys() == changed.state_dict().keys()
    with torch.inference_mode():
        torch.testing.assert_close(changed(x), attention(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_swin_is_quantized_whole(version: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    block: Any = torchvision.models.swin_transformer.SwinTransformerBlockV2 if version == "v2" else None
    merge: Any = torchvision.models.swin_transformer.PatchMergingV2 if version == "v2" else None
    parts = {} if block is None else {"block": block, "downsample_layer": merge}
    network = torchvision.models.SwinTransformer([2, 2], 16, [2, 2], [2, 4], [4, 4], num_classes=5, **parts).eval()
    x = torch.randn(6, 3, 32, 32)
    names = {layer.name for layer in find_layers(with_linear_attention(network), (3, 32, 32))}
    assert {"features.1.0.attn.qkv", "features.1.1.attn.proj"} <= names
    problem = QuantProblem(network, Splits(ImageSet(x, None), None, "random"), quantizer="linear", budget=0.25)
    bits = [2 + index % 3 for index in range(len(problem.layers))]
    quantized = problem.quantized(bits)
    measured = problem.measure(quantized)  # a warning, that it cannot be partitioned, would be an error
    assert measured.kl == pytest.approx(problem.evaluate(bits).kl, rel=1e-3)
    save_packed(tmp_path / "packed", quantized)
    with torch.inference_mode():
        torch.testing.assert_close(load_packed(tmp_path / "packed", network)(x), quantized(x), rtol=1e-4, atol=1e-5)
