"""Lead references to a module's name, as annotations have them, to the public name that the API pages document."""

import importlib
from typing import Any

from docutils.nodes import Element
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

OURS = ("adrl_gym", "adrl_agents")


def resolve(target: str) -> object:
    """Return the object that a dotted name means, or None."""
    module, _, name = target.rpartition(".")
    if not module:
        return None
    try:
        return getattr(importlib.import_module(module), name, None)
    except ImportError:
        return None


def lead(app: Sphinx, env: BuildEnvironment, node: pending_xref, content: Element) -> Element | None:
    """Resolve a reference to ``adrl_gym.problem.QuantProblem`` as one to ``adrl_gym.QuantProblem``."""
    target: str = node.get("reftarget", "")
    if node.get("refdomain") != "py":
        return None
    domain: Any = env.get_domain("py")
    meant = resolve(target) if target.startswith(OURS) else None
    for public, entry in domain.objects.items():
        same = resolve(public) is meant if meant is not None else False
        short = "." not in target and public.rpartition(".")[2] == target  # ``Metrics`` in another package's docstring
        if same or (short and public.startswith(OURS)):
            return domain.resolve_xref(env, node["refdoc"], app.builder, entry.objtype, public, node, content)
    return None


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect the resolver."""
    app.connect("missing-reference", lead)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
