"""Two directives for what the package says of itself, so that the pages cannot go out of date.

`{configs} GAN` is a table of the packaged configurations of a model, by their YAML's headers; `{options} sample` is the
help of a command of `genmodels`.
"""

import contextlib
import io
import os

import yaml
from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from lightning_genmodels.cli import main as genmodels
from lightning_genmodels.cli.configs import read_header
from lightning_genmodels.configs import packaged_configs

WIDTH = "90"  # characters in a line of a command's help
# What the paragraphs of fit's help begin with that are Lightning's, or that list every class there is.
NOT_OURS = ("usage:", "Runs the full", "Customize every", "<class ", "A DataModule", "Linked arguments")


def configurations(model: str) -> list[tuple[str, str, str, str, str]]:
    """(name, data, what it is, score, budget and machine) of each packaged configuration of a model."""
    rows = []
    for name, path in packaged_configs().items():
        text = path.read_text()
        config, header = yaml.safe_load(text), read_header(text)
        if config["model"]["class_path"] == model:
            about = text.splitlines()[0].removeprefix("# ").rstrip(".")
            budget = f"{header['budget']}; {header['machine']}"
            rows.append((name, config["data"]["class_path"], about, header["score"], budget))
    return rows


def options_of(command: str) -> str:
    """What `genmodels COMMAND --help` prints; of fit, which is Lightning's, what this package adds."""
    width, os.environ["COLUMNS"] = os.environ.get("COLUMNS"), WIDTH
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
            genmodels([*command.split(), "--help"])
    finally:
        os.environ.pop("COLUMNS")
        if width is not None:
            os.environ["COLUMNS"] = width
    text = printed.getvalue().strip()
    if command != "fit":
        return text
    return "\n\n".join(part for part in text.split("\n\n") if not part.startswith(NOT_OURS))


class Configs(SphinxDirective):
    """See the module."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Docutils' hook."""
        rows = configurations(self.arguments[0])
        if not rows:
            raise self.error(f"no packaged configuration has the model {self.arguments[0]}")
        table, group = nodes.table(), nodes.tgroup(cols=4)
        group += [nodes.colspec(colwidth=width) for width in (18, 34, 28, 20)]
        head, body = nodes.thead(), nodes.tbody()
        head += self.row("config", "what", "score", "budget")
        for name, data, about, score, budget in rows:
            body += self.row(nodes.literal(text=name), f"{about} ({data}).", f"{score}.", f"{budget}.")
        group += [head, body]
        table += group
        return [table]

    @staticmethod
    def row(*cells: str | nodes.Node) -> nodes.row:
        """A row of texts."""
        made = nodes.row()
        for cell in cells:
            content = nodes.Text(cell) if isinstance(cell, str) else cell
            made += nodes.entry("", nodes.paragraph("", "", content))
        return made


class Options(SphinxDirective):
    """See the module."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """Docutils' hook."""
        return [nodes.literal_block(text=options_of(self.arguments[0]), language="text")]


def setup(app):
    """Sphinx's hook."""
    app.add_directive("configs", Configs)
    app.add_directive("options", Options)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
