"""Activations that are kept for configurations that begin alike."""

import threading
from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor

from adrl_gym.graph.partition import Live

Key = tuple[int, tuple[tuple[int | None, ...], ...]]  # slice of images, bits of the segments before


class ActivationCache:
    """The live activations where configurations parted, the longest unused ones forgotten first.

    Args:
        limit: bytes that all of them may take.

    Attributes:
        size: bytes that they take now. A tensor that several entries hold counts for each.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.size = 0
        self._entries: OrderedDict[Key, Live] = OrderedDict()
        self._lock = threading.Lock()  # the slices of a question are run by several threads

    def get(self, key: Key) -> Live | None:
        """What was kept under ``key``, if it still is."""
        with self._lock:
            live = self._entries.get(key)
            if live is not None:
                self._entries.move_to_end(key)
            return live

    def put(self, key: Key, live: Live, slices: int) -> None:
        """Keep ``live``, unless those of all ``slices`` together would not fit: then none would be left when needed."""
        size = _bytes(live)
        if size * slices > self.limit:
            return
        with self._lock:
            if key in self._entries:
                return
            self._entries[key] = live
            self.size += size
            while self.size > self.limit:
                self.size -= _bytes(self._entries.popitem(last=False)[1])

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._entries.clear()
            self.size = 0

    def __getstate__(self) -> int:
        return self.limit  # a copy in another process starts empty

    def __setstate__(self, limit: int) -> None:
        self.__init__(limit)  # type: ignore[misc]


def _bytes(live: Sequence[object]) -> int:
    return sum(value.numel() * value.element_size() for value in live if isinstance(value, Tensor))
