"""Result of a search: bits, metrics and provenance, as JSON on disk."""

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from adrl_gym.bits import BitConfig
from adrl_gym.costs import average_bits, size_ratio
from adrl_gym.errors import AdrlGymError
from adrl_gym.files import write_whole

SCHEMA = 1

Status = Literal["running", "interrupted", "finished"]
Count = Annotated[int, Field(ge=0)]
Amount = Annotated[float, Field(ge=0)]
Percent = Annotated[float, Field(ge=0, le=100)]

# Options of version 0.1 -> names and values of today.
OLD_OPTIONS = {"recipe": "calibration"}
OLD_VALUES = {"recipe": {"direct": "independent", "refit": "sequential"}}


class SearchResult(BaseModel):
    """The best bit configuration of one search so far, and everything needed to trust or repeat it.

    The best has the highest agreement with the float network; ties go to the lower KL divergence, then to the
    smaller size.
    Accuracies and agreements are in percent. Where the images have no labels (``data`` is ``data-free``),
    accuracy is the agreement with the float network.

    Attributes:
        env_id, agent, seed, options: what was run; ``options`` are all that change what the search does.
        status: ``running`` (or killed), ``interrupted`` (Ctrl-C), ``finished``.
        bits: layer name to bit-width of its weights, in forward order.
        activation_bits: layer name to bit-width of its input, 32 for float; None where activations were not searched.
        shapes: layer name to shape of the weights, in forward order.
        size_ratio: weight bits over 32-bit weight bits.
        average_bits: bits a weight.
        cost_ratios: kind of cost that the budget limits -> share of the float network's; None where that is the size.
        float_search_accuracy, search_accuracy, search_agreement: on the search images.
        search_kl: divergence from the float network in nats; None where it is not finite.
        float_test_accuracy, test_accuracy, test_agreement, test_kl, test_loss: on the test images; None before the
            search's end, or without any.
        data, data_source: name of the data used (``cifar10``, ...) and one line on its splits.
        episodes: configurations tried.
        evaluations: work done, in passes of all search images through the whole network.
        memo_hits, memo_misses: measurements answered from the evaluation cache, and computed ones.
        preparation_seconds: to quantize the layers, once. seconds: of the search.
        cpu_seconds: of the search, of the processor's time over all its threads, whatever else ran on the machine; None
            where a version that did not measure it began the search.
        checkpoint: hash of the float network's weights.
        images_hash: of the search images and their labels; None where a version that recorded none began the search.
        versions: of the packages that had a part in it.
        history: name of the CSV file beside this one with a row for every episode.
        git_commit: of the working copy, ``-dirty`` if it has changes; None outside one.
        wandb_run: id of the Weights & Biases run, if tracked.

    Raises:
        AdrlGymError: the values contradict each other, for example bits and size.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    env_id: str
    agent: str
    seed: Count
    options: dict[str, Any]
    status: Status
    bits: dict[str, Count]
    shapes: dict[str, list[Count]]
    size_ratio: Amount
    average_bits: Amount
    float_search_accuracy: Percent
    search_accuracy: Percent
    search_agreement: Percent
    search_kl: Amount | None = None
    activation_bits: dict[str, Count] | None = None
    cost_ratios: dict[str, Amount] | None = None
    data: str
    data_source: str
    episodes: Count
    evaluations: Amount
    memo_hits: Count
    memo_misses: Count
    preparation_seconds: Amount
    seconds: Amount
    checkpoint: str
    versions: dict[str, str]
    history: str = "episodes.csv"
    float_test_accuracy: Percent | None = None
    test_accuracy: Percent | None = None
    test_agreement: Percent | None = None
    test_kl: Amount | None = None
    test_loss: Amount | None = None
    cpu_seconds: Amount | None = None
    images_hash: str | None = None
    git_commit: str | None = None
    wandb_run: str | None = None

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise AdrlGymError(_told(error)) from error

    @field_validator("options")
    @classmethod
    def _current(cls, options: dict[str, Any]) -> dict[str, Any]:
        return {OLD_OPTIONS.get(k, k): OLD_VALUES[k].get(v, v) if k in OLD_VALUES else v for k, v in options.items()}

    @model_validator(mode="after")
    def _consistent(self) -> "SearchResult":
        if list(self.shapes) != list(self.bits):
            raise ValueError("bits and shapes name different layers")
        if self.activation_bits is not None and list(self.activation_bits) != list(self.bits):
            raise ValueError("bits and activation_bits name different layers")
        bits, parameters = self.config.bits, self.parameters
        if min(parameters, default=0) < 1:
            raise ValueError("a network of at least one layer is needed, and of at least one weight in each")
        if not math.isclose(self.size_ratio, size_ratio(bits, parameters), rel_tol=1e-9):
            raise ValueError(f"the bits make a size_ratio of {size_ratio(bits, parameters):g}, not {self.size_ratio:g}")
        if not math.isclose(self.average_bits, average_bits(bits, parameters), rel_tol=1e-9):
            raise ValueError(
                f"the bits make {average_bits(bits, parameters):g} average_bits, not {self.average_bits:g}"
            )
        return self

    @property
    def config(self) -> BitConfig:
        """The bits, as other functions take them."""
        return BitConfig.from_dict(self.bits)

    def configuration(self, names: Sequence[str]) -> tuple[int, ...]:
        """Return the whole configuration as a problem takes it, for layers in the order of ``names``.

        Raises:
            AdrlGymError: the bits are of another network.
        """
        weights = self.config.for_layers(names)
        return weights if self.activation_bits is None else (*weights, *(self.activation_bits[name] for name in names))

    @property
    def parameters(self) -> tuple[int, ...]:
        """Number of weights of each layer, in forward order."""
        return tuple(math.prod(shape) for shape in self.shapes.values())

    def to_json(self) -> str:
        """Return JSON without what is None (no test images, for example)."""
        text = json.dumps({"schema": SCHEMA, **self.model_dump(exclude_none=True)}, indent=2, allow_nan=False)
        # A shape on one line. No JSON string holds a raw newline, so only lists of numbers match.
        return re.sub(r"\[\n[\d,\s]*\]", lambda shape: " ".join(shape[0].split()), text) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "SearchResult":
        """Return the inverse of ``to_json``.

        Raises:
            AdrlGymError: not JSON, another schema version, missing or unknown keys, contradictory values.
        """
        try:
            values = json.loads(text)
        except json.JSONDecodeError as error:
            raise AdrlGymError(f"not JSON: {error}") from error
        if not isinstance(values, dict) or "schema" not in values:
            raise AdrlGymError("not a search result: it has no schema version")
        schema = values.pop("schema")
        if schema != SCHEMA:
            raise AdrlGymError(f"a search result of schema {schema}; this version reads schema {SCHEMA}")
        return cls(**values)

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


def _told(error: ValidationError) -> str:
    """Return one line on all that a result lacks, or else on the first thing that is wrong."""
    found = error.errors()
    names = {
        kind: sorted(str(e["loc"][0]) for e in found if e["type"] == kind) for kind in ("missing", "extra_forbidden")
    }
    if names["missing"]:
        return f"not a whole search result: {', '.join(names['missing'])} missing"
    if names["extra_forbidden"]:
        return f"not a search result: unknown {', '.join(names['extra_forbidden'])}"
    first = found[0]
    name, value = ".".join(map(str, first["loc"])), first["input"]
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    if first["type"] == "less_than_equal":
        return f"{name} is {value:g}, and percent go from 0 to 100"
    return f"{name} cannot be {value!r}"
