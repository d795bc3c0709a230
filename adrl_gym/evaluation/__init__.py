"""From quantized weights to the metrics of a whole network."""

from adrl_gym.evaluation.engine import ACTIVATION_MEMORY, Engine
from adrl_gym.evaluation.evaluator import CachedEvaluator
from adrl_gym.evaluation.fingerprint import fingerprint
from adrl_gym.evaluation.metrics import IN_NATS, SCORES, Metrics, SampleMetrics, Score, compare
from adrl_gym.evaluation.precision import DTYPES, Precision, check_native
from adrl_gym.evaluation.racing import race
from adrl_gym.evaluation.reference import ReferenceEvaluator, whole_logits
from adrl_gym.evaluation.result_cache import Memo
from adrl_gym.evaluation.sequential_engine import SequentialEngine

__all__ = [
    "ACTIVATION_MEMORY",
    "DTYPES",
    "IN_NATS",
    "SCORES",
    "CachedEvaluator",
    "Engine",
    "Memo",
    "Metrics",
    "Precision",
    "ReferenceEvaluator",
    "SampleMetrics",
    "Score",
    "SequentialEngine",
    "check_native",
    "compare",
    "fingerprint",
    "race",
    "whole_logits",
]
