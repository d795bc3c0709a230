"""Shortcuts for layers with long rows of weights or with few samples; results are the same but for rounding."""

from adrl_gym.quantization.shortcuts.feedback import Dense, Factored, Pass, factor
from adrl_gym.quantization.shortcuts.gram import Gram, few_samples
from adrl_gym.quantization.shortcuts.peaks import PossiblePeaks, best_peak_level

__all__ = ["Dense", "Factored", "Gram", "Pass", "PossiblePeaks", "best_peak_level", "factor", "few_samples"]
