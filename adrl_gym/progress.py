"""Progress of long work: a bar on a terminal, a plain line every 30 seconds in a log."""

import sys
import threading
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Protocol, TypeVar

from tqdm import tqdm
from typing_extensions import Self

LOG_SECONDS = 30.0  # between two lines; shorter work leaves none
_BAR = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} {unit} [{elapsed}<{remaining}{postfix}]"

Item = TypeVar("Item")


class Bar(Protocol):
    """Progress of long work; a context manager."""

    def update(self, n: float = 1) -> object:
        """Count ``n`` units as done."""

    def set_postfix_str(self, s: str = "") -> None:
        """Show a remark beside the count."""

    def close(self) -> None:
        """End."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def bar(label: str, total: float | None = None, unit: str = "", initial: float = 0) -> Bar:
    """Return a running bar on standard error.

    Args:
        label: of the work.
        total: units; without it, only the time that is gone is shown.
        unit: name of the units.
        initial: units that were done before.
    """
    if sys.stderr.isatty():
        shape = _BAR if total is not None else "{desc} [{elapsed}]"
        return tqdm(
            total=total, desc=label, unit=unit, initial=initial, leave=False, dynamic_ncols=True, bar_format=shape
        )
    return LogBar(label, total, unit, initial)


def tracked(items: Iterable[Item], label: str, total: int, unit: str = "") -> Iterator[Item]:
    """Yield items, and count each as done when the next one is asked for."""
    with bar(label, total, unit) as shown:
        for item in items:
            yield item
            shown.update()


class LogBar:
    """Line on standard error every ``LOG_SECONDS``, from a thread, so that one long step does not look like none."""

    def __init__(self, label: str, total: float | None, unit: str, initial: float = 0) -> None:
        self._label, self._total, self._unit = label, total, unit
        self._done, self._initial, self._remark = initial, initial, ""
        self._start, self._ended = time.monotonic(), threading.Event()
        threading.Thread(target=self._report, daemon=True).start()

    def update(self, n: float = 1) -> None:
        """See ``Bar``."""
        self._done += n

    def set_postfix_str(self, s: str = "") -> None:
        """See ``Bar``."""
        self._remark = s

    def close(self) -> None:
        """See ``Bar``."""
        self._ended.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _report(self) -> None:
        while not self._ended.wait(LOG_SECONDS):
            print(self, file=sys.stderr, flush=True)

    def __str__(self) -> str:
        gone = time.monotonic() - self._start
        parts = [f"{_clock(gone)} gone"]
        if self._total is not None:
            parts.insert(0, f"{self._done:g} of {self._total:g} {self._unit}".strip())
            now = self._done - self._initial
            if now > 0:
                parts.append(f"about {_clock(gone / now * (self._total - self._done))} left")
        if self._remark:
            parts.append(self._remark)
        return f"{self._label}: {', '.join(parts)}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
