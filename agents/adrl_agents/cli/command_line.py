"""From arguments to options, and from errors to messages and exit statuses."""

import importlib
import itertools
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, TextIO, TypeVar, get_args, get_origin, get_type_hints

from adrl_agents import interrupts

AnyOptions = TypeVar("AnyOptions")


def run_command_line(
    main: Callable[[AnyOptions], object],
    options: type[AnyOptions],
    description: str | None,
    arguments: Sequence[str] | None = None,
    prog: str | None = None,
) -> None:
    """Read ``options`` from the arguments and call ``main`` with them.

    Raises:
        AdrlGymError: bad input.
        SystemExit: after ``--help``, and for arguments that tyro refuses.
    """
    tyro = importlib.import_module("tyro")
    given = list(sys.argv[1:] if arguments is None else arguments)
    _refuse_repeated(given, options)
    main(tyro.cli(options, prog=prog, description=description, args=given, config=(tyro.conf.DisallowNone,)))


def _refuse_repeated(arguments: Sequence[str], options: type[Any]) -> None:
    """Raise ``AdrlGymError`` for values that are given twice, as only the last would count; switches may be."""
    name = ""
    given: dict[str, list[list[str]]] = {name: [[]]}  # option -> the values behind it, each time
    for argument in arguments:
        option, _, value = argument.partition("=") if argument.startswith("--") else ("", "", argument)
        if option:
            name = option.replace("_", "-")
            given.setdefault(name, []).append([])
        given[name][-1] += [value] if value else []
    for name, times in given.items():
        if len(times) > 1 and any(times):
            kind = get_type_hints(options).get(name.removeprefix("--").replace("-", "_"))
            several = get_origin(kind) is tuple and Ellipsis in get_args(kind)
            whole = f"all its values behind one: {name} {' '.join(itertools.chain(*times))}"
            raise _error()(f"{name} is given twice; give {whole if several else 'it once'}")


def exit_status(run: Callable[[], object]) -> int:
    """Run a command and return its exit status.

    0 is success, 2 bad input (one line on standard error says what and what to do), 130 Ctrl-C.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # an ASCII terminal still shows every name
    before = sys.stdout
    sys.stdout = _Unbreakable(before)
    try:
        with interrupts.remembered():
            run()
    except ValueError as error:
        if not isinstance(error, _error()):
            raise
        print("error:", " ".join(describe(error).split()), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    finally:
        sys.stdout.flush()
        sys.stdout = before
    return 0


def describe(error: Exception) -> str:
    """Return an error's message, with the flag of the parameter that it is about."""
    parameter = getattr(error, "parameter", None)
    flags = () if parameter is None else (parameter,) if isinstance(parameter, str) else parameter
    message = str(error)
    named = [flag for name in flags if (flag := f"--{name.replace('_', '-')}") not in message]
    return f"{message} ({', '.join(named)})" if named else message


def _error() -> type[ValueError]:
    """Return ``AdrlGymError``; its package imports PyTorch, which help does not need."""
    return importlib.import_module("adrl_gym.errors").AdrlGymError


class _Unbreakable:
    """Standard output that goes nowhere once its reader has left, as ``| head -1`` does: the work goes on."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            self._to_nowhere()
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._to_nowhere()

    def _to_nowhere(self) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())  # what is buffered goes there as well
        os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
