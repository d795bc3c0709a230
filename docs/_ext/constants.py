"""Directive ``constants``: a package's public constants and type aliases, which ``automodule`` leaves out."""

import importlib
import inspect
from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList
from sphinx.application import Sphinx

LONGEST = 300


def entry(package: str, name: str, value: object) -> list[str]:
    """Return an entry in reStructuredText; values with memory addresses, and long ones, are left out."""
    text = repr(value)
    shown = len(text) <= LONGEST and " at 0x" not in text
    return [f".. py:data:: {package}.{name}", *([f"   :value: {text}"] if shown else []), ""]


class Constants(Directive):
    """Entries of all public names that are neither class nor function; the argument is the package."""

    required_arguments: ClassVar[int] = 1

    def run(self) -> list[nodes.Node]:
        """Return the entries."""
        package = importlib.import_module(self.arguments[0])
        lines: list[str] = []
        for name in package.__all__:
            value = getattr(package, name)
            if not (inspect.isclass(value) or inspect.isroutine(value)):
                lines += entry(package.__name__, name, value)
        parent = nodes.Element()
        self.state.nested_parse(StringList(lines, package.__name__), 0, parent)
        return parent.children


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the directive."""
    app.add_directive("constants", Constants)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
