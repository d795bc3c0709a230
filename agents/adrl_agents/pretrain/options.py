"""Options of ``adrl-gym pretrain``."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from adrl_agents.adrl import FamilyConfig
from adrl_agents.options import Switch, json_value
from adrl_gym.costs import check_shares
from adrl_gym.devices import check_device
from adrl_gym.envs import FAMILY_BUDGETS
from adrl_gym.errors import AdrlGymError
from adrl_gym.quantization import QUANTIZERS

if TYPE_CHECKING:
    QuantizerChoice: TypeAlias = str
else:  # the choices that tyro offers and checks
    from typing import Literal

    QuantizerChoice = Literal[tuple(QUANTIZERS)]

_ASIDE = ("data_root", "device", "episodes", "output", "resume", "track", "tensorboard", "wandb_project", "wandb_group")


@dataclass(frozen=True, kw_only=True)
class PretrainOptions(FamilyConfig):
    """Options of the training."""

    networks: tuple[str, ...]
    """Networks to learn from: FILE.py:FACTORY ..., or names; FILE.py alone is all that --weights has files for."""
    weights: Path | None = None
    """Folder of the networks' weights, a file FACTORY.safetensors for each; without it, they bring their own."""
    data: str = "auto"
    """Images: cifar10, cifar100, imagenet, or auto (found), as for a search."""
    data_root: Path | None = None
    """Folder of the data set, else $ADRL_GYM_DATA."""
    quantizers: tuple[QuantizerChoice, ...] = ("gptq", "linear")
    """Roundings of weights to draw from."""
    budgets: tuple[float, ...] = FAMILY_BUDGETS
    """Largest shares of the 32-bit size to draw from."""
    images: int = 250
    """Number of search images that tables and rewards are measured on."""
    episodes: int = 2000
    """Bit configurations to try."""
    seed: int = 0
    """Seed of everything random."""
    device: str = "auto"
    """Device that measures configurations; auto takes CUDA where there is one."""
    output: Path = Path("runs/pretrain")
    """Folder of the training: policy.zip, agent.zip (to resume from), episodes.csv, curve.png, options.json."""
    resume: Switch = False
    """Go on with a training of the same options; --episodes may be larger than there."""
    track: Switch = False
    """Log to Weights & Biases (WANDB_MODE=offline keeps it on this machine)."""
    tensorboard: Switch = False
    """Log to TensorBoard, into the folder tensorboard of the output."""
    wandb_project: str = "adrl-gym"
    """Project in Weights & Biases."""
    wandb_group: str | None = None
    """Group in Weights & Biases; without it, the name of the output's folder."""

    def check(self) -> None:
        """Refuse impossible values before anything is done; raises ``AdrlGymError``."""
        for name in ("networks", "quantizers", "budgets"):
            if not getattr(self, name):
                raise AdrlGymError(f"{name} must not be empty: give at least one", parameter=name)
        for name in ("images", "episodes", "k"):
            if getattr(self, name) < 1:
                raise AdrlGymError(f"{name} must be at least 1, got {getattr(self, name)}", parameter=name)
        for name in ("seed", "warmup_episodes"):
            if getattr(self, name) < 0:
                raise AdrlGymError(f"{name} must be at least 0, got {getattr(self, name)}", parameter=name)
        if not self.sigma > 0 or not 0 < self.sigma_decay <= 1:
            raise AdrlGymError(
                f"sigma must be above 0 and sigma_decay in (0, 1], got {self.sigma:g} and {self.sigma_decay:g}",
                parameter=("sigma", "sigma_decay"),
            )
        if not self.actor_learning_rate > 0:
            raise AdrlGymError(
                f"actor_learning_rate must be above 0, got {self.actor_learning_rate:g}",
                parameter="actor_learning_rate",
            )
        for budget in self.budgets:
            check_shares(budget)
        check_device(self.device)

    def recorded(self) -> dict[str, Any]:
        """Return the options that make the training what it is, as JSON values."""
        values = dataclasses.asdict(self)
        return {name: json_value(value) for name, value in values.items() if name not in _ASIDE}
