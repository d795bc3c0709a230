"""Streams of a packed file, entropy-coded with DEFLATE (RFC 1951, zlib) where that makes them shorter.

The codes of a layer are not equally likely: with 2 bits, the inner levels are taken more often than the outer ones, and
neighbours in a kernel are alike. DEFLATE counts bytes, so it is tried on bytes that hold several codes, which tells it
of neighbours, and on one byte a code, which fits widths such as 3 bits.

The search for repeated strings takes nearly all the time, the more so the fewer values a byte has. Where bytes hold
whole codes, what repeats among the codes repeats among these bytes, so one byte a code is not searched. On the codes of
both shipped networks at 1, 2, 3, 4 and 6 bits, nothing that is left out here gave a shorter stream.
"""

import zlib
from collections.abc import Sequence

import torch
from torch import Tensor

from adrl_gym.export.packing.bitpack import pack, packed_size, unpack

FIXED, PACKED, BYTES = "", "deflate", "deflate8"  # how codes are stored; the layout of the file has these words
_QUICK = (zlib.Z_HUFFMAN_ONLY, zlib.Z_RLE)  # strategies of zlib that search no strings
_CODES = (zlib.Z_FILTERED, *_QUICK)
_ANY = (zlib.Z_DEFAULT_STRATEGY, *_CODES)


def deflate(stream: Tensor, strategies: Sequence[int] = _ANY) -> Tensor:
    """Return the shortest raw DEFLATE stream, uint8.

    Args:
        stream: uint8, of one dimension.
        strategies: of zlib, those to try; all that serve any bytes by default.
    """
    content, found = stream.numpy().tobytes(), []
    for strategy in strategies:
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
    of_bytes = deflate(codes.flatten(), _CODES if 8 % bits else _QUICK)
    forms = {FIXED: fixed, PACKED: deflate(fixed, _CODES), BYTES: of_bytes}
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
