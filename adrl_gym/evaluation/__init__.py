"""From quantized weights to the metrics of a whole network."""

from adrl_gym.evaluation.engine import Engine
from adrl_gym.evaluation.evaluator import CachedEvaluator, Evaluator
from adrl_gym.evaluation.metrics import IN_NATS, SCORES, Metrics, SampleMetrics, Score, sample_metrics
from adrl_gym.evaluation.precision import DTYPES, Precision, check_native
from adrl_gym.evaluation.racing import race
from adrl_gym.evaluation.ray_engine import RayEngine, parse_workers
from adrl_gym.evaluation.reference import ReferenceEvaluator, whole_logits
from adrl_gym.evaluation.session import EvaluationSession, Split, check_score

__all__ = [
    "DTYPES",
    "IN_NATS",
    "SCORES",
    "CachedEvaluator",
    "Engine",
    "EvaluationSession",
    "Evaluator",
    "Metrics",
    "Precision",
    "RayEngine",
    "ReferenceEvaluator",
    "SampleMetrics",
    "Score",
    "Split",
    "check_native",
    "check_score",
    "parse_workers",
    "race",
    "sample_metrics",
    "whole_logits",
]
