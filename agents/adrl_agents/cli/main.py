"""The console command ``adrl-gym``: finds the module of a subcommand and runs it.

Importing this module imports neither PyTorch nor the commands, so that help and mistyped names are answered at once.
"""

import difflib
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import make_dataclass
from typing import Annotated, Any, Union

from adrl_agents.cli.command_line import exit_status, run_command_line
from adrl_agents.cli.renamed import modern

#: Name -> the first sentence of its module's docstring.
COMMANDS = {
    "adrl": "Search bit-widths with ADRL.",
    "haq": "Search bit-widths with HAQ.",
    "sb3": "Search bit-widths with an agent of Stable-Baselines3.",
    "search": "Search bit-widths without learning.",
    "pretrain": "Train a policy on many networks.",
    "sweep": "Search at several budgets, with several agents and seeds.",
    "budget": "Answer for another budget from a finished run.",
    "refit": "Refit the network that a search found.",
    "finetune": "Finetune the network that a search found.",
    "export": "Write the network that a search found to a small file.",
    "latency-table": "Measure how long a network's layers take on this machine.",
    "distill": "Distil images from a network of your own.",
}
ABOUT = """Find the best bit-width for every layer of a neural network.

  adrl-gym adrl --episodes 40      search; writes a folder below runs/
  adrl-gym refit runs/NAME         win back accuracy in seconds
  adrl-gym export runs/NAME --format onnx

adrl-gym COMMAND --help lists the options of a command."""
MISSING = 'the commands need more packages (there is no {}): pip install "adrl-gym[agents]"'


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``adrl-gym`` with these arguments, default: those of the process. Return its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    name = given[0] if given else "--help"
    if name in COMMANDS:
        return run(name, given[1:], prog=f"adrl-gym {name}")
    if name == "--version":
        print(f"adrl-gym {importlib.import_module('importlib.metadata').version('adrl-gym')}")
        return 0
    if name.startswith("-"):
        # Shell completion has to know the flags of all commands; help only their names.
        whole = name.startswith("--tyro-")
        return exit_status(lambda: _parse_names(given or [name], whole)) or (0 if given else 2)
    near = difflib.get_close_matches(name, COMMANDS, 1)
    meant = f"did you mean {near[0]}? " if near else ""
    print(f"error: unknown command {name}: {meant}choose one of {', '.join(COMMANDS)}", file=sys.stderr)
    return 2


def run(name: str, arguments: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Run one command and return its exit status.

    Args:
        name: a key of ``COMMANDS``.
        arguments: behind the name, default: those of the process.
        prog: the program's name in messages, default: that of the process.
    """
    name, given = modern(name, list(sys.argv[1:] if arguments is None else arguments))
    os.environ["MPLBACKEND"] = "agg"  # a notebook's backend need not be importable here, and pictures need none

    def work() -> None:
        module = _load(name)
        if hasattr(module, "check"):
            module.check(given)
        run_command_line(module.main, module.OPTIONS, module.__doc__, given, prog)

    return exit_status(work)


def _load(name: str) -> Any:
    return _with_extra(lambda: importlib.import_module(f"adrl_agents.cli.{name.replace('-', '_')}"))


def _with_extra(load: Callable[[], Any]) -> Any:
    """Call ``load``; say in one line which extra is missing."""
    try:
        return load()
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in ("adrl_gym", "adrl_agents", "torch"):
            raise  # no extra would help
        print(f"error: {MISSING.format(error.name)}", file=sys.stderr)
        raise SystemExit(2) from None


def _parse_names(arguments: list[str], whole: bool) -> None:
    tyro = _with_extra(lambda: importlib.import_module("tyro"))
    kinds = [
        Annotated[
            _load(name).OPTIONS if whole else make_dataclass(name, ()),
            tyro.conf.subcommand(name=name, description=about),
        ]
        for name, about in COMMANDS.items()
    ]
    tyro.cli(
        Union[tuple(kinds)],  # noqa: UP007 - of as many as there are
        prog="adrl-gym",
        description=ABOUT,
        args=arguments,
        config=(tyro.conf.DisallowNone,),
    )
