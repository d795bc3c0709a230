"""Options that all agents share, with the help beside each field."""

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import tyro
from typing_extensions import Self

from adrl_agents.options.budget import BudgetOption
from adrl_agents.options.environment_ids import DEFAULT_ID, GENERIC_ID, spec_of
from adrl_gym.activations import ActivationRange, Activations, check_activations
from adrl_gym.bits import check_range, parse_keep
from adrl_gym.config import ProblemConfig
from adrl_gym.costs import budget_name, check_shares
from adrl_gym.datasets import SEARCH_IMAGES
from adrl_gym.devices import check_device
from adrl_gym.errors import AdrlGymError
from adrl_gym.evaluation import Precision
from adrl_gym.quantization import QUANTIZERS, Calibration

if TYPE_CHECKING:
    Quantizer: TypeAlias = str
else:  # the choices that tyro offers and checks
    Quantizer = Literal[tuple(QUANTIZERS)]

_PROBLEM = ProblemConfig()  # the home of the defaults

Switch: TypeAlias = Annotated[bool, tyro.conf.FlagCreatePairsOff]  # --resume, without a --no-resume

# Options that say where things lie or what is done beside the search; all others make a run what it is. The algorithm
# or method is recorded as the agent's name.
_ASIDE = (
    *("data_root", "download", "cache", "activation_gib", "output", "resume", "workers"),
    *("track", "tensorboard", "wandb_project", "wandb_group", "algo", "method"),
)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options that all agents share."""

    env_id: str = DEFAULT_ID
    """Environment to search in: an id of this package, or module:id of your own."""
    network: str | None = None
    """Your own network instead: torchvision:NAME, timm:NAME or FILE.py:FACTORY, a function without arguments."""
    keep: tuple[str, ...] = ()
    """Layers kept at fixed bits instead of searched: PATTERN=BITS ..., for example conv1=8 fc=8."""
    budget: BudgetOption = _PROBLEM.budget
    """Largest share of the 32-bit size, 0.0625 is 16 times smaller; or of other costs: size=0.125 latency=0.5 ..."""
    cost_table: Path | None = None
    """CSV file of what layers take on your hardware (adrl-gym latency-table), for budgets of latency and energy."""
    data: str = "auto"
    """Images to search on: cifar10, cifar100, imagenet, data-free, a FILE.npz of adrl-gym distill, or auto (found)."""
    data_root: Path | None = None
    """Folder of the data set, else $ADRL_GYM_DATA; for your own network, of one folder of images a class."""
    mean: tuple[float, ...] = ()
    """Mean of each channel that your own network's images are normalised by, of pixels from 0 to 1."""
    std: tuple[float, ...] = ()
    """Standard deviation of each channel, likewise; without both, those that the network or the data set names."""
    logits: str | None = None
    """Key, attribute or index of your own network's output that holds the logits, where it returns more."""
    download: Switch = False
    """Download the data set if it is not there (CIFAR-10, CIFAR-100)."""
    images: int = SEARCH_IMAGES
    """Number of images that the search measures a configuration on."""
    quantizer: Quantizer = _PROBLEM.quantizer
    """Rounding of weights: error-compensating, to the nearest level, or to a codebook."""
    bias_correction: bool = _PROBLEM.bias_correction
    """Let each layer's bias absorb the mean error of its quantized weights."""
    bits: tuple[int, int] | None = None
    """Smallest and largest bit-width to search; without them, those of the environment, 1 and 8."""
    calibration: Calibration = _PROBLEM.calibration
    """Quantization of the layers: each by itself, or in sequence, against quantized inputs (some seconds each)."""
    activations: Activations = _PROBLEM.activations
    """Bits of every layer's input, 2 to 8 (the first layer's has 8), on calibrated grids; or search, as HAQ."""
    activation_range: ActivationRange = _PROBLEM.activation_range
    """Choice of the inputs' ranges: least squared error, all but 0.01 % of the values at either end, or all values."""
    finetune_images: int = 0
    """Finetune on so many training images before a configuration is measured, as HAQ does; 0 for none (much faster)."""
    weights: Path | None = None
    """File of the float network's weights (safetensors, torch.save), instead of the shipped or its library's own."""
    episodes: int = 300
    """Bit configurations to try."""
    evaluations: int | None = None
    """Most passes over all search images that the search may take; without it, only --episodes ends it."""
    minutes: float | None = None
    """Most minutes that the search may take; without it, only --episodes and --evaluations end it."""
    window: int = 20
    """Episodes that early termination of the search looks back on."""
    tolerance: float = 0.0
    """End the search once accuracy's deviation over the window is below this, in percent; 0 is never."""
    seed: int = 0
    """Seed of everything random; the same seed gives the same search."""
    device: str = str(_PROBLEM.device)
    """Device that measures configurations, or several with commas; auto takes every CUDA device, else the CPU."""
    cache: str | None = None
    """File of what was measured before, shared by runs; or none. Without it, cache.sqlite beside the output."""
    activation_gib: float = _PROBLEM.activation_memory / 2**30
    """Memory for quantized weights and for activations that later configurations begin from, in GiB; 0 keeps none."""
    workers: str | None = None
    """Ray workers that measure configurations: a number, or ray:ADDRESS of a cluster; without it, this process."""
    profile_precision: Precision = _PROBLEM.profile_precision
    """Precision of profiling; bfloat16 where the processor has it. What is reported is float32."""
    output: Path | None = None
    """Folder of this run; without it, runs/<env>-<agent>-<budget>-s<seed>."""
    resume: Switch = False
    """Go on where an earlier run of the same options stopped; --episodes and --evaluations may be larger than there."""
    track: Switch = False
    """Log to Weights & Biases (WANDB_MODE=offline keeps it on this machine)."""
    tensorboard: Switch = False
    """Log to TensorBoard, into the folder tensorboard of the run."""
    wandb_project: str = "adrl-gym"
    """Project in Weights & Biases."""
    wandb_group: str | None = None
    """Group in Weights & Biases, for example one for all seeds; without it, <env>-<agent>-<budget>."""

    def check(self) -> None:
        """Refuse impossible values before anything is done; raises ``AdrlGymError``."""
        self._at_least_one("episodes", "images", *(["evaluations"] if self.evaluations is not None else []))
        check_shares(self.budget)
        if self.bits is not None:
            check_range(self.bits)
        check_activations(self.activations)
        if self.finetune_images != 0:
            self._at_least_one("finetune_images")
        if self.seed < 0:
            raise AdrlGymError(f"seed must be at least 0, got {self.seed}", parameter="seed")
        if self.window < 2:
            raise AdrlGymError(
                f"window must be at least 2, got {self.window}: a deviation needs 2 episodes", parameter="window"
            )
        for name, remedy in (
            ("tolerance", "0 never ends the search early"),
            ("activation_gib", "0 keeps none"),
            ("minutes", "leave it out for no limit"),
        ):
            value = getattr(self, name)
            if value is not None and not 0 <= value < math.inf:
                raise AdrlGymError(f"{name} must be finite and at least 0, got {value:g}: {remedy}", parameter=name)
        if self.network is not None and self.env_id not in (DEFAULT_ID, GENERIC_ID):
            raise AdrlGymError(
                f"network {self.network} and env_id {self.env_id} are two networks: give one",
                parameter=("network", "env_id"),
            )
        parse_keep(self.keep)
        spec = spec_of(self.environment)
        if self.network is None and "network" not in spec.kwargs:
            raise AdrlGymError(f"env_id {self.env_id} is for any network: name one", parameter="network")
        check_device(self.device)

    def _at_least_one(self, *names: str) -> None:
        for name in names:
            value = getattr(self, name)
            if value < 1:
                raise AdrlGymError(f"{name} must be at least 1, got {value}", parameter=name)

    @property
    def environment(self) -> str:
        """The id of the environment: with one's own network, that of any network."""
        return self.env_id if self.network is None else GENERIC_ID

    def run_name(self, agent: str) -> str:
        """``<env>-<agent>-<budget>``, for folders and groups; behind it the bits of activations, unless float."""
        inputs = "" if self.activations == "float" else f"-a{self.activations}"
        return f"{self.env_name}-{agent}-{budget_name(self.budget).replace('=', '').replace(' ', '-')}{inputs}"

    @property
    def env_name(self) -> str:
        """Short name of the environment; one's own network stands for it."""
        if self.network is not None:
            return self.network.rpartition(":")[2].replace("/", "-")
        return self.env_id.rpartition("/")[2].rpartition(":")[2].rpartition("-v")[0]

    def like(self, recorded: dict[str, Any]) -> Self:
        """Return these options as a run that is resumed needs them, from what it recorded."""
        return self

    def cache_file(self) -> Path | None:
        """Return the evaluation cache of this run, if it has one; an older ``memo.sqlite`` is gone on with."""
        return cache_beside(self.output or Path("runs") / "run") if self.cache is None else cache_named(self.cache)

    def recorded(self) -> dict[str, Any]:
        """Return the options that make the run what it is, as JSON values, without those that are unset."""
        values = {**dataclasses.asdict(self), "env_id": self.environment, "keep": parse_keep(self.keep)}
        for name in ("calibration", "activations", "activation_range"):
            if values[name] == getattr(_PROBLEM, name):
                del values[name]  # what runs did before there was a choice
        values = {k: v for k, v in values.items() if k not in _ASIDE and v not in (None, {}, ())}
        return {k: json_value(v) for k, v in values.items()}


def json_value(value: Any) -> Any:
    """Return an option's value as JSON gives it back."""
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


def picked_output(logits: str | None) -> str | int | None:
    """Return the option ``logits`` as ``outputs.with_output`` takes it: digits are an index."""
    if logits is None:
        return None
    return int(logits) if logits.lstrip("-").isdigit() else logits


def cache_named(name: str) -> Path | None:
    """Return the cache file of the option ``cache``; ``none`` is none."""
    return None if name == "none" else Path(name)


def cache_beside(folder: Path) -> Path:
    """Return the default cache file of the runs in the folder above this one."""
    new, old = folder.parent / "cache.sqlite", folder.parent / "memo.sqlite"
    return old if old.exists() and not new.exists() else new
