"""Integers of 1 to 8 bits as one stream of bits."""

import numpy as np
import torch
from torch import Tensor


def pack(codes: Tensor, bits: int) -> Tensor:
    """Code after code, each from its lowest bit on, and the bits of each byte from the lowest on.

    Args:
        codes: uint8, any shape, each below ``2 ** bits``.
        bits: from 1 to 8.

    Returns:
        uint8, ``(ceil(N * bits / 8),)``; what is left of the last byte is zero.

    >>> pack(torch.tensor([1, 2, 3], dtype=torch.uint8), bits=3)  # 001, 010 and 011 as 11_010_001 and 0
    tensor([209,   0], dtype=torch.uint8)
    """
    stream = np.unpackbits(codes.flatten()[:, None].numpy(), axis=1, count=bits, bitorder="little")  # (N, bits)
    return torch.from_numpy(np.packbits(stream, bitorder="little"))


def unpack(packed: Tensor, bits: int, count: int) -> Tensor:
    """The first ``count`` codes of a stream, ``(count,)`` uint8; the inverse of ``pack``.

    >>> unpack(torch.tensor([209, 0], dtype=torch.uint8), bits=3, count=3)
    tensor([1, 2, 3], dtype=torch.uint8)
    """
    stream = np.unpackbits(packed.numpy(), count=count * bits, bitorder="little").reshape(count, bits)
    return torch.from_numpy(np.packbits(stream, axis=1, bitorder="little")[:, 0])


def packed_size(count: int, bits: int) -> int:
    """Bytes of ``count`` codes."""
    return -(-count * bits // 8)
