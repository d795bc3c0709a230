"""Old spellings of the command line, which keep working for one release with a warning."""

import sys
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Renamed:
    """A flag's new name, the new names of its values, and the commands that it is renamed in (empty: all)."""

    flag: str
    values: dict[str, str] = field(default_factory=dict)
    commands: tuple[str, ...] = ()


_SEARCHES = ("adrl", "haq", "sb3", "search")
_CALIBRATIONS = {"direct": "independent", "refit": "sequential"}
FLAGS = {
    "--recipe": Renamed("--calibration", _CALIBRATIONS, _SEARCHES),
    "--memo": Renamed("--cache"),
    "--mirror": Renamed("--horizontal-flip"),
    "--no-mirror": Renamed("--no-horizontal-flip"),
}


def modern(command: str, arguments: list[str]) -> tuple[str, list[str]]:
    """Return the command and its arguments in today's spelling; warn on standard error of what has another.

    >>> modern("search", ["--budget", "0.08", "--from", "runs/a"])
    ('budget', ['runs/a', '--budget', '0.08'])
    """
    spelled: list[str] = []
    values: dict[str, str] = {}  # of the flag before
    for argument in arguments:
        flag, equals, value = argument.partition("=")
        renamed = FLAGS.get(flag.replace("_", "-"))
        if renamed is not None and (not renamed.commands or command in renamed.commands):
            values = renamed.values
            meaning = "".join(f", {old} is now {new}" for old, new in values.items())
            print(f"warning: {flag} is now {renamed.flag}{meaning}", file=sys.stderr)
            argument = f"{renamed.flag}{equals}{values.get(value, value)}"
        elif flag.startswith("--"):
            values = {}
        spelled.append(values.get(argument, argument))
    return _budget(spelled) if command == "search" else (command, spelled)


def _budget(arguments: list[str]) -> tuple[str, list[str]]:
    """Turn ``search --from RUN`` into ``budget RUN``."""
    for index, argument in enumerate(arguments):
        flag, equals, value = argument.partition("=")
        if flag == "--from":
            rest = arguments[index + 1 :]
            run = [value] if equals else rest[:1]
            return "budget", [*run, *arguments[:index], *(rest if equals else rest[1:])]
    return "search", arguments
