"""Settings of the documentation: ``make docs`` builds it offline, with warnings as errors."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

import adrl_gym

project = "adrl-gym"
author = "adrl-gym contributors"
copyright = "adrl-gym contributors, MIT license"  # noqa: A001 - Sphinx's name
version = release = adrl_gym.__version__

extensions = [
    "myst_nb",  # Markdown pages and the notebook
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "public_names",
    "command_help",
    "constants",
    "docstrings",
    "env_docstring",
]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "adrl-gym"
html_static_path: list[str] = []

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
# The tests execute the notebook. A release's site shows its output too, which takes a minute more.
nb_execution_mode = "force" if os.environ.get("DOCS_EXECUTE") else "off"
nb_execution_raise_on_error = True
nb_execution_timeout = 600
nb_execution_in_temp = True  # the notebook writes a file

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
add_module_names = False

nitpicky = True
# Names of other projects, whose sites are not needed to build this one, and names in signatures that are not public.
nitpick_ignore_regex = [("py:.*", name) for name in (r"\w+", r"(?!adrl_).*", r"adrl_\w+(\.\w+){2,}")]
