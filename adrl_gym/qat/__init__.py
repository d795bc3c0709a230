"""From a quantized network to a better one of the same bits: quantization-aware training."""

from adrl_gym.qat.loop import Epoch, Finetuned, finetune
from adrl_gym.qat.settings import Finetuning

__all__ = ["Epoch", "Finetuned", "Finetuning", "finetune"]
