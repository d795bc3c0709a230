"""Activations that are kept for configurations that begin alike."""

import threading
from collections.abc import Sequence

from cachetools import LRUCache
from torch import Tensor

from adrl_gym.graph.partition import Live

_Key = tuple[int, tuple[tuple[int | None, ...], ...]]  # slice of images, bits of the subgraphs before


class ActivationCache:
    """Live activations where configurations parted; the least recently used ones are dropped first.

    Threads share it.

    Args:
        limit: bytes that all entries may take. A tensor that several entries hold counts for each.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._entries: LRUCache[_Key, Live] = LRUCache(limit, getsizeof=_bytes)
        self._lock = threading.Lock()  # the slices of a question are run by several threads

    @property
    def size(self) -> int:
        """Bytes that the entries take now."""
        return int(self._entries.currsize)

    def get(self, key: _Key) -> Live | None:
        """Return what was kept under ``key``, if it still is."""
        with self._lock:
            return self._entries.get(key)

    def put(self, key: _Key, live: Live, slices: int) -> None:
        """Keep ``live``, unless those of all ``slices`` together would not fit: then none would be left when needed."""
        if _bytes(live) * slices > self.limit:
            return
        with self._lock:
            if key not in self._entries:
                self._entries[key] = live

    def clear(self) -> None:
        """Drop all entries."""
        with self._lock:
            self._entries.clear()

    def __getstate__(self) -> int:
        return self.limit  # a copy in another process starts empty

    def __setstate__(self, limit: int) -> None:
        self.__init__(limit)  # type: ignore[misc]


def _bytes(live: Sequence[object]) -> int:
    return sum(value.numel() * value.element_size() for value in live if isinstance(value, Tensor))
