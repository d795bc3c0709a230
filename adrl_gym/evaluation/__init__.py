"""From quantized layers to the accuracy of a whole network."""

from adrl_gym.evaluation.engine import ACTIVATION_MEMORY, Engine
from adrl_gym.evaluation.result_cache import Memo
from adrl_gym.evaluation.metrics import IN_NATS, SCORES, Metrics, Outcomes, Score
from adrl_gym.evaluation.reference import PlainEvaluator
from adrl_gym.quantization.layerwise import LayerVersion, prepare_layers
from adrl_gym.evaluation.racing import race
from adrl_gym.evaluation.runner import Bits

__all__ = [
    "ACTIVATION_MEMORY",
    "IN_NATS",
    "SCORES",
    "Bits",
    "Engine",
    "LayerVersion",
    "Memo",
    "Metrics",
    "Outcomes",
    "PlainEvaluator",
    "Score",
    "prepare_layers",
    "race",
]
