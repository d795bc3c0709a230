"""Directive ``command-help``: the ``--help`` text of a command, made when the site is built."""

import contextlib
import io
import os
from typing import ClassVar
from unittest import mock

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

from adrl_agents.cli import main


def help_of(command: str) -> str:
    """Return what ``adrl-gym COMMAND --help`` prints at 80 columns."""
    printed = io.StringIO()
    columns = mock.patch.dict(os.environ, {"COLUMNS": "80", "NO_COLOR": "1"})
    with columns, contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        main([command, "--help"])
    return printed.getvalue()


class CommandHelp(Directive):
    """Literal block of a command's help; the argument is the command's name."""

    required_arguments: ClassVar[int] = 1

    def run(self) -> list[nodes.Node]:
        """Return the block."""
        text = help_of(self.arguments[0])
        if "usage:" not in text:
            raise self.error(f"no help of the command {self.arguments[0]}")
        return [nodes.literal_block(text, text, language="text")]


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the directive."""
    app.add_directive("command-help", CommandHelp)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
