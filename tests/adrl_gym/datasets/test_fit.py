"""Images that fit a network, and clear messages for those that do not."""

import pytest
import torch
from torch import nn

from adrl_gym.datasets.fit import check_fit
from adrl_gym.datasets.images import ImageSet
from adrl_gym.errors import AdrlGymError

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
