"""Sizes of an exported file and of its weights."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ExportSizes:
    """Sizes in bytes.

    Attributes:
        float_bytes: a file of the same format and network with all weights in float32.
        ideal_bytes: the quantized weights alone, each at its layer's own bit-width.
        other_bytes: scales, biases, norms and layers that are not quantized.
        file_bytes: the file.
        wider_bytes: what it costs that the format stores some widths in more bits.
        coded_bytes: the quantized weights, entropy-coded; 0 where the format does not.

    >>> print(ExportSizes(float_bytes=1000, ideal_bytes=50, other_bytes=20, file_bytes=100, wider_bytes=10))
    float network 1,000 bytes, weights at their own widths 50 bytes (with scales, biases and norms 70), file 100 \
bytes: 10.00 times smaller than the float one; widths stored in more bits cost 10 bytes of it
    """

    float_bytes: int
    ideal_bytes: int
    other_bytes: int
    file_bytes: int
    wider_bytes: int
    coded_bytes: int = 0

    @property
    def factor(self) -> float:
        """Size of the float file over that of this file."""
        return self.float_bytes / self.file_bytes

    def __str__(self) -> str:
        wider = f"; widths stored in more bits cost {self.wider_bytes:,} bytes of it" if self.wider_bytes else ""
        coded = f"entropy-coded {self.coded_bytes:,}; " if self.coded_bytes else ""
        return (
            f"float network {self.float_bytes:,} bytes, weights at their own widths {self.ideal_bytes:,} bytes "
            f"({coded}with scales, biases and norms {self.ideal_bytes + self.other_bytes:,}), "
            f"file {self.file_bytes:,} bytes: {self.factor:.2f} times smaller than the float one{wider}"
        )
