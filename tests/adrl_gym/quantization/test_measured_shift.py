"""Mean output errors of layers with a formula of their own."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adrl_gym.layers import find_layers
from adrl_gym.quantization.layerwise import LayerwiseParams
from adrl_gym.quantization.measured_shift import measured_layers, measured_shifts
from adrl_gym.quantization.registry import find_quantizer


class Padded(nn.Conv2d):
    """Pads by itself, as ports of TensorFlow networks do."""

    def forward(self, x: Tensor) -> Tensor:
        """``(B, 3, 8, 8)`` to ``(B, 4, 8, 8)``."""
        return F.conv2d(F.pad(x, (0, 2, 0, 2)), self.weight, self.bias)


class Standardised(nn.Conv2d):
    """Not linear in its weight, and affine in its input."""

    def forward(self, x: Tensor) -> Tensor:
        """``(B, 3, 8, 8)`` to ``(B, 4, 6, 6)``."""
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return F.conv2d(x, weight / weight.std((1, 2, 3), keepdim=True), self.bias)


class Gated(nn.Conv2d):
    """Not affine in its input."""

    def forward(self, x: Tensor) -> Tensor:
        """``(B, 3, 8, 8)`` to ``(B, 4, 6, 6)``."""
        return F.conv2d(x.relu(), self.weight, self.bias)


@pytest.mark.parametrize("kind", [Padded, Standardised, Gated])
def test_shifts_are_the_mean_output_errors(kind: type[nn.Conv2d], monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    conv = kind(3, 4, 3)
    network = nn.Sequential(conv, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)).eval()
    images = torch.randn(230, 3, 8, 8)
    layers = find_layers(network, (3, 8, 8))[:1]
    assert measured_layers(network, layers, images[:8]) == {"0": True}
    quantized = {b: (conv.weight.detach() * 2**b).round() / 2**b for b in (3, 5)}
    with torch.no_grad():
        expected = {}
        for b, weight in quantized.items():
            other = kind(3, 4, 3)
            other.weight.data, other.bias = weight, conv.bias
            expected[b] = (conv(images).double() - other(images).double()).mean((0, 2, 3))  # (O,)
    run, plain = [], F.conv2d

    def counted(x: Tensor, *rest: Tensor) -> Tensor:
        run.append(len(x))
        return plain(x, *rest)  # type: ignore[call-overload]

    monkeypatch.setattr(F, "conv2d", counted)
    shifts = measured_shifts(network, layers, images, {"0": quantized})
    for b, shift in shifts["0"].items():
        assert shift.double() == pytest.approx(expected[b], abs=1e-5)
    once = 230 + 3 + 1 + 2  # the network, checks of three batches, and the mean input: float and two bit-widths
    assert sum(run) == (once if kind is not Gated else 230 * 3 + 3)


def test_an_interrupt_before_shifts_are_measured_leaves_no_layer_half_made(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(Standardised(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)).eval()
    layers, images = find_layers(network, (3, 8, 8)), torch.randn(20, 3, 8, 8)

    def made() -> LayerwiseParams:
        quantizer = find_quantizer("linear")
        return LayerwiseParams(network, layers, images, quantizer=quantizer, widths=[[3]] * 2, bias_correction=True)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    params, whole = made(), made()
    with monkeypatch.context() as patch:
        patch.setattr("adrl_gym.quantization.layerwise.measured_shifts", interrupt)
        with pytest.raises(KeyboardInterrupt):
            params.prepare()
    for own, expected in zip(params, whole, strict=True):
        found, wanted = own[3].bias, expected[3].bias  # (O,) each
        assert found is not None
        assert wanted is not None
        assert torch.equal(found, wanted)
