"""Discrete and continuous actions that are taken."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from adrl_gym import MixedPrecisionQuantEnv
from environments import Batches


@pytest.mark.parametrize("action", [3, np.int64(3), np.int32(3), np.array(3)])
def test_discrete_actions(tiny: nn.Module, batches: Batches, action: Any) -> None:
    env = MixedPrecisionQuantEnv(tiny, batches, budget=0.25, quantizer="linear", action_type="discrete")
    env.reset()
    for _ in range(4):
        info = env.step(action)[4]
    assert info["chosen_bits"] == (4, 4, 4, 4)


@pytest.mark.parametrize("action", [np.array([0.5], np.float32), np.array([0.5]), [0.5], torch.tensor([0.5])])
def test_continuous_actions(tiny: nn.Module, batches: Batches, action: Any) -> None:
    env = MixedPrecisionQuantEnv(tiny, batches, budget=0.1, quantizer="linear")
    env.reset()
    assert env.step(action)[0][9] == 0.75
