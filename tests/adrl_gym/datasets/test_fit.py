"""Images that fit a network, and clear messages for those that do not."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from adrl_gym.datasets.fit import check_fit
from adrl_gym.datasets.images import ImageSet
from adrl_gym.errors import AdrlGymError
from adrl_gym.outputs import with_output

X, Y = torch.randn(4, 3, 8, 8), torch.zeros(4, dtype=torch.int64)


def test_fitting_images_pass(tiny: nn.Module) -> None:
    check_fit(tiny, ImageSet(X, Y + 4))
    check_fit(tiny, ImageSet(X, None))


def test_a_network_that_writes_into_its_images_gets_a_copy(tiny: nn.Module) -> None:
    images = X.clone()
    check_fit(nn.Sequential(nn.ReLU(inplace=True), tiny), ImageSet(images, Y))
    assert torch.equal(images, X)


@pytest.mark.parametrize("label", [5, -1])
def test_label_out_of_range(tiny: nn.Module, label: int) -> None:
    labels = torch.tensor([0, 4, label, 0])
    with pytest.raises(AdrlGymError, match=f"label {label} of image 2 is out of range: Tiny has 5 outputs"):
        check_fit(tiny, ImageSet(X, labels))


def test_images_of_another_shape(tiny: nn.Module) -> None:
    with pytest.raises(AdrlGymError, match=r"shape \(1, 8, 8\) do not fit Tiny, .* conv1.weight .* \(6, 3, 3, 3\)"):
        check_fit(tiny, ImageSet(X[:, :1], Y))
    with pytest.raises(AdrlGymError, match=r"images of shape \(3, 6, 8\) do not fit Tiny"):
        check_fit(tiny, ImageSet(X[:, :, :6], Y))


def test_networks_that_do_not_classify(tiny: nn.Module) -> None:
    with pytest.raises(AdrlGymError, match=r"Sequential returns \(1, 3, 8, 8\) for one image: logits"):
        check_fit(nn.Sequential(nn.ReLU()), ImageSet(X, Y))
    with pytest.raises(
        AdrlGymError, match=r"labels of one image have shape \(10,\), and Tiny returns \(1, 5\): one int"
    ):
        check_fit(tiny, ImageSet(X, torch.zeros(4, 10, dtype=torch.int64)))
    bilinear = nn.Bilinear(192, 192, 5)
    with pytest.raises(AdrlGymError, match=r"do not fit Bilinear.*: .*missing 1 required positional argument"):
        check_fit(bilinear, ImageSet(X, Y))
    with pytest.raises(AdrlGymError, match="no images for Tiny"):
        check_fit(tiny, ImageSet(X[:0], Y[:0]))


class Changed(nn.Module):
    """Changes the logits of another network."""

    def __init__(self, network: nn.Module, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.network, self.change = network, change

    def forward(self, x: Tensor) -> Tensor:
        return self.change(self.network(x))


def test_probabilities_are_no_logits(tiny: nn.Module) -> None:
    for network in (nn.Sequential(tiny, nn.Softmax(1)), Changed(tiny, lambda z: z.softmax(1).half().float())):
        with pytest.raises(AdrlGymError, match=r"returns probabilities: let it return logits, without the softmax"):
            check_fit(network, ImageSet(X, Y))
        check_fit(with_output(network, torch.log), ImageSet(X, Y))
    check_fit(nn.Sequential(tiny, nn.LogSoftmax(1)), ImageSet(X, Y))
    check_fit(nn.Sequential(tiny, nn.Sigmoid()), ImageSet(X, Y))
    pixels = nn.Sequential(nn.Conv2d(3, 5, 1), nn.Softmax(1))
    with pytest.raises(AdrlGymError, match="returns probabilities"):
        check_fit(pixels, ImageSet(X, torch.zeros(4, 8, 8, dtype=torch.int64)))


def test_a_lost_batch_is_told_from_a_single_output(tiny: nn.Module) -> None:
    with pytest.raises(
        AdrlGymError, match=r"returns shape \(5,\) for a batch of one image, .*: write flatten\(1\) for"
    ):
        check_fit(Changed(tiny, lambda z: z[..., None, None].squeeze()), ImageSet(X, Y))
    with pytest.raises(AdrlGymError, match="has a single output"):
        check_fit(Changed(tiny, lambda z: z[:, 0]), ImageSet(X, Y))


@pytest.mark.parametrize("error", [KeyError("part"), AttributeError("part"), ZeroDivisionError("part")])
def test_any_error_of_the_network_is_told(tiny: nn.Module, error: Exception) -> None:
    def fail(_: Tensor) -> Tensor:
        raise error

    with pytest.raises(AdrlGymError, match=rf"do not fit Changed, .*: {type(error).__name__}: '?part"):
        check_fit(Changed(tiny, fail), ImageSet(X, Y))
