"""Quantization-aware training of a network with given bits."""

from adrl_gym.qat.epochs import Epoch, Finetuned
from adrl_gym.qat.loader import Feed
from adrl_gym.qat.loop import finetune
from adrl_gym.qat.settings import Finetuning
from adrl_gym.qat.teacher import FloatTeacher
from adrl_gym.qat.trainer import Trainer

__all__ = ["Epoch", "Feed", "Finetuned", "Finetuning", "FloatTeacher", "Trainer", "finetune"]
