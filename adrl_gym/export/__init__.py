"""From a quantized network to a file that is really small.

Both formats take a network with quantized weights and its bits, whatever has made them.
"""

from adrl_gym.export.onnx_file import save_onnx
from adrl_gym.export.packed import Packed, load_packed, read_packed, save_packed
from adrl_gym.export.sizes import ExportSizes

__all__ = ["ExportSizes", "Packed", "load_packed", "read_packed", "save_onnx", "save_packed"]
