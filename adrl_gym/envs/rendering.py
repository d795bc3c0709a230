"""Draw a bit configuration as text or as a picture, with nothing but NumPy and Pillow."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from adrl_gym.costs import limits_of, told_ratios
from adrl_gym.problem import QuantProblem

COLUMN, ROW, _MARGIN = 22, 20, 44  # pixels
_COLOURS = ("#440154", "#46327e", "#365c8d", "#277f8e", "#1fa187", "#4ac16d", "#a0da39", "#fde725")  # viridis


def render_ansi(chosen: Sequence[int], last: dict[str, Any], problem: QuantProblem) -> str:
    """One line a bit-width with a bar, then accuracy and size.

    Args:
        chosen: bits of this episode's searched layers so far; shown until a configuration has been measured.
        last: ``info`` of the last finished episode, or empty.
        problem: for the float accuracy and the budget.
    """
    names = [problem.describe(place) for place in range(problem.length)]
    width = max(len(name) for name in names)
    lines = [f"{names[index]:{width}}  {b}  {'#' * b}" for index, b in _shown(chosen, last, problem).items()]
    return "\n".join([*lines, _summary(last, problem)])


def render_image(chosen: Sequence[int], last: dict[str, Any], problem: QuantProblem) -> np.ndarray:
    """The same as bars, one column a layer; ``(H, W, 3)`` uint8."""
    names, bits = [problem.describe(place) for place in range(problem.length)], _shown(chosen, last, problem)
    width = max(2 * _MARGIN + COLUMN * len(names), 480)
    most = max(problem.max_bits, *problem.fixed_bits.values(), 1)
    height = 2 * _MARGIN + ROW * most
    image = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(image)
    floor = height - _MARGIN
    for b in range(1, most + 1):
        draw.line([(_MARGIN, floor - b * ROW), (width - _MARGIN, floor - b * ROW)], fill="#e4e4e4")
        draw.text((_MARGIN - 14, floor - b * ROW - 6), str(b), fill="#555555")
    for index, b in bits.items():
        left = _MARGIN + index * COLUMN
        draw.rectangle([left + 3, floor - b * ROW, left + COLUMN - 3, floor], fill=_COLOURS[min(b, 8) - 1])
    draw.line([(_MARGIN, floor), (width - _MARGIN, floor)], fill="black")
    draw.text((4, 8), "bits", fill="black")
    draw.text((_MARGIN, 8), _summary(last, problem), fill="black")
    draw.text((_MARGIN, floor + 8), f"layers in forward order: {names[0]} ... {names[-1]}", fill="black")
    return np.asarray(image)


def _shown(chosen: Sequence[int], last: dict[str, Any], problem: QuantProblem) -> dict[int, int]:
    """Index of each layer whose bits are known -> its bits, in forward order."""
    if last:
        return dict(enumerate(last["bits"]))
    return dict(sorted({**problem.fixed_bits, **dict(zip(problem.searchable, chosen, strict=False))}.items()))


def _summary(last: dict[str, Any], problem: QuantProblem) -> str:
    if not last:
        return f"no configuration measured yet; budget {told_ratios(limits_of(problem.budget))}"
    others = {kind: ratio for kind, ratio in last["cost_ratios"].items() if kind != "size"}
    return (
        f"accuracy {last['accuracy']:.2f} % (float {problem.float_search.accuracy:.2f} %), "
        f"size {last['size_ratio']:.4f} of 32-bit, {last['average_bits']:.2f} bits a weight"
        f"{', ' if others else ''}{told_ratios(others)}"
    )
