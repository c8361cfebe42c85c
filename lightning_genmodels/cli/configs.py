"""`genmodels configs`: a table of the packaged configurations."""

import re

import yaml

from lightning_genmodels.cli.small import SmallParser
from lightning_genmodels.configs import packaged_configs

HEADER = ("score", "budget", "machine")


def read_header(text: str) -> dict[str, str]:
    """The `# Score:`, `# Budget:` and `# Machine:` lines at the head of a configuration."""
    return {key.lower(): value for key, value in re.findall(r"^# (Score|Budget|Machine): (.*)$", text, re.MULTILINE)}


def list_configs(argv: list[str]) -> None:
    """Runs the command."""
    SmallParser("configs", "Lists the packaged configurations.").parse_args(argv)
    rows = [("config", "model", "data", *HEADER)]
    for name, path in packaged_configs().items():
        text = path.read_text()
        config, header = yaml.safe_load(text), read_header(text)
        rows.append((name, config["model"]["class_path"], config["data"]["class_path"], *(header[k] for k in HEADER)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
