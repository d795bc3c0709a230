"""CIFAR for networks of one's own: their normalisation, their size, their outputs."""

import pickle
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
import torchvision
from torch import nn

from adrl_agents.cli import run as run_command
from adrl_agents.runs.result import SearchResult
from adrl_gym.datasets import cifar
from adrl_gym.datasets.find import find_splits
from adrl_gym.errors import AdrlGymError
from adrl_gym.models.named import load_network, own_network
from commands import OWN

TRAIN, TEST = 40, 6  # images of the made data sets, of which 10 are to search on
MEAN, STD = (0.5, 0.4, 0.3), (0.25, 0.2, 0.1)


def make_cifar(root: Path, name: str) -> None:
    """Write noise in the data set's format."""
    of, draw = cifar.CIFAR[name], np.random.default_rng(0)
    folder, key = root / of.folder, "labels" if name == "cifar10" else "fine_labels"
    folder.mkdir()
    train = [f"data_batch_{index}" for index in range(1, 6)] if name == "cifar10" else ["train"]
    for file in [*train, "test_batch" if name == "cifar10" else "test"]:
        count = TEST if file.startswith("test") else TRAIN // len(train)
        data = draw.integers(0, 256, (count, 3072), dtype=np.uint8)
        content = {"data": data, key: [index % of.classes for index in range(count)]}
        (folder / file).write_bytes(pickle.dumps(content))
    meta = ("batches.meta", "label_names") if name == "cifar10" else ("meta", "fine_label_names")
    (folder / meta[0]).write_bytes(pickle.dumps({meta[1]: [str(index) for index in range(of.classes)]}))


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with both data sets."""
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)
    monkeypatch.setattr("adrl_gym.datasets.cifar.TRAIN_IMAGES", 30)
    (tmp_path / "data").mkdir()
    for name in cifar.CIFAR:
        make_cifar(tmp_path / "data", name)
    return tmp_path / "data"


def network(classes: int = 10, **config: Any) -> nn.Module:
    made = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, classes))
    if config:
        made.pretrained_cfg = config  # type: ignore[assignment]
    return made


def pixels(root: Path, name: str, train: bool) -> torch.Tensor:
    """The pictures themselves, from 0 to 1, ``(N, 3, 32, 32)``."""
    kind = torchvision.datasets.CIFAR10 if name == "cifar10" else torchvision.datasets.CIFAR100
    return torch.from_numpy(kind(str(root), train=train).data).permute(0, 3, 1, 2) / 255


def normalised(x: torch.Tensor, mean: Any, std: Any) -> torch.Tensor:
    return (x - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]


@pytest.mark.parametrize(("name", "classes"), [("cifar10", 10), ("cifar100", 100)])
def test_normalisation_is_the_network_s_own(root: Path, name: str, classes: int) -> None:
    def splits(made: nn.Module, **said: Any) -> Any:
        return find_splits(
            own_network(made).normalised(**{"mean": None, "std": None, **said}), name, data_root=root, images=5
        )

    x = pixels(root, name, train=False)
    usual = cifar.CIFAR[name].usual
    wanted = {
        "the user's": (splits(network(classes), mean=MEAN, std=STD), MEAN, STD),
        "the user's first": (splits(network(classes, mean=STD, std=MEAN), mean=MEAN, std=STD), MEAN, STD),
        "pretrained_cfg": (splits(network(classes, input_size=(3, 32, 32), mean=MEAN, std=STD)), MEAN, STD),
        "part of it": (splits(network(classes, mean=MEAN, std=STD)), MEAN, STD),
        "the data set's": (splits(network(classes)), usual.mean, usual.std),
    }
    for who, (found, mean, std) in wanted.items():
        torch.testing.assert_close(found.test.images, normalised(x, mean, std))
        assert ("own mean and std" in found.source) == (who == "the data set's")
        assert (found.name, len(found.search), len(found.train())) == (name, 5, 30)


def test_pictures_are_resized_for_networks_that_take_larger_ones(root: Path) -> None:
    config: dict[str, Any] = {"input_size": (3, 40, 40), "mean": MEAN, "std": STD}
    splits = find_splits(own_network(network(**config)), "cifar10", data_root=root, images=5)
    assert splits.search.images.shape == (5, 3, 40, 40)
    assert splits.test is not None
    assert next(splits.test.batches(2))[0].shape == (2, 3, 40, 40)
    assert splits.source.endswith("6 test images, as 3 x 40 x 40")


def test_a_folder_of_cifar_is_known_by_itself_and_from_the_environment(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_splits(own_network(network()), data_root=root, images=5).name == "cifar10"
    monkeypatch.setenv("ADRL_GYM_DATA", str(root))
    assert find_splits(own_network(network(100)), "cifar100", images=5).name == "cifar100"


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"network": network(7)}, "the network has 7 outputs, and CIFAR-10 10 classes"),
        ({"network": network(), "mean": MEAN}, "mean and std belong together"),
        ({"network": network(), "mean": (0.5,), "std": (0.2,)}, "takes 3 channels, so give 3 means"),
        ({"network": network(), "mean": MEAN, "std": (0.1, 0, 1)}, "3 positive standard deviations"),
        ({"network": "resnet20", "mean": MEAN, "std": STD}, "resnet20 has its own normalisation"),
        ({"network": network(), "images": 11}, "images=11: CIFAR-10 has 1 to 10 search images"),
    ],
)
def test_what_cannot_be(root: Path, keywords: dict[str, Any], message: str) -> None:
    with pytest.raises(AdrlGymError, match=message):
        gym.make("adrl_gym/MixedPrecisionQuant-v0", data="cifar10", data_root=root, **{"images": 5, **keywords})


def test_without_the_data_set_it_is_asked_for() -> None:
    with pytest.raises(AdrlGymError, match=r"no cifar-100-python in .* let CIFAR-100 be downloaded"):
        find_splits(own_network(network(100)), "cifar100")


def test_mean_and_std_are_of_the_run(root: Path, tmp_path: Path, no_pictures: None) -> None:
    run = tmp_path / "run"
    reference, weights = f"{OWN / 'public_resnet.py'}:resnet20", tmp_path / "weights.pt"
    torch.save(load_network(reference).network.state_dict(), weights)
    own = ["--network", reference, "--weights", str(weights), "--data", "cifar10", "--data-root", str(root)]
    said = ["--mean", *map(str, MEAN), "--std", *map(str, STD)]
    quick = ["--method", "uniform", "--images", "5", "--quantizer", "linear", "--episodes", "1"]
    assert run_command("search", [*own, *said, *quick, "--output", str(run)]) == 0
    result = SearchResult.load(run / "result.json")
    assert (result.options["mean"], result.options["std"]) == (list(MEAN), list(STD))
    assert run_command("search", [*own, *quick, "--output", str(run), "--resume"]) == 2  # another run's folder
    assert run_command("export", [str(run), "--format", "packed", "--data-root", str(root)]) == 0
