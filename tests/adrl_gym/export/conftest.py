"""Fixture of a quantized network to export."""

import pytest
import torch

from exported import Mixed, Model


@pytest.fixture(scope="module")
def mixed() -> Model:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Model(Mixed(), (2, 3, 4, 6), torch.randn(60, 4, 8, 8))
