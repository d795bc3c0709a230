"""Fixtures that all tests share."""

import os
from collections.abc import Iterator
from pathlib import Path

import matplotlib
import pytest
import torch
from hypothesis import settings
from torch import Tensor, nn

from adrl_gym.datasets import Splits, cifar10_splits
from trainable import Normed, smooth

DATA = os.environ.get("ADRL_GYM_DATA")

settings.register_profile("default", deadline=None)  # a busy machine is no failure
settings.load_profile("default")


@pytest.fixture(scope="session", autouse=True)
def hidden_data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests see no data set that happens to be on this machine, unless they ask for ``cifar_root``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("ADRL_GYM_DATA", raising=False)
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module", autouse=True)
def seeded() -> None:
    """Seeds each module, so that its draws do not depend on the modules before it."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def cifar_root() -> Path:
    """The folder that holds the real CIFAR-10; the test is skipped where there is none."""
    if DATA is None:
        pytest.skip("needs the real CIFAR-10: set ADRL_GYM_DATA to the folder that holds cifar-10-batches-py")
    if not (Path(DATA) / "cifar-10-batches-py").is_dir():
        pytest.skip(f"needs the real CIFAR-10: ADRL_GYM_DATA={DATA} holds no cifar-10-batches-py")
    return Path(DATA).resolve()


@pytest.fixture(scope="session")
def cifar_splits(cifar_root: Path) -> Splits:
    """500 search images and the test images of the real CIFAR-10; reading them takes seconds."""
    return cifar10_splits(cifar_root, 500)


@pytest.fixture(scope="module")
def scripts() -> Iterator[None]:
    """Makes the scripts of agents/ importable, and a user's own module with the environment id tiny_env:Tiny-v0.

    Here as in the processes that tests begin there is one thread: with more, the last bits of sums may differ.
    """
    tests, threads = Path(__file__).parent, torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(tests / "support" / "own_network")
        patch.syspath_prepend(tests.parent / "agents")
        patch.setenv("PYTHONPATH", str(tests / "support" / "own_network"), prepend=os.pathsep)
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("MPLCONFIGDIR", matplotlib.get_cachedir())
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def benchmark_scripts(scripts: None) -> Iterator[None]:
    """Makes the scripts of benchmarks/ importable, and the module that makes up runs for them."""
    tests = Path(__file__).parent
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(tests.parent)
        patch.syspath_prepend(tests / "support" / "made_runs")
        yield


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make searches write empty pictures: drawing them takes three quarters of a tiny search."""
    for draw in ("draw_bits", "draw_curve", "draw_sensitivity"):
        monkeypatch.setattr(f"adrl_agents.search.logger.{draw}", lambda *_: None)
    monkeypatch.setattr("adrl_agents.runs.RunFolder.save_picture", lambda _, path, figure: path.touch())


class Tiny(nn.Module):
    """Four quantizable layers, few enough to try every configuration; images ``(B, 3, 8, 8)``, 5 classes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 3, padding=1)
        self.conv2 = nn.Conv2d(6, 8, 3, stride=2, padding=1)
        self.fc1 = nn.Linear(8 * 4 * 4, 16)
        self.fc2 = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x).relu()  # (B, 6, 8, 8)
        x = self.conv2(x).relu()  # (B, 8, 4, 4)
        return self.fc2(self.fc1(x.flatten(1)).relu())  # (B, 5)


@pytest.fixture
def tiny() -> nn.Module:
    """A small network with random weights that uses all of its classes."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Tiny().eval()
        with torch.no_grad():
            logits = network(torch.randn(1000, 3, 8, 8))  # (1000, 5)
            network.fc2.weight /= logits.std(0)[:, None]
            network.fc2.bias.copy_(network.fc2.bias - logits.mean(0)).div_(logits.std(0))
        return network


@pytest.fixture
def batches(tiny: nn.Module) -> list[tuple[Tensor, Tensor]]:
    """A data set that ``tiny`` classifies without an error: three batches of 100 random images."""
    images = torch.randn(300, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        labels = tiny(images).argmax(1)  # (300,)
    return list(zip(images.split(100), labels.split(100), strict=True))


@pytest.fixture
def normed() -> nn.Module:
    """A trained ``Normed``."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Normed()
        with torch.no_grad():
            for _ in range(20):
                network(smooth(100, 7))  # running statistics
        return network.eval()
