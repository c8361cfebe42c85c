"""Sphinx's settings: `sphinx-build -W docs docs/_build`. The packages have to be installed; there is no network."""

import os
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

from lightning_genmodels.version import __version__

project = "lightning-genmodels"
author = "The lightning-genmodels developers"
copyright = author
version = release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "from_the_package",  # ours: packaged configurations and commands' options
]
exclude_patterns = ["_build", "_ext"]
smartquotes = False  # it would make one dash of the two of an option
maximum_signature_line_length = 100
html_theme = "furo"
html_title = f"lightning-genmodels {__version__}"

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3  # as GitHub has them, so that a link works in both places

autodoc_member_order = "bysource"
autodoc_typehints = "description"  # a model's signature has twenty of them
autodoc_typehints_description_target = "documented"
autodoc_inherit_docstrings = False  # ruff asks every method for its own; Lightning's speak of other pages
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # the fields of a NamedTuple are documented where it says so, and nowhere else
default_role = "code"  # what docstrings have between single backticks


# Pages that lie elsewhere, each included by one of ours.
ELSEWHERE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "benchmarks/README.md": "benchmarks.md",
}
LINK = re.compile(r"(?<=\]\()(?!\w+:|[/#])[^)#\s]+")


def link_pages(text, folder):
    """Links as they work on GitHub, from a file in that folder of the repository, become links between these pages."""

    def from_docs(match):
        path = os.path.normpath(os.path.join(folder, match[0]))
        return "/" + ELSEWHERE.get(path, os.path.relpath(path, "docs"))

    return LINK.sub(from_docs, text)


def link_page(app, docname, source):
    """Sphinx's hook."""
    source[0] = link_pages(source[0], os.path.join("docs", os.path.dirname(docname)))


def link_included_page(app, path, docname, source):
    """Sphinx's hook."""
    source[0] = link_pages(source[0], os.path.join("docs", os.path.dirname(path)))


def escape_bars(app, what, name, obj, options, lines):
    """Sphinx's hook: docstrings write |x| and p(x|z), which reStructuredText would take for a substitution."""
    for number, line in enumerate(lines):
        parts = re.split(r"(`+[^`]*`+)", line)  # what stands between backticks is left alone
        lines[number] = "".join(part if part.startswith("`") else part.replace("|", r"\|") for part in parts)


def skip_fields(app, what, name, obj, skip, options):
    """Sphinx's hook: a NamedTuple's fields stand in its docstring already."""
    return True if type(obj).__name__ == "_tuplegetter" else None


def setup(app):
    """Sphinx's hook."""
    app.connect("autodoc-skip-member", skip_fields)
    app.connect("source-read", link_page)
    app.connect("include-read", link_included_page)
    app.connect("autodoc-process-docstring", escape_bars)
