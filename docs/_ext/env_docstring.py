"""Directive ``env-docstring``: a Markdown docstring, as Gymnasium's environments have it, as part of a page."""

import importlib
import inspect
import re
from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList
from sphinx.application import Sphinx


class EnvDocstring(Directive):
    """The sections of a class's docstring, without its first paragraph; the argument is the class with its package."""

    required_arguments: ClassVar[int] = 1

    def run(self) -> list[nodes.Node]:
        """Return the parsed docstring."""
        module, _, name = self.arguments[0].rpartition(".")
        text = inspect.getdoc(getattr(importlib.import_module(module), name)) or ""
        text = re.sub(r"^## ", "### ", text, flags=re.MULTILINE)  # below the page's own sections
        text = re.sub(r"^(\w+(?:, \w+)*): ", r"- **\1**: ", text, flags=re.MULTILINE)  # arguments are a list
        text = text[text.index("### ") :]  # sections attach themselves to the page, before anything that is returned
        parent = nodes.Element()
        self.state.nested_parse(StringList(text.splitlines(), self.arguments[0]), 0, parent, match_titles=True)
        return parent.children


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the directive."""
    app.add_directive("env-docstring", EnvDocstring)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
