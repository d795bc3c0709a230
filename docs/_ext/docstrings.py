"""Prepare docstrings for Sphinx before and after napoleon reads them."""

import re
from collections.abc import Iterator

from sphinx.application import Sphinx

ATTRIBUTES = ("attribute", "data", "property")
SHARED = re.compile(r"^(\s+)(\*{0,2}\w+(?:, \*{0,2}\w+)+): (.*)$")  # ``first, second: meaning`` below Args
MARKDOWN = "## "
kept: dict[str, list[str]] = {}


def before(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Set aside what napoleon would misread, and give each name of a shared entry an entry of its own."""
    if any(line.startswith(MARKDOWN) for line in lines):  # a Gymnasium environment's docstring is Markdown
        lines[lines.index("") :] = ["", "The page :doc:`/environment` has the whole description."]
    if what in ATTRIBUTES:  # napoleon takes the words before a colon for a type
        kept[name] = lines[:]
        return
    lines[:] = list(one_each(lines[:]))


def one_each(lines: list[str]) -> Iterator[str]:
    """Split ``a, b: text`` into ``a: text`` and ``b: text``, each with the lines that go on below it."""
    for index, line in enumerate(lines):
        shared = SHARED.match(line)
        if shared is None:
            yield line
            continue
        indent, names, text = shared.groups()
        below = []
        for later in lines[index + 1 :]:
            if not later.startswith(indent + " "):
                break
            below.append(later)
        *first, last = names.split(", ")
        for name in first:
            yield from (f"{indent}{name}: {text}", *below)
        yield f"{indent}{last}: {text}"  # what is below it comes by itself


def after(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Put back what was set aside."""
    if name in kept:
        lines[:] = kept.pop(name)


def setup(app: Sphinx) -> dict[str, bool]:
    """Run both around napoleon, whose priority is 500."""
    app.connect("autodoc-process-docstring", before, priority=400)
    app.connect("autodoc-process-docstring", after, priority=600)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
