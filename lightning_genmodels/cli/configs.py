"""`genmodels configs`: the packaged configurations, each with its score, budget and machine."""

import os
import re
import shutil
import sys
import textwrap

import yaml

from lightning_genmodels.cli.small import SmallParser
from lightning_genmodels.configs import packaged_configs


def read_header(text: str) -> dict[str, str]:
    """The `# Score:`, `# Budget:` and `# Machine:` lines at the head of a configuration."""
    return {key.lower(): value for key, value in re.findall(r"^# (Score|Budget|Machine): (.*)$", text, re.MULTILINE)}


def list_configs(argv: list[str]) -> None:
    """Runs the command."""
    SmallParser("configs", "Lists the packaged configurations.").parse_args(argv)
    width = shutil.get_terminal_size().columns
    lines = []
    for name, path in packaged_configs().items():
        text = path.read_text()
        config, header = yaml.safe_load(text), read_header(text)
        lines.append(f"{name}: {config['model']['class_path']}, {config['data']['class_path']}")
        lines.append(f"    score: {header['score']}")
        lines.append(f"    budget: {header['budget']}; {header['machine']}")
    shown = [textwrap.fill(line, width, subsequent_indent=" " * 8, break_on_hyphens=False) for line in lines]
    try:
        print("\n".join(shown), flush=True)
    except BrokenPipeError:  # the reader has seen enough, as in `genmodels configs | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains again as it ends
