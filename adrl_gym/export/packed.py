"""The packed file: every layer's weights at their own bit-width, in one safetensors file (docs/packed-format.md)."""

import copy
import dataclasses
import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save
from torch import Tensor, nn

from adrl_gym.bits import BitConfig
from adrl_gym.costs import weight_bits
from adrl_gym.errors import AdrlGymError
from adrl_gym.export.packing.bitpack import packed_size
from adrl_gym.export.packing.deflate import FIXED, code, decode, deflate, inflate
from adrl_gym.export.packing.half import is_half
from adrl_gym.export.sizes import ExportSizes
from adrl_gym.files import write_whole
from adrl_gym.layers import ActivationGrid, is_quantizable, set_input_grid, with_linear_attention
from adrl_gym.models import content_hash, fill, read_safetensors
from adrl_gym.quantization import CodedWeight, Origin, QuantizedNetwork, find_quantizer, parameter_name

VERSION = 3
_READABLE = (1, 2, 3)  # of 2, some hold grids of inputs; from 3 on, streams are entropy-coded and numbers may be halves
_COMPRESSED = 3  # the first version whose ``rest`` is a DEFLATE stream
_KIND = "packed file"
_METADATA = "adrl_gym"
_DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        torch.float64,
        torch.float32,
        torch.float16,
        torch.bfloat16,
        torch.int64,
        torch.int32,
        torch.int16,
        torch.int8,
        torch.uint8,
        torch.bool,
    )
}


class Packed(NamedTuple):
    """Content of a packed file.

    Attributes:
        origin: quantizer, name and float checkpoint of the network.
        bits: bit-width of each quantized layer.
        state: state dict of the quantized network.
        grids: of each module whose input is quantized.
    """

    origin: Origin
    bits: BitConfig
    state: dict[str, Tensor]
    grids: dict[str, ActivationGrid]


def save_packed(file: str | Path, quantized: QuantizedNetwork) -> ExportSizes:
    """Write a quantized network, whole or not at all.

    Nothing of it changes. Numbers that float16 holds take 2 bytes: ``half_precision`` makes such ones.

    Args:
        file: where to; a file that is there is replaced.
        quantized: for example ``QuantProblem.quantized(bits)``; layers without bits are stored as they are.

    Raises:
        AdrlGymError: bits for unknown layers, weights that do not fit their bits, a place that cannot be written.
    """
    network, bits, origin = quantized.network, quantized.bits, quantized.origin
    coded = quantized.encode()
    rest, tensors = _tensors(network, coded)
    metadata = {
        "format": "packed",
        "version": VERSION,
        "network": origin.name,
        "checkpoint": origin.checkpoint,
        "quantizer": origin.quantizer,
        "bits": bits.as_dict(),
    }
    if grids := quantized.input_grids:
        metadata["inputs"] = {name: dataclasses.asdict(grid) for name, grid in grids.items()}
    metadata["content_hash"] = _hash(metadata, tensors)
    # One key, because safetensors writes several in random order: the same network gives the same file.
    content = save(tensors, {_METADATA: json.dumps(metadata, separators=(",", ":"))})
    write_whole(Path(file), content)
    return ExportSizes(
        float_bytes=len(save(_own(network))),
        ideal_bytes=packed_size(weight_bits(bits.bits, [c.codes.numel() for c in coded.values()]), 1),
        other_bytes=tensors["scales"].nbytes + rest,
        file_bytes=len(content),
        wider_bytes=0,
        coded_bytes=tensors["codes"].nbytes,
    )


def load_packed(file: str | Path, network: nn.Module) -> nn.Module:
    """Return the quantized network of a packed file: the very weights that were written, and grids of inputs.

    Args:
        file: as ``save_packed`` has written it.
        network: of the same architecture, with any weights; it is left alone.

    Returns:
        A copy of ``network``, in evaluation mode, with attention as Linear layers where the file has it so. Its logits
        are those of the exported network bit for bit, as far as PyTorch runs both alike (same machine, batch, memory
        format).

    Raises:
        AdrlGymError: no such file, a truncated or altered one, one of another version or of another network.

    >>> from tempfile import TemporaryDirectory
    >>> network = nn.Linear(2, 1, bias=False)
    >>> network.weight.data = torch.tensor([[0.5, -1.5]])  # 2 bits at a step of 1
    >>> origin = Origin(quantizer="linear", name="example", checkpoint="of the float weights")
    >>> quantized = QuantizedNetwork(network, BitConfig(("",), (2,)), origin)
    >>> with TemporaryDirectory() as folder:
    ...     sizes = save_packed(f"{folder}/file", quantized)
    ...     load_packed(f"{folder}/file", nn.Linear(2, 1, bias=False)).weight.data
    tensor([[ 0.5000, -1.5000]])
    """
    packed = read_packed(file)
    network = copy.deepcopy(network).cpu().eval()
    if not set(packed.bits.names) <= {name for name, _ in network.named_modules()}:
        network = with_linear_attention(network)
    for layer in packed.bits.names:
        module, bias = dict(network.named_modules()).get(layer), packed.state.get(parameter_name(layer, "bias"))
        if module is not None and is_quantizable(module) and bias is not None and module.bias is None:
            module.bias = nn.Parameter(torch.zeros_like(bias))  # of the bias correction
    fill(network, packed.state, f"{_KIND} {file}")
    for name, grid in packed.grids.items():
        set_input_grid(network.get_submodule(name), grid)
    return network


def read_packed(file: str | Path) -> Packed:
    """All that a packed file holds.

    Raises:
        AdrlGymError: no such file, a truncated or altered one, one of another version.
    """
    tensors, stored = read_safetensors(Path(file), _KIND)
    try:
        metadata = json.loads(stored[_METADATA])
        version, expected = metadata["version"], metadata.pop("content_hash")
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise AdrlGymError(f"{file} is no packed file: give one that adrl-gym export has written") from error
    if version not in _READABLE:
        raise AdrlGymError(
            f"{_KIND} {file} is of version {version}, and this adrl-gym reads {_READABLE[0]} to {_READABLE[-1]}"
        )
    if expected != _hash(metadata, tensors):
        raise AdrlGymError(f"{_KIND} {file} does not match the hash stored in it: fetch an intact copy")
    try:
        bits = BitConfig.from_dict(metadata["bits"])
        if version >= _COMPRESSED:
            tensors["rest"] = inflate(tensors["rest"])
        state = _state(tensors, bits, find_quantizer(metadata["quantizer"]).codebook)
        origin = Origin(metadata["quantizer"], metadata["network"], metadata["checkpoint"])
        grids = {name: ActivationGrid(**grid) for name, grid in metadata.get("inputs", {}).items()}
        return Packed(origin, bits, state, grids)
    except (KeyError, TypeError, ValueError, IndexError, RuntimeError, zlib.error) as error:
        raise AdrlGymError(f"{_KIND} {file} contradicts itself ({error!r}): export it again") from error


def _names(network: nn.Module, coded: Iterable[str] = ()) -> dict[str, str]:
    """Name of each tensor of the state dict -> the name that it is stored under.

    These differ where two share their memory: it is stored once, under a name in ``coded`` if there is one.
    """
    state = network.state_dict()
    memory = {name: (t.data_ptr(), t.dtype, t.shape, t.stride()) for name, t in state.items()}
    stored: dict[Any, str] = {}
    for name in (*coded, *state):
        stored.setdefault(memory[name], name)
    return {name: stored[memory[name]] for name in state}


def _own(network: nn.Module) -> dict[str, Tensor]:
    """The state dict with each tensor once, contiguous and on the CPU."""
    state = network.state_dict()
    return {name: state[name].cpu().contiguous() for name in dict.fromkeys(_names(network).values())}


def _tensors(network: nn.Module, coded: Mapping[str, CodedWeight]) -> tuple[int, dict[str, Tensor]]:
    """Return the bytes of ``rest`` before its compression, and the file's four tensors, of one dimension each."""
    layout: list[dict[str, Any]] = []
    codes, scales, rest = [], [], []
    names = _names(network, coded)
    for name, tensor in network.state_dict().items():
        entry: dict[str, Any] = {"name": name, "shape": list(tensor.shape)}
        if names[name] != name:
            entry["same_as"] = names[name]
        elif name in coded:
            weight = coded[name]
            entry["bits"], entry["scales"] = weight.bits, len(weight.scales)
            if weight.axis:
                entry["axis"] = weight.axis
            form, stream = code(weight.codes, weight.bits)
            if form != FIXED:
                entry["form"], entry["bytes"] = form, len(stream)
            codes.append(stream)
            scales.append(weight.scales)
        else:
            entry["dtype"] = str(tensor.dtype).removeprefix("torch.")
            own = tensor.cpu().contiguous().flatten()  # (N,)
            if own.dtype == torch.float32 and is_half(own):
                entry["stored"], own = "float16", own.half()
            rest.append(own.view(torch.uint8))
        layout.append(entry)
    steps = torch.cat([torch.zeros(0), *scales])
    others = torch.cat([torch.zeros(0, dtype=torch.uint8), *rest])
    return len(others), {
        "layout": torch.frombuffer(bytearray(zlib.compress(json.dumps(layout).encode(), 9)), dtype=torch.uint8),
        "codes": torch.cat([torch.zeros(0, dtype=torch.uint8), *codes]),
        "scales": steps.half() if is_half(steps) else steps,
        "rest": deflate(others),
    }


def _state(tensors: Mapping[str, Tensor], bits: BitConfig, codebook: bool) -> dict[str, Tensor]:
    """The state dict, from the four tensors."""
    codes, scales, rest = (_Stream(tensors[part]) for part in ("codes", "scales", "rest"))
    layout = json.loads(zlib.decompress(tensors["layout"].numpy().tobytes()))
    state: dict[str, Tensor] = {}
    for entry in layout:
        name, shape = entry["name"], torch.Size(entry["shape"])
        if "bits" in entry:
            width, count = entry["bits"], shape.numel()
            stream = codes.take(entry.get("bytes", packed_size(count, width)))
            integers = decode(entry.get("form", FIXED), stream, width, count).reshape(shape)
            steps = scales.take(entry["scales"]).float()
            state[name] = CodedWeight(width, integers, steps, codebook, entry.get("axis", 0)).weight
        elif "same_as" not in entry:
            dtype = _DTYPES[entry.get("stored", entry["dtype"])]
            stored = rest.take(shape.numel() * dtype.itemsize).clone().view(dtype)
            state[name] = stored.to(_DTYPES[entry["dtype"]]).reshape(shape)
    if codes.left or scales.left or rest.left:
        raise ValueError("more data than the layout says")
    if {parameter_name(layer, "weight"): b for layer, b in bits.as_dict().items()} != {
        entry["name"]: entry["bits"] for entry in layout if "bits" in entry
    }:
        raise ValueError("metadata and layout disagree about the bits")
    return state | {entry["name"]: state[entry["same_as"]] for entry in layout if "same_as" in entry}


class _Stream:
    """A one-dimensional tensor that is read from its beginning to its end."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor, self.position = tensor, 0

    @property
    def left(self) -> int:
        return len(self.tensor) - self.position

    def take(self, count: int) -> Tensor:
        """The next ``count`` elements."""
        if not 0 <= count <= self.left:
            raise ValueError("less data than the layout says")
        self.position += count
        return self.tensor[self.position - count : self.position]


def _hash(metadata: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over the metadata (but for this hash) and the tensors, as 64 hexadecimal digits."""
    return hashlib.sha256((json.dumps(metadata, sort_keys=True) + content_hash(tensors)).encode()).hexdigest()
