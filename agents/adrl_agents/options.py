"""The typed options of the command lines: one dataclass for all agents, with the help beside each field."""

import dataclasses
import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import gymnasium as gym
import torch
import tyro
from gymnasium.envs.registration import EnvSpec

from adrl_gym.errors import AdrlGymError

Algo = Literal["ddpg", "td3", "sac", "ppo", "dqn"]
ActionType = Literal["continuous", "discrete"]
Method = Literal["uniform", "random", "greedy", "ip", "tpe", "local", "exhaustive"]

GENERIC_ID = "adrl_gym/MixedPrecisionQuant-v0"
Switch: TypeAlias = Annotated[bool, tyro.conf.FlagCreatePairsOff]  # --resume, without a --no-resume

# Options that say where things lie or what is done beside the search; all others make a run what it is. The algorithm
# or method is recorded as the agent's name.
ASIDE = ("data_root", "download", "output", "resume", "track", "wandb_project", "wandb_group", "algo", "method")


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options that all agents share."""

    env_id: str = "adrl_gym/ResNet20-Cifar10-v0"
    """Environment to search in: an id of this package, or module:id of your own."""
    budget: float = 0.0625
    """Largest size of the weights over their size in 32 bits; 0.0625 is 16 times smaller."""
    data: Literal["auto", "cifar10", "imagenet", "data-free"] = "auto"
    """Images to search on; auto takes the network's data set where it is found, else the data-free set."""
    data_root: Path | None = None
    """Folder of the data set; without it, $ADRL_GYM_DATA or the default cache."""
    download: Switch = False
    """Download the data set if it is not there (CIFAR-10)."""
    images: int = 1000
    """How many images the search measures a configuration on."""
    quantizer: Literal["gptq", "linear", "kmeans"] = "gptq"
    """How weights are rounded: error-compensating, to the nearest level, or to a codebook."""
    bias_correction: bool = True
    """Let each layer's bias absorb the mean error of its quantized weights."""
    weights: Path | None = None
    """File of the float network's weights, instead of the shipped or torchvision's own."""
    episodes: int = 300
    """Bit configurations to try."""
    evaluations: int | None = None
    """Most passes over all search images that the search may take; without it, only --episodes ends it."""
    window: int = 20
    """Episodes that early termination of the search looks back on."""
    tolerance: float = 0.0
    """End the search once accuracy's deviation over the window is below this, in percent; 0 is never."""
    seed: int = 0
    """Seed of everything random; the same seed gives the same search."""
    device: str = "auto"
    """Device that measures configurations; auto takes CUDA where there is one."""
    output: Path | None = None
    """Folder of this run; without it, runs/<env>-<agent>-<budget>-s<seed>."""
    resume: Switch = False
    """Go on where an earlier run of the same options stopped; --episodes and --evaluations may be larger than there."""
    track: Switch = False
    """Log to Weights & Biases (WANDB_MODE=offline keeps it on this machine)."""
    wandb_project: str = "adrl-gym"
    """Project in Weights & Biases."""
    wandb_group: str | None = None
    """Group in Weights & Biases, for example one for all seeds; without it, <env>-<agent>-<budget>."""

    def check(self) -> None:
        """Refuse impossible values before anything is done; raises ``AdrlGymError``."""
        self._at_least_one("episodes", "images", *(["evaluations"] if self.evaluations is not None else []))
        if not self.budget <= 1:
            raise AdrlGymError(f"--budget {self.budget:g}: a share of the 32-bit size, so at most 1; 0.0625 is 1/16")
        if self.seed < 0:
            raise AdrlGymError(f"--seed {self.seed}: it starts at 0")
        if self.window < 2:
            raise AdrlGymError(f"--window {self.window}: a spread needs at least 2 episodes")
        if not self.tolerance >= 0:
            raise AdrlGymError(f"--tolerance {self.tolerance}: 0 (never end early) or more is needed")
        spec_of(self.env_id)
        check_device(self.device)

    def _at_least_one(self, *names: str) -> None:
        for name in names:
            if getattr(self, name) < 1:
                raise AdrlGymError(f"--{name.replace('_', '-')} {getattr(self, name)}: at least 1 is needed")

    def run_name(self, agent: str) -> str:
        """``<env>-<agent>-<budget>``, for folders and groups."""
        env = self.env_id.rpartition("/")[2].rpartition(":")[2].rpartition("-v")[0]
        return f"{env}-{agent}-{self.budget:g}"

    def recorded(self) -> dict[str, Any]:
        """The options that make the run what it is, as JSON values."""
        values = {k: v for k, v in dataclasses.asdict(self).items() if k not in ASIDE}
        return {k: str(v) if isinstance(v, Path) else v for k, v in values.items()}


@dataclass(frozen=True, kw_only=True)
class ADRLOptions(Options):
    """Options of ADRL."""

    episodes: int = 40
    """Bit configurations to try."""
    k: int = 8
    """Candidate bit-widths that the actor proposes for a layer; 1 is HAQ."""
    indicator: Literal["profiling", "distance"] = "profiling"
    """What chooses among candidates: measured predictions (P-ADRL) or distance of the weights (D-ADRL)."""
    context: Literal["single", "prefix", "completed"] = "single"
    """Other layers while profiling: float, those before as decided, or the rest completed as well."""
    score: Literal["accuracy", "agreement", "kl"] = "kl"
    """What profiling measures: accuracy, agreement with the float network, or divergence from it."""
    profile_images: int = 250
    """How many of the search images profiling uses."""

    def check(self) -> None:
        """As for all agents, and ADRL's own."""
        super().check()
        self._at_least_one("k", "profile_images")


@dataclass(frozen=True, kw_only=True)
class SB3Options(Options):
    """Options of Stable-Baselines3's own agents."""

    algo: Algo = "ddpg"
    """Which agent of Stable-Baselines3."""


@dataclass(frozen=True, kw_only=True)
class SearchOptions(Options):
    """Options of the searches that do not learn."""

    method: Method
    """How configurations are chosen; agents/README.md says what each does."""
    score: Literal["accuracy", "agreement", "kl"] = "kl"
    """What the one-layer table of greedy, ip and local measures: accuracy, agreement with the float network, or KL."""
    profile_images: int = 250
    """How many of the search images that table is measured on."""

    def check(self) -> None:
        """As for all agents, and the table's own."""
        super().check()
        self._at_least_one("profile_images")


def spec_of(env_id: str) -> EnvSpec:
    """The specification of a quantization environment; of ``module:id``, the module is imported.

    Raises:
        AdrlGymError: there is no such environment, or it is of another kind; says which there are.
    """
    module, _, name = env_id.rpartition(":")
    entry_point = gym.spec(GENERIC_ID).entry_point
    try:
        if module:
            importlib.import_module(module)
        spec = gym.spec(name)
        if spec.entry_point == entry_point:
            return spec
        problem = f"{env_id} is no quantization environment"
    except (gym.error.Error, ModuleNotFoundError) as error:
        problem = f"unknown environment {env_id} ({error})"
    known = sorted(known for known, spec in gym.registry.items() if spec.entry_point == entry_point)
    raise AdrlGymError(f"{problem}; choose one of {', '.join(known)}, or module:id of your own")


def check_device(device: str) -> None:
    """Raises ``AdrlGymError`` unless tensors can be put on ``device``."""
    if device == "auto":
        return
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise AdrlGymError(f"--device {device} cannot be used here; choose auto or cpu") from error
