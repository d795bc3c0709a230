"""State dicts: found in what a file holds, and put under the names of a network."""

import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from adrl_gym.errors import AdrlGymError

State = Mapping[str, Tensor]

_DEPTH = 5  # of mappings in mappings
_WRAPPERS = ("module", "_orig_mod")  # parts of names that DataParallel and torch.compile add, wherever they stand
_COUNTER = "num_batches_tracked"  # of batch norms, which predictions do not depend on
_UNUSED = (_COUNTER, "n_averaged")  # what may be too much; the second is torch.optim.swa_utils.AveragedModel's
_SHOWN = 3  # names of each kind in a message


class _Match(NamedTuple):
    """A way to lay a state dict over a network.

    Attributes:
        place: of the state dict in its file, keys joined by dots; empty for the whole.
        own_prefix: of the network's names, which the state dict's lack.
        prefix: of the state dict's names, which the network's lack.
    """

    place: str
    own_prefix: str
    prefix: str

    @property
    def title(self) -> str:
        """Name of what is taken, for people."""
        return ".".join(part for part in (self.place, self.prefix.rstrip(".")) if part) or "the state dict itself"


def find_state_dicts(content: Any) -> dict[str, dict[str, Tensor]]:
    """Return every state dict in what a file holds, by its place: ``""`` for the whole, or ``model``, ``ema.model``.

    What else stands beside them or in them (epoch, optimizer, arguments) is left out.
    """
    found: dict[str, dict[str, Tensor]] = {}
    for place, mapping in _mappings(content, "", _DEPTH):
        tensors = {
            name: value for name, value in mapping.items() if isinstance(name, str) and isinstance(value, Tensor)
        }
        if tensors:
            found[place] = tensors
    return found


def fit(states: Mapping[str, State], network: nn.Module, source: str = "it") -> dict[str, Tensor]:
    """Return the state dict that fits a network best, under the network's own names.

    Args:
        states: state dicts by place.
        network: whose names and shapes they are compared with.
        source: says in a warning where they came from.

    Warns:
        UserWarning: several fit equally well; the first is taken, a moving average (``ema``) after all others.
    """
    own = network.state_dict()
    counts: Counter[_Match] = Counter()
    for place, state in states.items():
        for own_prefix, prefix in _prefixes(_by_plain_name(own), _by_plain_name(state)):
            counts[_Match(place, own_prefix, prefix)] += 1
    if not counts:
        return max(map(dict, states.values()), key=len, default={})
    most = max(counts.values())
    matches = sorted((match for match, count in counts.items() if count == most), key=_order)
    fitted = [_renamed(states[match.place], own, match) for match in matches]
    others = [
        match.title
        for match, other in zip(matches, fitted, strict=True)
        if any(other.get(name) is not tensor for name, tensor in fitted[0].items())
    ]
    if others and most >= sum(not name.endswith(_COUNTER) for name in own):
        warnings.warn(
            f"{source} holds several sets of weights that fit {type(network).__name__}: {matches[0].title} is taken, "
            f"not {', '.join(others)}; to take another, save it by itself",
            stacklevel=3,
        )
    return fitted[0]


def fill(network: nn.Module, state: State, source: str) -> None:
    """Put a state dict into a network, as PyTorch does: batch norms' counters may be missing.

    Args:
        network: is changed.
        state: tensors, whose names may have a prefix of a wrapper.
        source: says in the message where they came from.

    Raises:
        AdrlGymError: they do not fit; names the first tensors that differ, on both sides.
    """
    state = fit({"": state}, network, source)
    own = network.state_dict()
    differing = [name for name in own if name in state and not _same_shape(own[name], state[name])]
    try:
        missing, surplus = network.load_state_dict({k: v for k, v in state.items() if k not in differing}, strict=False)
    except RuntimeError as error:  # of the network's own code
        reason = " ".join(str(error).split())
        raise AdrlGymError(f"{source} does not fit {type(network).__name__}: {reason}", parameter="weights") from error
    lacking = [name for name in missing if name not in differing and not name.endswith(_COUNTER)]
    surplus = [name for name in surplus if not name.endswith(_UNUSED)]
    shapes = [f"{name} {tuple(state[name].shape)} for {tuple(own[name].shape)}" for name in differing]
    whole = [
        f"{name} ({str(state[name].dtype).removeprefix('torch.')})"
        for name, tensor in network.named_parameters(remove_duplicate=False)
        if tensor.is_floating_point() and name in state and not state[name].is_floating_point()
    ]
    told = [
        f"{what} {_shortened(names)}"
        for what, names in (
            ("it lacks", lacking),
            ("it has besides", surplus),
            ("other shapes:", shapes),
            ("whole numbers:", whole),
        )
        if names
    ]
    if told:
        raise AdrlGymError(
            f"{source} does not fit {type(network).__name__}, which has {len(own):,} tensors: {'; '.join(told)}: give "
            "the weights of this very network",
            parameter="weights",
        )


def _mappings(content: Any, place: str, depth: int) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    """Yield the mappings in ``content`` with their places; optimizers hold tensors too, but no weights."""
    if isinstance(content, list | tuple):
        content = {str(index): item for index, item in enumerate(content) if isinstance(item, Mapping)}
    if not isinstance(content, Mapping) or "param_groups" in content:
        return
    yield place, content
    if depth > 0:
        for name, value in content.items():
            yield from _mappings(value, f"{place}.{name}" if place else str(name), depth - 1)


def _renamed(state: State, own: State, match: _Match) -> dict[str, Tensor]:
    """Return the tensors of a state dict that are below the match's prefix, under the network's own names."""
    names = dict(zip(_by_plain_name(own), own, strict=True))
    renamed: dict[str, Tensor] = {}
    for plain, tensor in _by_plain_name(state).items():
        if plain.startswith(match.prefix):
            name = match.own_prefix + plain.removeprefix(match.prefix)
            renamed[names.get(name, name)] = tensor
    return renamed


def _by_plain_name(state: State) -> dict[str, Tensor]:
    """Return tensors by their plain names, in order; by their own where two would have the same."""
    plain = {_plain(name): tensor for name, tensor in state.items()}
    return plain if len(plain) == len(state) else dict(state)


def _plain(name: str) -> str:
    """Return a tensor's name without the parts that wrappers add.

    >>> _plain("module.features.module.0.weight")
    'features.0.weight'
    """
    return ".".join(part for part in name.split(".") if part not in _WRAPPERS)


def _prefixes(own: State, state: State) -> Iterator[tuple[str, str]]:
    """Yield, for each tensor that both have in the same shape, the prefixes that its two names differ by."""
    yield from (("", begin) for begin in _matching(state, own))
    yield from ((begin, "") for begin in _matching(own, state) if begin)
    first = _begins(next(iter(own), ""))
    shared = next(begin for begin in reversed(first) if all(name.startswith(begin) for name in own))
    below = {name.removeprefix(shared): tensor for name, tensor in own.items()}
    yield from ((shared, begin) for begin in _matching(state, below) if shared and begin not in ("", shared))


def _matching(longer: State, shorter: State) -> Iterator[str]:
    """Yield the beginning that a name of ``longer`` has and one of ``shorter`` lacks, for each such pair."""
    for name, tensor in longer.items():
        for begin in _begins(name):
            rest = name[len(begin) :]
            if rest in shorter and _same_shape(shorter[rest], tensor):
                yield begin


def _begins(name: str) -> list[str]:
    """Return all prefixes of a name that end with a dot, and the empty one.

    >>> _begins("model.conv.weight")
    ['', 'model.', 'model.conv.']
    """
    parts = name.split(".")
    return ["", *(".".join(parts[:count]) + "." for count in range(1, len(parts)))]


def _same_shape(own: Tensor, other: Tensor) -> bool:
    """Compare shapes; PyTorch 0.3 wrote scalars as vectors of one, and lazy parameters take any."""
    if is_lazy(own) or is_lazy(other):
        return True
    return own.shape == other.shape or own.numel() == other.numel() == 1


def _order(match: _Match) -> tuple[bool, int]:
    return "ema" in match.title.lower(), len(match.own_prefix) + len(match.prefix)


def _shortened(names: list[str]) -> str:
    rest = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {rest:,} more" if rest > 0 else "")
