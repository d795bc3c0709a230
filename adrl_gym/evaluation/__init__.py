"""From quantized layers to the accuracy of a whole network."""

from adrl_gym.evaluation.evaluator import Evaluator
from adrl_gym.evaluation.metrics import SCORES, Metrics, Score, Tally
from adrl_gym.evaluation.prepare import LayerVersion, prepare_layers

__all__ = ["SCORES", "Evaluator", "LayerVersion", "Metrics", "Score", "Tally", "prepare_layers"]
