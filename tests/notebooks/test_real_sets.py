"""The one changed line of each notebook brings the real set: here a small one, in its files' format."""

import re

import pytest
from lightning.pytorch import Trainer
from made_sets import write_sets
from miniature import write_mnist

from notebooks import FOLDER, run, text

pytestmark = pytest.mark.notebook

NAMES = sorted(path.stem for path in FOLDER.glob("*.py"))
LOOKED_AT = ("04", "05")  # at batches that would not come in a shorter training


class ShortTrainer(Trainer):
    def __init__(self, max_steps, **options):
        super().__init__(max_steps=min(max_steps, 50), **options)


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs_to_its_end_on_the_real_set(name, in_tmp, monkeypatch):
    monkeypatch.setenv("GENMODELS_DATA", str(in_tmp / "sets"))
    write_sets(in_tmp / "sets")
    write_mnist(in_tmp / "sets", train=1200, test=500)
    if not name.startswith(LOOKED_AT):
        monkeypatch.setattr("lightning.pytorch.Trainer", ShortTrainer)
    line = r"^(\w+ = )datamodules\.\w+\(.*\)\n# \1(.*  # the real set)$"
    changed, lines = re.subn(line, r"\1\2", text(name), flags=re.MULTILINE)
    assert lines == text(name).count("# the real set") > 0
    run(name, changed)
