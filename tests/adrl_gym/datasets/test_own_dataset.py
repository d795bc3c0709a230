"""Data sets of a user's own in Python: samples instead of batches, pictures instead of tensors."""

from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from adrl_gym.datasets.fit import check_fit
from adrl_gym.datasets.images import ImageSet
from adrl_gym.datasets.own import own_splits
from adrl_gym.envs import problem_of
from adrl_gym.errors import AdrlGymError
from adrl_gym.models.named import LoadedNetwork, own_network

MEAN, STD = (0.5, 0.4, 0.3), (0.25, 0.2, 0.1)
PIXELS = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
X = torch.from_numpy(PIXELS).permute(0, 3, 1, 2) / 255  # (40, 3, 8, 8)
NORMAL = (X - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
Y = torch.arange(40) % 5


class Samples(Dataset[Any]):
    """Samples of any form, by number; without an ``IndexError`` at its end."""

    def __init__(self, samples: list[Any]) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Any:
        return self.samples[index % len(self)]


class Stream(IterableDataset[Any]):
    """Samples, one after the other."""

    def __iter__(self) -> Iterator[Any]:
        yield from zip(X, Y.tolist(), strict=True)


def pictures(mode: str = "RGB") -> list[Image.Image]:
    return [Image.fromarray(pixels).convert(mode) for pixels in PIXELS]


def loaded(network: nn.Module, **said: Any) -> LoadedNetwork:
    return own_network(network).normalised(said.get("mean"), said.get("std"))


LABELS: dict[str, Any] = {"int": Y.tolist(), "numpy": list(Y.numpy()), "tensor": list(Y)}


@pytest.mark.parametrize("labels", LABELS)
def test_samples_are_taken_as_they_are(labels: str) -> None:
    splits = own_splits(Samples(list(zip(X, LABELS[labels], strict=True))))
    assert torch.equal(splits.search.images, X)
    assert splits.search.labels is not None
    assert torch.equal(splits.search.labels, Y)


def test_other_forms_of_data_sets() -> None:
    expected = own_splits([(X, Y)]).search
    forms: list[Any] = [
        TensorDataset(X, Y),
        Stream(),
        DataLoader(TensorDataset(X, Y), batch_size=7),
        Samples([{"image": x, "label": y} for x, y in zip(X, Y, strict=True)]),
        Samples([[x.numpy(), y] for x, y in zip(X, Y.tolist(), strict=True)]),
        list(zip(X, Y.tolist(), strict=True)),
    ]
    for data in forms:
        assert own_splits(data).search.hash == expected.hash, data


def test_of_a_larger_data_set_images_are_drawn() -> None:
    data = Samples(sorted(zip(X, Y.tolist(), strict=True), key=lambda sample: sample[1]))  # as folders are sorted
    found = own_splits(data, 15).search
    assert found.labels is not None
    assert len(found) == 15
    assert len(found.labels.unique()) == 5
    assert own_splits(data, 15).search.hash == found.hash


def test_pil_images_are_prepared_as_the_network_says(tiny: nn.Module) -> None:
    data = Samples(list(zip(pictures(), Y.tolist(), strict=True)))
    torch.testing.assert_close(own_splits(data, loaded=loaded(tiny, mean=MEAN, std=STD)).search.images, NORMAL)
    tiny.pretrained_cfg = {"input_size": (3, 8, 8), "mean": MEAN, "std": STD}  # type: ignore[assignment]
    torch.testing.assert_close(own_splits(data, loaded=loaded(tiny)).search.images, NORMAL)
    grey = Samples(list(zip(pictures("L"), Y.tolist(), strict=True)))
    assert own_splits(grey, loaded=loaded(nn.Flatten(), mean=[0.5], std=[0.2])).search.images.shape == (40, 1, 8, 8)


def test_a_data_set_of_torchvision_is_searched(tiny: nn.Module) -> None:
    def search(**keywords: Any) -> str:
        env = gym.make("adrl_gym/MixedPrecisionQuant-v0", network=tiny, budget=0.1, quantizer="linear", **keywords)
        return problem_of(env).images_hash

    made = torchvision.datasets.FakeData(30, (3, 8, 8), 5)
    transforms = torchvision.transforms
    tensors = transforms.Compose([transforms.ToTensor(), transforms.Normalize(MEAN, STD)])
    transformed = torchvision.datasets.FakeData(30, (3, 8, 8), 5, transform=tensors)
    assert search(data=made, mean=MEAN, std=STD) == search(data=transformed)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (Samples([(pictures()[0], 1)]), r"sample 0 of the data is a PIL image, and nothing says how it is normalised"),
        (Samples([(X[0], "cat")]), "has a label of str: a class index is needed"),
        (Samples([(X[0], 1), (X[0],)]), r"sample 1 of the data is no pair \(image, label\)"),
        (Samples([("0.png", 1)]), "is no tensor and no PIL image but str"),
        (Samples([{"path": "0.png", "label": 1}]), "has the keys path, label: give pairs"),
        (Samples([(PIXELS[0], 1)]), "sample 0 of the data has images of torch.uint8: scale them"),
        (Samples([(X[0], 1), (X[0, :, :4], 1)]), "sample 1 of the data has images of shape .* resize"),
        (Samples([]), "the data holds no images"),
    ],
)
def test_samples_that_cannot_be(data: Any, message: str, tiny: nn.Module) -> None:
    with pytest.raises(AdrlGymError, match=message):
        own_splits(data, loaded=loaded(tiny))


def test_tensors_are_normalised_already(tiny: nn.Module) -> None:
    with pytest.raises(AdrlGymError, match="is a tensor, which is taken as normalised: leave out mean and std"):
        own_splits(TensorDataset(X, Y), loaded=loaded(tiny, mean=MEAN, std=STD))
    with pytest.raises(AdrlGymError, match="is a tensor, which is taken as normalised: leave out mean and std"):
        own_splits([(X, Y)], loaded=loaded(tiny, mean=MEAN, std=STD))


class Squeezed(nn.Module):
    """One number an image."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((1, 2, 3))  # (B,)


@pytest.mark.parametrize(
    "network", [nn.Sequential(nn.Flatten(), nn.Linear(192, 1)), Squeezed()], ids=["(B, 1)", "(B,)"]
)
def test_a_single_output_is_told_what_to_do(network: nn.Module) -> None:
    with pytest.raises(AdrlGymError, match=r"single output: .*torch.stack\(\[torch.zeros_like\(z\), z\], 1\)"):
        check_fit(network, ImageSet(X, Y % 2))


def test_the_remedy_for_a_single_output_works() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 1), nn.Flatten(0))

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, x: Tensor) -> Tensor:
            z = self.network(x)  # (B,)
            return torch.stack([torch.zeros_like(z), z], 1)  # (B, 2)

    check_fit(Two(), ImageSet(X, Y % 2))
    torch.testing.assert_close(Two()(X).softmax(1)[:, 1], network(X).sigmoid())
