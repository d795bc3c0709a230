"""Rendering as text and as an image."""

import numpy as np
from torch import nn

from environments import Batches, make_env, play

GENERIC = "adrl_gym/MixedPrecisionQuant-v0"


def test_render_shows_layers_accuracy_and_size(tiny: nn.Module, batches: Batches) -> None:
    env = make_env(tiny, batches, render_mode="ansi")
    env.reset()
    assert "no configuration measured yet" in env.render()  # type: ignore[operator]
    _, _, info = play(env, [0.0] * 4)
    text = str(env.render())
    assert len(text.splitlines()) == 5
    assert f"{info['accuracy']:.2f} %" in text
    picture = make_env(tiny, batches, render_mode="rgb_array")
    play(picture, [0.0] * 4)
    pixels = picture.render()
    assert isinstance(pixels, np.ndarray)
    assert pixels.dtype == np.uint8
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 3
