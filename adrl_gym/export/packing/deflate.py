"""Streams of a packed file, entropy-coded with DEFLATE (RFC 1951, zlib) where that makes them shorter.

The codes of a layer are not equally likely: with 2 bits, the inner levels are taken more often than the outer ones, and
neighbours in a kernel are alike. DEFLATE counts bytes, so it is tried on bytes that hold several codes, which tells it
of neighbours, and on one byte a code, which fits widths such as 3 bits.
"""

import zlib

import torch
from torch import Tensor

from adrl_gym.export.packing.bitpack import pack, packed_size, unpack

FIXED, PACKED, BYTES = "", "deflate", "deflate8"  # how codes are stored; the layout of the file has these words
_STRATEGIES = (zlib.Z_DEFAULT_STRATEGY, zlib.Z_FILTERED, zlib.Z_HUFFMAN_ONLY)


def deflate(stream: Tensor) -> Tensor:
    """Return the shortest raw DEFLATE stream of the strategies that zlib has, uint8.

    Args:
        stream: uint8, of one dimension.
    """
    content, found = stream.numpy().tobytes(), []
    for strategy in _STRATEGIES:
        coder = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS, 9, strategy)
        found.append(coder.compress(content) + coder.flush())
    return torch.frombuffer(bytearray(min(found, key=len)), dtype=torch.uint8)


def inflate(stream: Tensor) -> Tensor:
    """Return the bytes of a whole DEFLATE stream, uint8; the inverse of ``deflate``.

    Raises:
        ValueError: the stream ends too early, or goes on after its end.
        zlib.error: it is no such stream.

    >>> inflate(deflate(torch.tensor([1, 2, 3], dtype=torch.uint8)))
    tensor([1, 2, 3], dtype=torch.uint8)
    """
    coder = zlib.decompressobj(-zlib.MAX_WBITS)
    content = coder.decompress(stream.numpy().tobytes()) + coder.flush()
    if not coder.eof or coder.unused_data:
        raise ValueError("a compressed stream is not whole")
    return torch.frombuffer(bytearray(content), dtype=torch.uint8) if content else torch.zeros(0, dtype=torch.uint8)


def code(codes: Tensor, bits: int) -> tuple[str, Tensor]:
    """Return how codes are stored in the fewest bytes, and those bytes, uint8.

    Args:
        codes: uint8, any shape, each below ``2 ** bits``.
        bits: from 1 to 8.
    """
    fixed = pack(codes, bits)
    forms = {FIXED: fixed, PACKED: deflate(fixed), BYTES: deflate(codes.flatten())}
    return min(forms.items(), key=lambda form: len(form[1]))


def decode(form: str, stream: Tensor, bits: int, count: int) -> Tensor:
    """Return ``count`` codes ``(count,)``, uint8; the inverse of ``code``.

    Raises:
        ValueError: an unknown form, or a stream of another length.
        zlib.error: no DEFLATE stream.
    """
    if form == FIXED:
        return unpack(stream, bits, count)
    if form not in (PACKED, BYTES):
        raise ValueError(f"unknown form of codes {form!r}")
    content = inflate(stream)
    if len(content) != (count if form == BYTES else packed_size(count, bits)):
        raise ValueError("a compressed stream has another length than the layout says")
    return content if form == BYTES else unpack(content, bits, count)
