"""Codes in packed files: bits packed into bytes, found again from weights, and coded shorter."""

import math
import zlib
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from adrl_gym import AdrlGymError
from adrl_gym.export.packing.bitpack import pack, packed_size, unpack
from adrl_gym.export.packing.deflate import FIXED, code, decode, deflate
from adrl_gym.quantization.codes import encode
from adrl_gym.quantization.grid import levels
from adrl_gym.quantization.registry import QUANTIZERS, find_quantizer

Batches = list[tuple[Tensor, Tensor]]
WIDTHS = st.integers(1, 8)


@given(bits=WIDTHS, data=st.data())
def test_unpack_is_the_inverse_of_pack(bits: int, data: st.DataObject) -> None:
    values = data.draw(st.lists(st.integers(0, 2**bits - 1), max_size=40))
    packed = pack(torch.tensor(values, dtype=torch.uint8), bits)
    assert len(packed) == packed_size(len(values), bits) == math.ceil(len(values) * bits / 8)
    assert unpack(packed, bits, len(values)).tolist() == values
    number = sum(value << bits * index for index, value in enumerate(values))  # what the format's page says
    assert int.from_bytes(packed.numpy().tobytes(), "little") == number


@given(
    bits=WIDTHS,
    steps=st.lists(st.floats(2**-100, 2.0**100, width=32) | st.just(0.0), min_size=1, max_size=4),
    columns=st.integers(1, 6),
    data=st.data(),
)
@settings(max_examples=500)
def test_steps_times_levels_are_found_again_bit_for_bit(
    bits: int, steps: list[float], columns: int, data: st.DataObject
) -> None:
    rows = st.lists(st.integers(0, 2**bits - 1), min_size=columns, max_size=columns)
    level = levels(bits)[torch.tensor([data.draw(rows) for _ in steps])]  # (O, J)
    weight = torch.tensor(steps)[:, None] * level  # (O, J)
    coded = encode(weight, bits, False, "fc")
    assert torch.equal(coded.weight, weight)
    integers, scales = coded.integers()  # (O, J), (O,)
    assert torch.equal(scales[:, None] * integers, weight)


@pytest.mark.parametrize("quantizer", QUANTIZERS)
@given(seed=st.integers(0, 10_000))
@settings(max_examples=20)
def test_what_quantizers_give_is_found_again_bit_for_bit(quantizer: str, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(4, 3, 2, 2, generator=generator)  # (O, I, kH, kW)
    x = torch.randn(50, 12, generator=generator).relu()  # (N, J)
    for bits, q in find_quantizer(quantizer).quantize(weight, range(1, 9), hessian=(x.T @ x)[None]).items():
        assert torch.equal(encode(q, bits, find_quantizer(quantizer).codebook, "conv").weight, q)


@pytest.mark.parametrize(
    ("quantizer", "message"),
    [
        ("linear", "layer fc: its weights do not fit 2 bits .3 of its 3 output channels are no step times levels"),
        ("kmeans", "layer fc: its weights do not fit 2 bits .15 different ones"),
    ],
)
def test_weights_off_the_grid_are_refused(quantizer: str, message: str) -> None:
    weight = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    with pytest.raises(AdrlGymError, match=message):
        encode(weight, 2, find_quantizer(quantizer).codebook, "fc")


@given(bits=WIDTHS, levels_used=st.integers(1, 256), count=st.integers(0, 600), seed=st.integers(0, 99))
@settings(max_examples=100)
def test_decode_is_the_inverse_of_code(bits: int, levels_used: int, count: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    codes = torch.randint(0, min(levels_used, 2**bits), (count,), generator=generator).to(torch.uint8)
    form, stream = code(codes, bits)
    assert torch.equal(decode(form, stream, bits, count), codes)
    assert len(stream) <= packed_size(count, bits)
    if levels_used == 1 and count > 100:
        assert len(stream) < packed_size(count, bits) / 2 + 8, "equal codes take next to nothing"
    for broken in (stream[:-1], torch.cat([stream, stream[:1]])):
        if form != FIXED:
            with pytest.raises((ValueError, zlib.error)):
                decode(form, broken, bits, count)


def test_codes_in_runs_are_told_by_run_lengths() -> None:
    generator = torch.Generator().manual_seed(0)
    runs = torch.randint(1, 6, (900,), generator=generator)
    codes = torch.randint(0, 8, (900,), generator=generator).to(torch.uint8).repeat_interleave(runs)  # (N,)
    others = (zlib.Z_DEFAULT_STRATEGY, zlib.Z_FILTERED, zlib.Z_HUFFMAN_ONLY)
    least = min(len(deflate(form, others)) for form in (codes, pack(codes, 3)))
    assert len(code(codes, 3)[1]) < least


@pytest.mark.parametrize("bits", range(1, 9))
def test_what_repeats_is_searched_once_where_bytes_hold_whole_codes(bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[tuple[int, int]] = []  # bytes, strategy

    def note(stream: Tensor, strategies: Sequence[int]) -> Tensor:
        tried.extend((len(stream), strategy) for strategy in strategies)
        return deflate(stream, strategies)

    monkeypatch.setattr("adrl_gym.export.packing.deflate.deflate", note)
    code(torch.zeros(800, dtype=torch.uint8), bits)
    searched = {count for count, strategy in tried if strategy not in (zlib.Z_HUFFMAN_ONLY, zlib.Z_RLE)}
    assert searched == ({100 * bits} if bits in (1, 2, 4, 8) else {100 * bits, 800})
