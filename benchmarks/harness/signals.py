"""Long commands that Ctrl-C or SIGTERM stops, and that go on when they are called again."""

import signal
import sys
from collections.abc import Callable
from typing import NoReturn


def run_stoppable(main: Callable[[], int]) -> NoReturn:
    """Exit with what ``main`` returns, or with 130 where it was stopped.

    Raises:
        SystemExit: always.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        # SIGINT too: a shell script has what it starts in the background ignore it, and children would inherit that.
        signal.signal(number, _stop)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("stopped; the same command goes on", file=sys.stderr)
        sys.exit(130)


def _stop(*_: object) -> NoReturn:
    raise KeyboardInterrupt
