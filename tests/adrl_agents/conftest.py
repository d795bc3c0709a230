"""Fixtures of the agents' tests."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from torch import nn

from environments import Batches, make_env


@pytest.fixture
def env(tiny: nn.Module, batches: Batches) -> gym.Env[np.ndarray, Any]:
    """An environment of 81 configurations."""
    return make_env(tiny, batches, bits=(2, 4))
