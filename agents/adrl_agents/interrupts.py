"""Ctrl-C that does not get lost."""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

_pressed = False


@contextlib.contextmanager
def remembered() -> Iterator[None]:
    """In here, ``raise_if_pressed`` knows of every Ctrl-C.

    Python raises ``KeyboardInterrupt`` wherever it happens to be. Where that is a destructor or a weak reference's
    callback, of which drawing a figure has many, it says so on standard error and goes on as if nothing had happened.
    """
    global _pressed
    _pressed = False
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:  # or it is ignored on purpose, or someone else's
        signal.signal(signal.SIGINT, _remember)
    try:
        with unmasked():
            yield
    finally:
        signal.signal(signal.SIGINT, before)
        _pressed = False


@contextlib.contextmanager
def unmasked() -> Iterator[None]:
    """Raise ``KeyboardInterrupt`` in the place of any error after a Ctrl-C.

    A library that calls back from C may turn the one into another.
    """
    try:
        yield
    except Exception as error:
        if _pressed:
            raise KeyboardInterrupt from error
        raise


def raise_if_pressed() -> None:
    """Raise ``KeyboardInterrupt`` if there was a Ctrl-C; where nothing else is under way."""
    if _pressed:
        raise KeyboardInterrupt


def _remember(number: int, frame: FrameType | None) -> None:
    global _pressed
    _pressed = True
    signal.default_int_handler(number, frame)
