"""The import of torchvision."""

import sys
from pathlib import Path

import pytest
import torch

from adrl_gym.datasets.find import load_splits
from adrl_gym.errors import AdrlGymError
from adrl_gym.models.named import load_network
from adrl_gym.vision import import_torchvision


@pytest.mark.parametrize(
    "failure",
    ['RuntimeError("operator torchvision::nms does not exist")', 'ImportError("undefined symbol: _ZN3c10")'],
)
def test_torchvision_of_another_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: str) -> None:
    (tmp_path / "torchvision.py").write_text(f"raise {failure}\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    with pytest.raises(AdrlGymError, match="pip install --upgrade torch torchvision") as caught:
        import_torchvision()
    assert torch.__version__ in str(caught.value)
    for name in ("alexnet", "resnet50"):
        with pytest.raises(AdrlGymError, match="torchvision cannot be imported"):
            load_network(name)
    (tmp_path / "cifar-10-batches-py").mkdir()
    with pytest.raises(AdrlGymError, match="torchvision cannot be imported"):
        load_splits("cifarnet", "cifar10", data_root=tmp_path)
