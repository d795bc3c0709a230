"""What a search found and how: bits, metrics and provenance, as JSON on disk."""

import dataclasses
import json
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from adrl_gym.bits import BitConfig
from adrl_gym.costs import average_bits, size_ratio
from adrl_gym.errors import AdrlGymError
from adrl_gym.files import write_whole

SCHEMA = 1

Status = Literal["running", "interrupted", "finished"]


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """The best bit configuration of one search so far, and everything needed to trust or repeat it.

    The best has the highest agreement with the float network; ties go to the lower KL divergence, then to the
    smaller size.
    Accuracies and agreements are in percent. Where the images have no labels (``data`` is ``data-free``),
    accuracy is the agreement with the float network.

    Attributes:
        env_id, agent, seed, options: what was run; ``options`` are all that change what the search does.
        status: ``running`` (or killed), ``interrupted`` (Ctrl-C), ``finished``.
        bits: layer name to bit-width, in forward order.
        shapes: layer name to shape of the weights, in forward order.
        size_ratio: weight bits over 32-bit weight bits.
        average_bits: bits a weight.
        float_search_accuracy, search_accuracy, search_agreement: on the search images.
        search_kl: divergence from the float network in nats; None where it is not finite.
        float_test_accuracy, test_accuracy: on the test images; None before the search's end, or without any.
        data, data_source: name of the data used (``cifar10``, ...) and one line on its splits.
        episodes: configurations tried.
        evaluations: work done, in passes of all search images through the whole network.
        memo_hits, memo_misses: evaluations answered from the memo, and computed ones.
        preparation_seconds: to quantize the layers, once. seconds: of the search.
        cpu_seconds: of the search, of the processor's time over all its threads, whatever else ran on the machine; None
            where a version that did not measure it began the search.
        checkpoint: hash of the float network's weights.
        versions: of the packages that had a part in it.
        history: name of the CSV file beside this one with a row for every episode.
        git_commit: of the working copy, ``-dirty`` if it has changes; None outside one.
        wandb_run: id of the Weights & Biases run, if tracked.

    Raises:
        AdrlGymError: the values contradict each other, for example bits and size.
    """

    env_id: str
    agent: str
    seed: int
    options: dict[str, Any]
    status: Status
    bits: dict[str, int]
    shapes: dict[str, list[int]]
    size_ratio: float
    average_bits: float
    float_search_accuracy: float
    search_accuracy: float
    search_agreement: float
    search_kl: float | None
    data: str
    data_source: str
    episodes: int
    evaluations: float
    memo_hits: int
    memo_misses: int
    preparation_seconds: float
    seconds: float
    checkpoint: str
    versions: dict[str, str]
    history: str = "episodes.csv"
    float_test_accuracy: float | None = None
    test_accuracy: float | None = None
    cpu_seconds: float | None = None
    git_commit: str | None = None
    wandb_run: str | None = None
    schema: int = field(default=SCHEMA)

    def __post_init__(self) -> None:
        if self.schema != SCHEMA:
            raise AdrlGymError(f"a search result of schema {self.schema}; this version reads schema {SCHEMA}")
        hints = get_type_hints(type(self))
        for name, value in vars(self).items():
            if not _fits(value, hints[name]):
                raise AdrlGymError(f"{name} cannot be {value!r}")
        if list(self.shapes) != list(self.bits):
            raise AdrlGymError("bits and shapes name different layers")
        bits, parameters = self.config.bits, self.parameters
        if min(parameters, default=0) < 1:
            raise AdrlGymError("a network of at least one layer is needed, and of at least one weight in each")
        if not math.isclose(self.size_ratio, size_ratio(bits, parameters), rel_tol=1e-9):
            raise AdrlGymError(
                f"the bits make a size_ratio of {size_ratio(bits, parameters):g}, not {self.size_ratio:g}"
            )
        if not math.isclose(self.average_bits, average_bits(bits, parameters), rel_tol=1e-9):
            raise AdrlGymError(
                f"the bits make {average_bits(bits, parameters):g} average_bits, not {self.average_bits:g}"
            )
        for name, value in vars(self).items():
            if name.endswith(("_accuracy", "_agreement")) and value is not None and not 0 <= value <= 100:
                raise AdrlGymError(f"{name} is {value:g}, and percent go from 0 to 100")

    @property
    def config(self) -> BitConfig:
        """The bits, as other functions take them."""
        return BitConfig.from_dict(self.bits)

    @property
    def parameters(self) -> tuple[int, ...]:
        """Number of weights of each layer, in forward order."""
        return tuple(math.prod(shape) for shape in self.shapes.values())

    def to_json(self) -> str:
        """JSON; what is None (no test images, for example) is left out."""
        values = {"schema": self.schema, **dataclasses.asdict(self)}
        text = json.dumps({k: v for k, v in values.items() if v is not None}, indent=2, allow_nan=False)
        # A shape on one line. No JSON string holds a raw newline, so only lists of numbers match.
        return re.sub(r"\[\n[\d,\s]*\]", lambda shape: " ".join(shape[0].split()), text) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "SearchResult":
        """The inverse of ``to_json``.

        Raises:
            AdrlGymError: not JSON, another schema version, missing or unknown keys, contradictory values.
        """
        try:
            values = json.loads(text)
        except json.JSONDecodeError as error:
            raise AdrlGymError(f"not JSON: {error}") from error
        if not isinstance(values, dict) or "schema" not in values:
            raise AdrlGymError("not a search result: it has no schema version")
        if values["schema"] != SCHEMA:
            raise AdrlGymError(f"a search result of schema {values['schema']}; this version reads schema {SCHEMA}")
        hints = get_type_hints(cls)
        required = {name for name, hint in hints.items() if type(None) not in get_args(hint)}
        if missing := sorted(required - set(values)):
            raise AdrlGymError(f"not a whole search result: {', '.join(missing)} missing")
        if unknown := sorted(set(values) - set(hints)):
            raise AdrlGymError(f"not a search result: unknown {', '.join(unknown)}")
        return cls(**{**dict.fromkeys(set(hints) - required), **values})

    def save(self, path: str | Path) -> None:
        """Write ``path``, whole or not at all."""
        write_whole(Path(path), self.to_json().encode())

    @classmethod
    def load(cls, path: str | Path) -> "SearchResult":
        """Read and check ``path``; raises ``AdrlGymError``, which names it."""
        try:
            return cls.from_json(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, AdrlGymError) as error:
            raise AdrlGymError(f"cannot read the search result {path}: {error}") from error


def _fits(value: Any, hint: Any) -> bool:
    """Whether a JSON value is of the annotated type; numbers must be finite, and none may be negative."""
    if isinstance(hint, UnionType):
        return any(_fits(value, option) for option in get_args(hint))
    if get_origin(hint) is Literal:
        return value in get_args(hint)
    if get_origin(hint) is dict:
        return isinstance(value, dict) and all(
            isinstance(k, str) and _fits(v, get_args(hint)[1]) for k, v in value.items()
        )
    if get_origin(hint) is list:
        return isinstance(value, list) and all(_fits(v, get_args(hint)[0]) for v in value)
    if hint is Any:
        return True
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return isinstance(value, hint)
