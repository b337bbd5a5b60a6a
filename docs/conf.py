"""How Sphinx builds the site: `sphinx-build -W -b html docs site`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
os.environ["COLUMNS"] = "90"  # the width of the help of commands
sys.path[:0] = [str(HERE.parent), str(HERE / "sphinx")]

import simple_golem  # noqa: E402

project = "simple_golem"
version = release = simple_golem.__version__
copyright = "the authors of simple_golem"
extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.intersphinx",
    "myst_parser",
    "sphinx_copybutton",
    "extension",
]
html_theme = "furo"
html_title = "simple_golem"
exclude_patterns = ["sphinx"]
nitpicky = True
default_role = "public"

# The addresses are for readers. The inventories lie here, so that the site is built without the internet.
intersphinx_mapping = {
    "python": ("https://docs.python.org/3", str(HERE / "sphinx" / "python.inv")),
    "requests": ("https://requests.readthedocs.io/en/latest", str(HERE / "sphinx" / "requests.inv")),
    "tenacity": ("https://tenacity.readthedocs.io/en/latest", str(HERE / "sphinx" / "tenacity.inv")),
}

html_static_path = ["sphinx/static"]
html_css_files = ["site.css"]
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 80
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
