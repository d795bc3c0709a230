"""Memory that is free again, given back to the system."""

import ctypes
import sys


def release_freed_memory() -> None:
    """Give freed memory back where the C library keeps it (glibc): a GiB after the gradients of ResNet50.

    glibc holds on to what threads have freed, for each thread apart, and uses little of it again for tensors of other
    sizes. Elsewhere this does nothing.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none
        if trim is not None:
            trim(0)
