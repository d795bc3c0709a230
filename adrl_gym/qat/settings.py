"""The settings of the finetuning."""

from dataclasses import dataclass
from typing import Literal

from adrl_gym.errors import AdrlGymError


@dataclass(frozen=True, kw_only=True)
class Finetuning:
    """Settings of the finetuning."""

    epochs: int = 5
    """Passes over the training images; more for a small set, for example 100 for a data-free one."""
    batch_size: int = 128
    """Images a step."""
    learning_rate: float = 1e-3
    """Learning rate of Adam at its peak; it falls to 0 along a cosine."""
    distillation: bool = True
    """Learn the float network's predictions more than the images' labels; without it, the labels alone."""
    horizontal_flip: bool = True
    """Mirror half of the images, and let the float network teach by each image and its mirror image together; not for
    a network to which mirror images mean something else, as to one that reads digits."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Precision of the passes in training; auto takes bfloat16 where it is faster when the finetuning begins.
    Weights and measurements are float32."""
    seed: int = 0
    """Seed of the images' order, of crops and flips, and of dropout."""

    def check(self) -> None:
        """Refuse impossible values; raises ``AdrlGymError``."""
        for name, least in (("epochs", 1), ("batch_size", 2), ("seed", 0)):
            if getattr(self, name) < least:
                raise AdrlGymError(f"{name} must be at least {least}, got {getattr(self, name)}", parameter=name)
        if not 0 < self.learning_rate < 1:
            raise AdrlGymError(
                f"learning_rate must be above 0 and below 1, got {self.learning_rate:g}", parameter="learning_rate"
            )
